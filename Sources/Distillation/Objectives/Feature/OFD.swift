import Foundation
import RetortModels
import RetortRuntime

/// Overhaul of feature distillation: alpha·Σ over stages i of n, from shallow to deep, of 2^(i − n)·D_i, D the partial distance of the
/// pre-activations, (s − t')² where s > t' or t > 0, t' = max(t, m): the student may stay below where the teacher is silent. Sum over
/// channels and positions, mean over rows. s goes through a trained 1×1 convolution without bias and batch norm; the teacher's map is
/// adaptively averaged to the student's size. Heo et al. 2019 (arXiv:1904.01866).
///
/// m, for each channel, is the mean of the teacher's negative responses: from the weight and bias of its last batch norm, taken as a normal
/// distribution, where the model shows that norm (the authors' way), else measured on the batch. alpha 0.001: mdistiller's.
public struct OFDObjective: SignalObjective {
    public static let section = RecipeSection(
        "ofd", "The teacher's pre-activations, with a margin below zero.",
        [AlphaField.field("0.001")] + SignalChoice.fields(.preactivations))
    private let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("ofd", .preactivations, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·Σ partial (r(s) − max(t, margin))², halved from stage to stage towards the input, r a trained 1×1 convolution "
            + "and batch norm, margin the mean negative response, \(choice.contract), sum over features, mean over rows"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                let maps = try context.maps(pair, "ofd")
                guard maps.student.height <= maps.teacher.height, maps.student.width <= maps.teacher.width else {
                    throw context.misfit(pair, "ofd", "the student's map must not be larger than the teacher's")
                }
                let connector = Connector(
                    "\(context.name).\(i)", inputs: maps.student.channels, outputs: maps.teacher.channels)
                let margin = try context.teacherNorm(pair.teacher).map { norm in
                    let values = zip(try norm.weight.values(), try norm.bias.values()).map(Self.margin)
                    return try Tensor(values, [values.count], on: context.device)
                }
                return (pair, connector, margin)
            }, alpha: alpha)
    }

    /// E[x | x < 0] of a normal distribution with this mean and |deviation|; three deviations below 0 where it is almost never negative.
    static func margin(deviation: Float, mean: Float) -> Float {
        let (s, m) = (abs(Double(deviation)), Double(mean))
        let negative = 0.5 * erfc(m / s / 2.0.squareRoot())
        guard negative > 0.001 else { return Float(-3 * s) }
        return Float(-s * exp(-(m / s) * (m / s) / 2) / (2 * Double.pi).squareRoot() / negative + m)
    }

    private final class Term: ObjectiveTerm {
        private let pairs: [(pair: SignalPair, connector: Connector, margin: Tensor?)]
        private let alpha: Float

        init(_ pairs: [(SignalPair, Connector, Tensor?)], alpha: Float) {
            self.pairs = pairs
            self.alpha = alpha
        }

        var modules: [any Module] { pairs.map(\.connector) }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            try Tensor.total(
                pairs.enumerated().map { i, part in
                    let (s, t) = try input.signals(part.pair)
                    let target = try t.averaged(s.shape[2], s.shape[3])
                    let margin = try part.margin ?? target.meanNegativeResponse()
                    let weight = alpha * Float(sign: .plus, exponent: i + 1 - pairs.count, significand: 1)
                    return try part.connector(s).partialDistance(target, margin: margin) * weight
                })
        }
    }

    private final class Connector: Module {
        let children: [any Module]
        var isTraining = true
        private let convolution: Convolution2d
        private let norm: BatchNorm2d

        init(_ name: String, inputs: Int, outputs: Int) {
            convolution = Convolution2d(
                name + ".conv", inputs: inputs, outputs: outputs, kernel: 1, bias: false,
                initializer: .kaimingNormal(fanOut: outputs))
            norm = BatchNorm2d(name + ".bn", channels: outputs)
            children = [convolution, norm]
        }

        func callAsFunction(_ x: Tensor) throws -> Tensor { try norm(convolution(x)) }
    }
}

extension Tensor {
    /// OFD's distance of pre-activations `[rows, channels, height, width]`, sum over features and mean over rows; the teacher is constant.
    /// - `margin`: `[channels]`, negative.
    public func partialDistance(_ teacher: Tensor, margin: Tensor) throws -> Tensor {
        let teacher = teacher.detached
        let floor = try margin.reshaped([1, shape[1], 1, 1])
        let difference = try self - ((teacher - floor).relu() + floor)
        let counted = try (teacher.isPositive() + difference.detached.isPositive()).isPositive()
        return try (difference.squared() * counted).sum() * (1 / Float(shape[0]))
    }

    /// The mean of what is below 0, by channel, `[channels]`; 0 where nothing is. A constant.
    func meanNegativeResponse() throws -> Tensor {
        let negated = try (-detached).transposed(0, 1)
        let rows = try negated.reshaped([shape[1], count / Swift.max(1, shape[1])])
        let number = try rows.isPositive().sum(-1).map(.clampMinimum(1))
        return try -(rows.relu().sum(-1) / number)
    }
}
