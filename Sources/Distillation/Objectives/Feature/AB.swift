import RetortModels
import RetortRuntime

/// Activation boundaries: alpha·3/1000·Σ over stages i of n, from shallow to deep, of 2^(i − n)·Σ max(0, margin − σ·s)², σ = 1 where the teacher's
/// pre-activation is positive, else −1: each neuron of the student is to be on the teacher's side of its boundary, by a margin. Sum over
/// features, mean over rows. Maps of other shapes go through `ConvRegressor` without ReLU. Heo et al. 2019 (arXiv:1811.03233).
///
/// alpha 1, margin 1 and the factors are RepDistiller's, who train on this loss alone for 30 epochs and then on labels: `ramp: {kind: between, first: 1,
/// last: 30}`.
public struct ABObjective: SignalObjective {
    public static let section = RecipeSection(
        "ab", "On which side of its boundary each neuron is.",
        [
            AlphaField.field("1"),
            RecipeField("margin", .number(0...1e6), .defaulted("1"), "how far beyond the boundary"),
        ] + SignalChoice.fields(.preactivations))
    private let alpha: Float
    private let margin: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        margin = Float(recipe.required("margin").number)
        choice = SignalChoice("ab", .preactivations, recipe)
    }

    /// Equal pre-activations inside the margin still cost.
    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·3/1000·Σ max(0, \(margin.short) − sign(t)·r(s))², halved from stage to stage towards the input, "
            + "r a trained convolution and batch norm where shapes differ, \(choice.contract), sum over features, mean over rows"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                let shapes = try context.shapes(pair)
                if shapes.student == shapes.teacher { return (pair, nil) }
                let maps = try context.maps(pair, "ab")
                guard
                    let connector = ConvRegressor(
                        "\(context.name).\(i)", from: maps.student, to: maps.teacher, relu: false)
                else { throw context.misfit(pair, "ab", ConvRegressor.limits) }
                return (pair, connector)
            }, alpha: alpha, margin: margin)
    }

    private final class Term: ObjectiveTerm {
        private let pairs: [(pair: SignalPair, connector: ConvRegressor?)]
        private let alpha: Float
        private let margin: Float

        init(_ pairs: [(SignalPair, ConvRegressor?)], alpha: Float, margin: Float) {
            self.pairs = pairs
            self.alpha = alpha
            self.margin = margin
        }

        var modules: [any Module] { pairs.compactMap(\.connector) }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            try Tensor.total(
                pairs.enumerated().map { i, part in
                    let (student, teacher) = try input.signals(part.pair)
                    let mapped = try part.connector.map { try $0(student) } ?? student
                    let weight = alpha * 0.003 * Float(sign: .plus, exponent: i + 1 - pairs.count, significand: 1)
                    return try mapped.boundaryDistance(teacher, margin: margin) * weight
                })
        }
    }
}

extension Tensor {
    /// Σ max(0, margin − sign(teacher)·self)² over the features of pre-activations `[rows, …]`, mean over rows; the teacher is constant, and 0 counts
    /// as negative.
    public func boundaryDistance(_ teacher: Tensor, margin: Float) throws -> Tensor {
        let sides = try (teacher.detached.isPositive() * -2).adding(1)
        return try (self * sides).adding(margin).relu().squared().sum() * (1 / Float(shape[0]))
    }
}
