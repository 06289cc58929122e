import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Several teachers: alpha·T²·KL(teachers‖q), q the student's softmax at temperature T; mean over rows. How the teachers are put together:
///
/// - `mean-logits`: one target, softmax of the mean of the logits (BabyLlama, Timiryasov & Tastet 2023, arXiv:2308.02019);
/// - `mean-probabilities`: one target, the mean of their softmax at T (Hinton et al. 2015, arXiv:1503.02531; You et al. 2017);
/// - `weights`: Σ w_k·KL(p_k‖q) with the weights given, brought to sum 1;
/// - `confidence`: the same with w_k = (1 − softmax over teachers of CE_k) / (teachers − 1) in each row, CE_k the cross entropy of
///   teacher k with the label at T = 1: who is right counts more (CA-MKD, Zhang et al. 2022, arXiv:2201.00007);
/// - `entropy`: the same with w_k = softmax over teachers of −H_k, H_k the entropy in nats of teacher k at T = 1: who is sure counts more
///   (the idea of Kwon et al. 2020, "Adaptive knowledge distillation based on entropy"). Labels are not looked at.
///
/// With one teacher all are KL(p‖q). alpha 1, T 4: CA-MKD's weight and temperature.
public struct EnsembleObjective: RowObjective {
    public static let section = RecipeSection(
        "ensemble", "Several teachers at once: their mean, or each with a weight of its own.",
        [
            AlphaField.field("1"),
            RecipeField(
                "combine", .choice(TeacherCombination.words), .defaulted("mean-probabilities"),
                "how the teachers are put together"),
            RecipeField(
                "weights", .list(of: .number(0...1e9), count: 1...64), .optional,
                "one for each teacher, for `combine: weights`; only their ratios count"),
        ] + Temperature.fields("4", "all logits are divided by this"))
    private let alpha: Float
    private let temperature: Temperature
    private let combination: TeacherCombination

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        temperature = Temperature(recipe)
        combination = TeacherCombination(
            recipe.required("combine").text, weights: recipe["weights"]?.list.map { Float($0.number) })
    }

    public var needsTeacher: Bool { true }
    public var takesAllTeachers: Bool { true }
    public var takesMixedExamples: Bool { combination != .confidence }
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative, .shiftInvariant, .paddingInvariant] }
    public var contract: String {
        "\(alpha.short)·T²·KL(teachers‖q), teachers: \(combination.contract), T=\(temperature.contract), teacher entropy out, mean over rows"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        try input.student.logits.divergence(
            fromTeachers: input.teachers.map(\.logits), combination, labels: input.labels,
            temperature: temperature.now(input))
            * alpha
    }
}

/// How several teachers become one loss.
public enum TeacherCombination: Sendable, Equatable {
    case meanLogits, meanProbabilities, confidence, entropy
    /// One for each teacher, summing to 1; nil where the recipe left them out.
    case weights([Float]?)

    static let words = ["mean-logits", "mean-probabilities", "weights", "confidence", "entropy"]

    init(_ word: String, weights: [Float]?) {
        switch word {
        case "mean-logits": self = .meanLogits
        case "confidence": self = .confidence
        case "entropy": self = .entropy
        case "weights":
            let sum = (weights ?? []).reduce(0, +)
            self = .weights(weights.map { $0.map { sum > 0 ? $0 / sum : 0 } })
        default: self = .meanProbabilities
        }
    }

    /// Asked when a recipe is read, so that nothing is trained for weights that do not fit.
    /// - Parameters:
    ///   - loss: as the recipe has it; others than `ensemble` pass.
    ///   - teachers: how many it looks at.
    /// - Throws: `RetortError` 78 with the place of the weights.
    static func checkWeights(of loss: RecipeNode, teachers: Int) throws {
        guard loss.required("loss").text == EnsembleObjective.section.name else { return }
        let place = loss["weights"]?.location ?? loss.location
        let weights = loss["weights"]?.list.map(\.number)
        guard loss.required("combine").text == "weights" else {
            guard weights == nil else {
                throw RetortError.recipe(
                    "the loss ensemble has weights and does not use them", at: place,
                    why: "it combines its teachers by \(loss.required("combine").text)",
                    help: "add `combine: weights`, or remove `weights`")
            }
            return
        }
        guard let weights, weights.count == teachers, weights.contains(where: { Float($0) > 0 }) else {
            throw wrongWeights(weights?.map { Float($0) }, teachers: teachers, at: place)
        }
    }

