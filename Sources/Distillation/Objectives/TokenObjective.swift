import RetortKernels
import RetortRuntime

/// A loss that looks at one row of logits at a time, so that it serves a classifier's examples and a language model's tokens alike.
public protocol TokenObjective: Objective, PlainLanguageObjective {
    /// What is computed of each row.
    func tokenLoss(_ progress: TrainingProgress) -> TokenLoss
}

extension TokenObjective {
    public var contract: String { contract(over: "rows") }
    public var takesCachedTeacher: Bool { true }
    public var takesAllTeachers: Bool { false }
    public static var takesReduction: Bool { true }
    public static var reductions: [TokenReduction] { TokenReduction.allCases }

    public func loss(_ input: LanguageInput) throws -> Tensor {
        let loss = tokenLoss(input.progress)
        func value(_ loss: TokenLoss) throws -> Tensor {
            try loss(
                input.hidden, input.head, teacher: input.teacher, labels: input.labels, weights: input.weights,
                gradient: input.gradient, chunk: input.chunk)
        }
        guard let labelled = input.labelled, let (soft, hard) = loss.parts else { return try value(loss) }
        guard let hard else { return try value(soft) }
        return try value(soft)
            + hard(
                input.hidden, labelled.head, teacher: nil, labels: labelled.labels, weights: labelled.weights,
                gradient: input.gradient, chunk: input.chunk)
    }
}

/// Value and gradient of a loss of rows of logits, weighed row by row.
public enum TokenLoss: Sendable, Equatable {
    /// Cross entropy with the labels, times a weight.
    case crossEntropy(labelSmoothing: Float, weight: Float)
    /// A divergence from the teacher, mixed with hard labels.
    case divergence(
        DivergenceKind, mix: Float, temperature: Float, softWeight: Float, hardWeight: Float)
}

/// Where a teacher's predictions of a batch come from.
public enum TokenTeacher {
    /// A model that is in memory.
    case live(any LogitSource)
    /// What was kept of one: the likeliest classes, and what the others weigh together.
    case kept(SparseTeacher)
    /// A model that has read the same texts in tokens of its own.
    case translated(TranslatedTeacher)

    /// All logits, a chunk at a time; nil where they were not kept.
    var logits: (any LogitSource)? { if case .live(let logits) = self { logits } else { nil } }
}

extension TokenLoss {
    /// A divergence from the teacher and the hard labels apart, nil where these do not count; nil for a loss without a teacher.
    fileprivate var parts: (soft: TokenLoss, hard: TokenLoss?)? {
        guard case .divergence(let kind, let mix, let temperature, let soft, let hard) = self else { return nil }
        return (
            .divergence(kind, mix: mix, temperature: temperature, softWeight: soft, hardWeight: 0),
            hard == 0 ? nil : .crossEntropy(labelSmoothing: 0, weight: hard)
        )
    }

    /// The weighted sum over rows, a scalar on the tape, without ever holding all logits.
    /// - Parameters:
    ///   - hidden: what the student's head sees, `[..., hidden]`.
    ///   - head: the student's.
    ///   - teacher: its predictions of the same rows; needed by a divergence. Where only the likeliest classes are known, the others are one
    ///     outcome on both sides.
    ///   - labels: Int32 `[rows]`, −100 where there is none.
    ///   - weights: `[rows]`: what each row's loss is multiplied by, 0 where none counts.
    ///   - gradient: where the head's waits for backward.
    func callAsFunction(
        _ hidden: Tensor, _ head: OutputHead, teacher: TokenTeacher?, labels: View, weights: View,
        gradient: HeadGradient, chunk: ChunkSize
    ) throws -> Tensor {
        switch (self, teacher) {
        case (.crossEntropy(let smoothing, let weight), _):
            return try hidden.chunkedCrossEntropy(
                labels, head: head, rowWeights: weights, labelSmoothing: smoothing, scale: weight,
                chunk: chunk, headGradient: gradient
            ).total
        case (.divergence(let kind, let mix, let temperature, let soft, let hard), .live(let teacher)?):
            let op = Divergence(kind, mix: mix, temperature: temperature, softWeight: soft, hardWeight: hard)
            return try hidden.chunkedDivergence(
                op, head: head, teacher: teacher, labels: hard == 0 ? nil : labels, rowWeights: weights,
                chunk: chunk, headGradient: gradient
            ).total
        case (.divergence(let kind, let mix, let temperature, let soft, let hard), .kept(let teacher)?):
            let op = SparseDivergence(kind, mix: mix, temperature: temperature, softWeight: soft, hardWeight: hard)
            return try hidden.chunkedDivergence(
                op, head: head, teacher: teacher, labels: hard == 0 ? nil : labels, rowWeights: weights,
                chunk: chunk, headGradient: gradient
            ).total
        case (.divergence, .translated?): throw TensorError("a divergence from a teacher with other tokens")
        case (.divergence, nil): throw TensorError("a divergence without a teacher")
        }
    }
}
