import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport

/// How the losses of an arm are weighed against each other while it trains, on top of their own weights and ramps.
public enum LossBalance: Sendable, Equatable {
    /// As the recipe weighs them.
    case none
    /// Σ exp(−sᵢ)·Lᵢ + sᵢ, with sᵢ = ln σᵢ², the learned uncertainty of each loss (Kendall, Gal & Cipolla 2018, arXiv:1705.07115).
    case uncertainty
    /// Dynamic weight average (Liu, Johns & Davison 2019, arXiv:1803.10704): wᵢ = K·softmax(rᵢ / T) over the K losses, rᵢ the ratio of the
    /// loss's means over the last two epochs, so that what falls slowly counts more. 1 in the first two epochs.
    case dynamicAverage(temperature: Double)

    static let field = RecipeField(
        "balance",
        .variant(
            key: "kind",
            [
                RecipeSection("none", "The losses weigh what the recipe says.", []),
                RecipeSection(
                    "uncertainty", "Each loss is divided by a learned variance (Kendall et al. 2018).", []),
                RecipeSection(
                    "dynamic-average", "What falls slowly counts more (dynamic weight average, Liu et al. 2019).",
                    [
                        RecipeField(
                            "temperature", .number(1e-3...1e4), .defaulted("2"),
                            "the larger, the more alike the weights")
                    ]),
            ]), .defaulted("{kind: none}"), "how the losses are weighed against each other while training")

    init(_ node: RecipeNode) {
        switch node.required("kind").text {
        case "uncertainty": self = .uncertainty
        case "dynamic-average": self = .dynamicAverage(temperature: node.required("temperature").number)
        default: self = .none
        }
    }

    /// In one line; "" when it does nothing.
    var contract: String {
        switch self {
        case .none: ""
        case .uncertainty: "losses balanced by learned uncertainty: Σ exp(−s)·loss + s"
        case .dynamicAverage(let temperature):
            "losses balanced by dynamic weight average, temperature \(Float(temperature).short)"
        }
    }

    /// - Parameter terms: how many losses there are.
    func make(terms: Int, optimizer: OptimizerSpec, on device: Device) throws -> any LossBalancer {
        switch self {
        case .none: FixedBalance()
        case .uncertainty: try UncertaintyBalance(terms: terms, optimizer: optimizer, on: device)
        case .dynamicAverage(let temperature):
            try DynamicAverageBalance(terms: terms, temperature: temperature, on: device)
        }
    }
}

/// The weights of one training.
protocol LossBalancer: AnyObject {
    /// A loss with its weight of now.
    /// - Parameter share: of the batch's rows; the parts of a batch add up to 1.
    func weigh(_ loss: Tensor, term: Int, share: Float) throws -> Tensor
    func step(learningRate: Float) throws
    func endEpoch() throws
    /// What each loss is multiplied by now; empty when they are never changed.
    func weights() throws -> [Double]
}

private final class FixedBalance: LossBalancer {
    func weigh(_ loss: Tensor, term: Int, share: Float) -> Tensor { loss }
    func step(learningRate: Float) {}
    func endEpoch() {}
    func weights() -> [Double] { [] }
}

/// Trained by the arm's optimizer, without clipping and without weight decay, which would pull every variance to 1.
private final class UncertaintyBalance: LossBalancer {
    private let parameters: [Parameter]
    private let optimizer: any Optimizer

    init(terms: Int, optimizer: OptimizerSpec, on device: Device) throws {
        parameters = (0..<terms).map { Parameter("balance.\($0)", [1], .zeros) }
        self.optimizer = try optimizer.make(
            ParameterArena(parameters, on: device.compute, seed: 0), clip: nil, decays: false)
    }

    func weigh(_ loss: Tensor, term: Int, share: Float) throws -> Tensor {
        let s = try parameters[term].tensor.reshaped([])
        return try loss * (-s).exp() + s
    }

    func step(learningRate: Float) throws { try optimizer.step(learningRate: learningRate) }
    func endEpoch() {}
    func weights() throws -> [Double] { try parameters.map { exp(-Double(try $0.values()[0])) } }
}

extension UncertaintyBalance: LastingPart {
    func describe(_ state: inout TrainingState, as name: String) { state.add(optimizer, as: name) }
    func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
        try stored.fill(optimizer, with: name)
    }
}

/// A loss that its ramp leaves out of an epoch weighs 1 until it has been there for two epochs on end.
final class DynamicAverageBalance: LossBalancer {
    private let temperature: Double
    private let device: Device
    /// The epoch's sum of each loss, `[terms]`, on the device.
    private let sums: View
    /// How many steps of the epoch each loss was in.
    private var steps: [Float]
    /// Means over the last epoch; nil where a loss was not there.
    private var before: [Double?]
    private var current: [Double]

    init(terms: Int, temperature: Double, on device: Device) throws {
        self.temperature = temperature
        self.device = device
        sums = try device.compute.empty([terms], for: .data)
        try run(Fill(0), .init(y: sums), on: device.compute)
        steps = [Float](repeating: 0, count: terms)
        before = [Double?](repeating: nil, count: terms)
        current = [Double](repeating: 1, count: terms)
    }

    func weigh(_ loss: Tensor, term: Int, share: Float) throws -> Tensor {
        try run(
            Scale(share), .init(x: loss.view.reshaped([1]), y: .accumulate(sums.slice(term..<(term + 1)))),
            on: device.compute)
        steps[term] += share
        return current[term] == 1 ? loss : try loss * Float(current[term])
    }

    func step(learningRate: Float) {}

    func endEpoch() throws {
        let values: [Float] = try device.compute.read(sums)
        try run(Fill(0), .init(y: sums), on: device.compute)
        let means = zip(values, steps).map { $1 > 0 ? Double($0 / $1) : nil }
        current = Self.weights(last: means, before: before, temperature: temperature)
        before = means
        for term in steps.indices { steps[term] = 0 }
    }

    /// - `last`, `before`: each loss's mean over two epochs; nil where it was not there. One that was not above 0 counts as unchanged.
    static func weights(last: [Double?], before: [Double?], temperature: Double) -> [Double] {
        let ratios = zip(last, before).map { pair -> Double? in
            guard let last = pair.0, let before = pair.1 else { return nil }
            return before > 0 ? last / before : 1
        }
        let known = ratios.compactMap { $0 }
        let top = known.max() ?? 0
        let sum = known.reduce(0) { $0 + exp(($1 - top) / temperature) }
        return ratios.map { $0.map { Double(known.count) * exp(($0 - top) / temperature) / sum } ?? 1 }
    }

    func weights() -> [Double] { current }
}

/// Between two epochs, when the sums are 0.
extension DynamicAverageBalance: LastingPart {
    func describe(_ state: inout TrainingState, as name: String) {
        state.set("\(name).before", .array(before.map { $0.map(JSON.double) ?? .null }))
        state.set("\(name).weights", .array(current.map(JSON.double)))
    }

    func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
        let means = try stored.facts.member("\(name).before").elements()
        let weights = try stored.facts.member("\(name).weights").elements()
        guard means.count == before.count, weights.count == current.count else {
            throw stored.isOther("\(name) is of \(weights.count) losses there and \(current.count) here")
        }
        before = try means.map { try $0.value == .null ? nil : $0.double() }
        current = try weights.map { try $0.double() }
    }
}