    fileprivate static func wrongWeights(
        _ weights: [Float]?, teachers: Int, at place: RetortError.Location? = nil
    ) -> RetortError {
        let count = weights?.count ?? 0
        return .recipe(
            count == teachers
                ? "the weights of the loss ensemble are all 0"
                : "the loss ensemble has \(count) \(count == 1 ? "weight" : "weights") for \(teachers) "
                    + (teachers == 1 ? "teacher" : "teachers"), at: place,
            help: "write `weights: [...]` with one number for each teacher, not all of them 0")
    }

    var contract: String {
        switch self {
        case .meanLogits: "mean of logits"
        case .meanProbabilities: "mean of probabilities"
        case .confidence: "Σ w·KL, w by cross entropy with the labels in each row"
        case .entropy: "Σ w·KL, w = softmax(−entropy) in each row"
        case .weights(let weights): "Σ w·KL, w = \((weights ?? []).map(\.short).joined(separator: ", "))"
        }
    }
}

extension Tensor {
    /// T²·KL(teachers‖student), mean over the rows of logits `[rows, classes]`; teachers are constants.
    /// - `labels`: int32 `[rows]`; needed for `confidence`.
    /// - Throws: `RetortError` 78 when weights are given for another number of teachers.
    public func divergence(
        fromTeachers teachers: [Tensor], _ combination: TeacherCombination, labels: View? = nil, temperature: Float
    ) throws -> Tensor {
        let teachers = teachers.map(\.detached)
        guard let first = teachers.first else { throw RetortError.internalBug("an ensemble without a teacher") }
        let op = Divergence(
            .forwardKL, temperature: temperature, softWeight: temperature * temperature, scale: 1 / Float(shape[0]))
        func target(_ logits: Tensor) throws -> Tensor { try divergence(op, teacher: logits.view).total }
        guard teachers.count > 1 else { return try target(first) }
        switch combination {
        case .meanLogits: return try target(Tensor.mean(teachers))
        case .meanProbabilities:
            // The op takes logits: the logarithm of the mean, times T, has the mean as its softmax at T.
            let mean = try Tensor.mean(teachers.map { try $0.softmax(temperature: temperature) })
            return try target(mean.log() * temperature)
        case .weights(let weights):
            guard let weights, weights.count == teachers.count, weights.contains(where: { $0 > 0 }) else {
                throw TeacherCombination.wrongWeights(weights, teachers: teachers.count)
            }
            return try sum(teachers, op, try weights.map { try Tensor.full($0, [shape[0]], on: device) })
        case .confidence:
            guard let labels else { throw RetortError.internalBug("teachers weighed by confidence without labels") }
            let doubts = try Tensor.stacked(teachers.map { try $0.crossEntropyPerRow(labels) }).softmax(0)
            let weights = try (-doubts).adding(1) * (1 / Float(teachers.count - 1))
            return try sum(teachers, op, try weights.rows())
        case .entropy:
            let entropies = try Tensor.stacked(teachers.map { try $0.entropyPerRow() })
            return try sum(teachers, op, try (-entropies).softmax(0).rows())
        }
    }

    /// Σ over teachers of their divergence, each row times the teacher's weight for it, `[rows]`.
    private func sum(_ teachers: [Tensor], _ op: Divergence, _ weights: [Tensor]) throws -> Tensor {
        try Tensor.total(
            zip(teachers, weights).map { try divergence(op, teacher: $0.view, rowWeights: $1.view).total })
    }

    /// The slices of the first dimension.
    private func rows() throws -> [Tensor] {
        try (0..<shape[0]).map { try slice($0..<($0 + 1)).reshaped(shape.dropFirst()) }
    }

    /// −Σ p ln p in nats at T = 1, `[rows]`. Excluded classes (−∞) add nothing.
    private func entropyPerRow() throws -> Tensor {
        let p = try softmax()
        // ln p of a probability that is 0 counts as the smallest number's: its product with 0 is 0, not NaN.
        return try -(p * p.map(.clampMinimum(.leastNormalMagnitude)).log()).sum(-1)
    }

    fileprivate static func mean(_ tensors: [Tensor]) throws -> Tensor {
        try total(tensors) * (1 / Float(tensors.count))
    }
}
