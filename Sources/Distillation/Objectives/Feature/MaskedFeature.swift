import RetortKernels
import RetortModels
import RetortRuntime

/// Masked generative distillation: alpha·Σ (g(M ∘ a(s)) − t)², sum over features, mean over rows: parts of the student's map are hidden, and two
/// 3×3 convolutions with ReLU between them generate the teacher's whole map from the rest. a is a 1×1 convolution where channels differ; sizes must
/// be equal. Yang et al. 2022 (MGD, arXiv:2205.01529).
///
/// alpha 7e−5, mask 0.15 of the channels, the last stage are the authors' for classification; for detection they hide positions
/// (`hide: positions`, mask 0.65 or 0.45, alpha 2e−5). The mask is a function of seed, step and place.
public struct MaskedFeatureObjective: SignalObjective {
    public static let section = RecipeSection(
        "masked-feature", "The teacher's whole map, generated from a part of the student's.",
        [
            AlphaField.field("7e-5"),
            RecipeField("mask", .number(0...0.999), .defaulted("0.15"), "share that is hidden"),
            RecipeField("hide", .choice(["channels", "positions"]), .defaulted("channels"), "what is hidden"),
        ] + SignalChoice.fields(.lastStage))
    private let alpha: Float
    private let mask: Float
    private let hidesChannels: Bool
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        mask = Float(recipe.required("mask").number)
        hidesChannels = recipe.required("hide").text == "channels"
        choice = SignalChoice("masked-feature", .lastStage, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·Σ (g(masked s) − t)², \(mask.short) of the \(hidesChannels ? "channels" : "positions") hidden, "
            + "g two trained convolutions, \(choice.contract), sum over features, mean over rows"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                let maps = try context.maps(pair, "masked-feature")
                guard maps.student.size == maps.teacher.size else {
                    throw context.misfit(pair, "masked-feature", "it takes maps of equal height and width")
                }
                return (
                    pair,
                    Generator(
                        "\(context.name).\(i)", inputs: maps.student.channels, outputs: maps.teacher.channels)
                )
            }, self, seed: context.seed, name: context.name)
    }

    private final class Term: ObjectiveTerm {
        private let pairs: [(pair: SignalPair, generator: Generator)]
        private let objective: MaskedFeatureObjective
        private let seed: UInt64
        private let name: String

        init(
            _ pairs: [(SignalPair, Generator)], _ objective: MaskedFeatureObjective, seed: UInt64, name: String
        ) {
            self.pairs = pairs
            self.objective = objective
            self.seed = seed
            self.name = name
        }

        var modules: [any Module] { pairs.map(\.generator) }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            try Tensor.total(
                pairs.enumerated().map { i, part in
                    let (student, teacher) = try input.signals(part.pair)
                    let stream = Philox.stream("\(name).\(i)/mask") &+ UInt64(input.progress.step)
                    let generated = try part.generator(student) { aligned in
                        let shape = aligned.shape
                        let places: Dimensions =
                            objective.hidesChannels ? [shape[0], shape[1], 1, 1] : [shape[0], 1, shape[2], shape[3]]
                        // Dropout scales what it keeps; the authors do not.
                        let kept = try Tensor.full(1 - objective.mask, places, on: aligned.device)
                        return try aligned
                            * kept.dropout(
                                objective.mask, seed: seed, stream: stream,
                                firstElement: input.firstRow * places.dropFirst().reduce(1, *))
                    }
                    return try generated.generationDistance(teacher)
                }) * objective.alpha
        }
    }

    private final class Generator: Module {
        let children: [any Module]
        var isTraining = true
        private let align: Convolution2d?
        private let layers: [Convolution2d]

        init(_ name: String, inputs: Int, outputs: Int) {
            align =
                inputs == outputs
                ? nil : Convolution2d(name + ".align", inputs: inputs, outputs: outputs, kernel: 1)
            layers = (0..<2).map {
                Convolution2d(
                    "\(name).generation.\($0)", inputs: outputs, outputs: outputs, kernel: 3, padding: 1,
                    activation: $0 == 0 ? .relu : .none)
            }
            children = (align.map { [$0] } ?? []) + layers
        }

        func callAsFunction(_ x: Tensor, masked: (Tensor) throws -> Tensor) throws -> Tensor {
            try layers.reduce(masked(try align.map { try $0(x) } ?? x)) { try $1($0) }
        }
    }
}

extension Tensor {
    /// Σ (self − teacher)² over the features of `[rows, …]`, mean over rows; the teacher is constant.
    public func generationDistance(_ teacher: Tensor) throws -> Tensor {
        try meanSquaredError(teacher.detached, reduction: .sum) * (1 / Float(shape[0]))
    }
}
