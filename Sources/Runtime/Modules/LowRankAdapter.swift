import RetortKernels

/// LoRA (Hu et al. 2021, arXiv:2106.09685): what changes a frozen product by few trained numbers, y = x·Wᵀ + scale · (drop(x)·Aᵀ)·Bᵀ.
/// A `[rank, inputs]`, B `[outputs, rank]`. B begins at 0, so the product begins as it was.
///
/// Its parameters are not among the model's: they are placed, trained and saved by themselves.
public final class LowRankAdapter: Module {
    /// A.
    public let down: Parameter
    /// B.
    public let up: Parameter
    /// alpha / rank.
    public let scale: Float
    public let children: [any Module]
    public var isTraining = true
    private let dropout: DropoutLayer

    /// - `name`: path of the layer; A starts as in PEFT, uniform in ±1/√inputs.
    /// - `dropout`: of what A sees; at least 0, below 1.
    public init(_ name: String, inputs: Int, outputs: Int, rank: Int, alpha: Float, dropout: Float = 0) {
        down = Parameter(name + ".lora_A.weight", [rank, inputs], .uniform(bound: 1 / Float(inputs).squareRoot()))
        up = Parameter(name + ".lora_B.weight", [outputs, rank], .zeros)
        scale = alpha / Float(rank)
        self.dropout = DropoutLayer(name + ".lora_dropout", probability: dropout)
        children = [self.dropout]
    }

    public var parameters: [Parameter] { [down, up] }

    /// activation(x·weightᵀ + bias + scale · (drop(x)·Aᵀ)·Bᵀ) + residual. x `[..., inputs]`, weight `[outputs, inputs]`, bias `[outputs]`,
    /// residual `[..., outputs]`.
    public func product(
        _ x: Tensor, weight: Tensor, bias: Tensor?, activation: MatmulActivation = .none,
        plus residual: Tensor? = nil
    ) throws -> Tensor {
        let low = try dropout(x).linear(down.tensor) * scale
        guard let function = activation.unary else {
            return try x.linear(weight, bias: bias, plus: residual).adding(low, times: up.tensor)
        }
        let y = try x.linear(weight, bias: bias).adding(low, times: up.tensor).map(function)
        return try residual.map { try y + $0 } ?? y
    }

    /// Adds scale · B·A to a weight `[outputs, inputs]`, or its transpose to one that is `[inputs, outputs]`.
    func merge(into weight: View, isTransposed: Bool) throws {
        let (device, a) = (down.tensor.device, down.value)
        let b = try Autograd.withoutGradients { try up.tensor * scale }.view
        try run(
            Matmul(),
            isTransposed
                ? .init(a: a.transposed, b: b.transposed, c: .accumulate(weight))
                : .init(a: b, b: a, c: .accumulate(weight)), on: device)
    }
}

/// A linear layer that an adapter can change.
public protocol Adaptable: Module {
    /// `[outputs, inputs]`, or `[inputs, outputs]` where it is transposed.
    var weight: Parameter { get }
    var isTransposed: Bool { get }
    /// nil: the layer as it is. Set before training begins.
    var adapter: LowRankAdapter? { get set }
}

extension Adaptable {
    /// Path in the model.
    public var name: String { String(weight.name.dropLast(".weight".count)) }
    public var inputs: Int { weight.shape[isTransposed ? 0 : 1] }
    public var outputs: Int { weight.shape[isTransposed ? 1 : 0] }

    /// Makes the adapter part of the weight and takes it away: the layer gives the same numbers, up to rounding. A bf16 weight becomes fp32:
    /// rounded, it would lose most of what was learned.
    public func mergeAdapter() throws {
        if adapter != nil { try weight.widen() }
        try adapter?.merge(into: weight.value, isTransposed: isTransposed)
        adapter = nil
    }
}
