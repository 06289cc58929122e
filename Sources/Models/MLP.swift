import RetortRuntime
import RetortSupport

/// A multilayer perceptron: linear layers with ReLU between them.
///
/// Weights `layers.<i>.weight` `[out, in]` and `layers.<i>.bias` `[out]`, started as PyTorch's `nn.Linear`.
/// Signals: `layers.<i>.hidden`, the output of layer i after its ReLU, `[rows, out]`.
public final class MLP: Model {
    public static let kind = "mlp"
    /// Widths from inputs to classes.
    public let widths: [Int]
    public let layers: [Linear]
    public var isTraining = true

    /// - Parameter widths: at least two, each at least 1.
    public init(_ widths: [Int]) {
        precondition(widths.count >= 2 && widths.allSatisfy { $0 > 0 }, "an MLP needs at least two positive widths")
        self.widths = widths
        layers = (0..<(widths.count - 1)).map { i in
            Linear(
                "layers.\(i)", inputs: widths[i], outputs: widths[i + 1],
                activation: i == widths.count - 2 ? .none : .relu)
        }
    }

    public var parameters: [Parameter] { layers.flatMap(\.parameters) }
    public var inputs: Int { widths[0] }
    public var classes: Int { widths[widths.count - 1] }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var x = x
        var signals: [String: Tensor] = [:]
        for (i, layer) in layers.enumerated() {
            x = try layer(x)
            let path = "layers.\(i).hidden"
            if paths.contains(path) { signals[path] = x }
        }
        return ModelOutput(logits: x, signals: signals)
    }

    public var configuration: JSON {
        .object([
            ("architectures", .array([.string("MLP")])), ("model_type", .string(Self.kind)),
            ("layers", .array(widths.map { .int($0) })), ("hidden_act", .string("relu")),
        ])
    }
}
