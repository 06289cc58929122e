import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Contrastive representation distillation: alpha·(L(v, M_t) + L(w, M_s)); v and w are the embeddings of student and teacher, a linear layer each to
/// `width` numbers of length 1, both trained; M_t and M_s are memories of the other side's embeddings of every training example. For row i with its
/// own example as positive and k negatives of other classes, P = exp(v·m / τ) / Z and
///
///     L = −mean over rows of (ln (P₊ / (P₊ + k/N + ε)) + Σ over negatives of ln ((k/N) / (P₋ + k/N + ε)))
///
/// with N examples and ε = 1e−7; Z is set at the first batch to mean(exp(v·m / τ))·N. After each step the batch's rows of a memory become
/// momentum·m + (1 − momentum)·v, brought to length 1. Tian et al. 2020 (arXiv:1910.10699). alpha 0.8, width 128, k 16384, τ 0.07, momentum
/// 0.5: RepDistiller's and mdistiller's, whose mode "exact" this is.
///
/// Negatives are drawn on the device: each example of another class takes part with probability min(1, k / N), a function of seed, step and
/// place, and counts so that k take part on average. With k ≥ N all do. One product of the batch with the whole memory takes the place of the
/// authors' k gathered rows for each row: N·rows numbers instead of k·rows·width.
public struct CRDObjective: SignalObjective {
    public static let section = RecipeSection(
        "crd", "Each example's embedding is the teacher's own and no one else's.",
        [
            AlphaField.field("0.8"),
            RecipeField("width", .integer(1...65536), .defaulted("128"), "features of the embeddings"),
            RecipeField("negatives", .integer(1...100_000_000), .defaulted("16384"), "negatives of a row, on average"),
            RecipeField("temperature", .number(1e-3...1e4), .defaulted("0.07"), "cosines are divided by this"),
            RecipeField("momentum", .number(0...1), .defaulted("0.5"), "what a memory keeps of its row in a step"),
        ] + SignalChoice.fields(.embedding))
    private let alpha: Float
    private let width: Int
    private let negatives: Int
    private let temperature: Float
    private let momentum: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        width = recipe.required("width").integer
        negatives = recipe.required("negatives").integer
        temperature = Float(recipe.required("temperature").number)
        momentum = Float(recipe.required("momentum").number)
        choice = SignalChoice("crd", .embedding, recipe)
    }

    /// The memories and their normalisation are of whole batches: the loss is asked once a step, and what it saw is remembered then.
    public var spansBatch: Bool { true }
    public var takesMixedExamples: Bool { false }
    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        "\(alpha.short)·noise contrastive loss of embeddings of \(width) numbers against memories, \(negatives) negatives of other "
            + "classes, τ=\(temperature.short), momentum \(momentum.short), \(choice.contract), both directions, mean over rows"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let pairs = try choice.pairs(context.models)
        guard pairs.count == 1 else {
            throw RetortError.recipe("the loss crd compares one signal of each model, not \(pairs.count)")
        }
        let shapes = try context.shapes(pairs[0])
        return try Term(pairs[0], self, context, (shapes.student.reduce(1, *), shapes.teacher.reduce(1, *)))
    }

    private final class Term: EmbeddingTerm, LastingPart {
        private let pair: SignalPair
        private let objective: CRDObjective
        private let context: TermContext
        private let student: Linear
        private let teacher: Linear
        private let studentMemory: ContrastMemory
        private let teacherMemory: ContrastMemory
        /// One row for each example with a 1 at its class, `[examples, classes]`.
        private let classes: Tensor
        /// What the last loss saw, for the memories.
        private var seen: (rows: Tensor, student: Tensor, teacher: Tensor)?

        init(_ pair: SignalPair, _ objective: CRDObjective, _ context: TermContext, _ widths: (Int, Int)) throws {
            guard let labels = context.labels else { throw RetortError.internalBug("crd without the examples' labels") }
            self.pair = pair
            self.objective = objective
            self.context = context
            student = Linear(context.name + ".student", inputs: widths.0, outputs: objective.width)
            teacher = Linear(context.name + ".teacher", inputs: widths.1, outputs: objective.width)
            func memory(_ who: String) throws -> ContrastMemory {
                try ContrastMemory(
                    "\(context.name).memory.\(who)", rows: context.examples, width: objective.width, seed: context.seed,
                    on: context.device)
            }
            studentMemory = try memory("student")
            teacherMemory = try memory("teacher")
            classes = try Tensor.oneHot(labels, classes: context.classes, on: context.device.compute)
        }

        var modules: [any Module] { [student, teacher] }

        func embeddings(_ input: ObjectiveInput) throws -> (student: Tensor, teacher: Tensor) {
            let signals = try input.signals(pair)
            return (
                try student(signals.student.flattenedRows()).normalized(),
                try teacher(signals.teacher.flattenedRows()).normalized()
            )
        }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            guard let ids = input.ids else { throw RetortError.internalBug("crd without the numbers of the examples") }
            let (v, w) = try embeddings(input)
            let own = try Tensor.oneHot(ids, classes: context.examples, on: v.device)
            let others = try negatives(input)
            seen = (own, v.detached, w.detached)
            let noise = ContrastNoise(negatives: objective.negatives, examples: context.examples)
            return try v.contrastiveLoss(
                teacherMemory, positives: own, negatives: others, noise: noise, temperature: objective.temperature)
                * objective.alpha
                + w.contrastiveLoss(
                    studentMemory, positives: own, negatives: others, noise: noise, temperature: objective.temperature)
                * objective.alpha
        }

        func afterStep() throws {
            guard let seen else { return }
            try studentMemory.update(seen.rows, seen.student, momentum: objective.momentum)
            try teacherMemory.update(seen.rows, seen.teacher, momentum: objective.momentum)
            self.seen = nil
        }

        func describe(_ state: inout TrainingState, as name: String) {
            studentMemory.describe(&state, as: name + ".student")
            teacherMemory.describe(&state, as: name + ".teacher")
        }

        func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
            try studentMemory.resume(stored, as: name + ".student", on: device)
            try teacherMemory.resume(stored, as: name + ".teacher", on: device)
        }

        /// How often each example counts as a negative of each row, `[rows, examples]`.
        private func negatives(_ input: ObjectiveInput) throws -> Tensor {
            let device = classes.device
            let rows = try Tensor.oneHot(input.labels, classes: context.classes, on: device)
            let foreign = try (-rows.matmul(classes.transposed(0, 1))).adding(1)
            let share = min(1, Float(objective.negatives) / Float(context.examples))
            let drawn = try foreign.dropout(
                1 - share, seed: context.seed,
                stream: Philox.stream(context.name + "/negatives") &+ UInt64(input.progress.step))
            // Dropout has divided by the share already.
            let count = try foreign.sum(-1, keepingDimension: true).map(.clampMinimum(1))
            return try drawn / count * Float(objective.negatives)
        }
    }
}

/// The distribution that noise contrastive estimation tells the data from.
public struct ContrastNoise: Sendable {
    /// k/N: negatives of a row over examples.
    let level: Float
    let logLevel: Float

    public init(negatives: Int, examples: Int) {
        level = Float(negatives) / Float(examples)
        logLevel = Float(log(Double(negatives) / Double(examples)))
    }
}

/// One side's embeddings of all examples, `[examples, width]`, and the constant Z that scores against them are divided by.
public final class ContrastMemory {
    public let rows: Tensor
    /// A scalar on the device; set by the first batch.
    public private(set) var normalizer: Tensor?

    /// Starts uniform in ±√(3 / width).
    init(_ name: String, rows: Int, width: Int, seed: UInt64, on device: Device) throws {
        let bound = (3 / Float(width)).squareRoot()
        let values = Philox(seed: seed, stream: Philox.stream("init/" + name)).uniforms(rows * width, -bound, bound)
        self.rows = try Tensor(values, [rows, width], on: device)
    }

    /// A memory that exists already.
    public init(_ rows: Tensor, normalizer: Tensor? = nil) {
        self.rows = rows
        self.normalizer = normalizer
    }

    /// Sets Z, where it is not set, to mean(exp(scores))·examples over the pairs that count.
    fileprivate func normalize(_ scores: Tensor, weights: Tensor) throws -> Tensor {
        if let normalizer { return normalizer }
        let mean = try (scores.detached.exp() * weights).sum() / weights.sum()
        let z = try mean * Float(rows.shape[0])
        normalizer = z
        return z
    }

    /// Rows of a batch become momentum·row + (1 − momentum)·embedding, of length 1. In place, so only once backward has passed the losses
    /// against this memory.
    /// - `places`: a 1 at each row's example, `[batch, examples]`; no example twice.
    public func update(_ places: Tensor, _ embeddings: Tensor, momentum: Float) throws {
        let old = try places.matmul(rows)
        let new = try (old * momentum + embeddings.detached * (1 - momentum)).normalized()
        try run(
            Matmul(), .init(a: places.view.transposed, b: (new - old).view, c: .accumulate(rows.view)), on: rows.device)
    }
}

extension ContrastMemory: LastingPart {
    func describe(_ state: inout TrainingState, as name: String) {
        state.add(name, rows.view)
        if let normalizer { state.add(name + ".normalizer", normalizer.view) }
    }

    /// Its ramp may have left the loss out until then: there is no normalizer yet.
    func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
        try stored.fill(rows.view, with: name, on: device)
        guard stored.has(name + ".normalizer") else { return }
        let z = try Tensor([0], [], on: Device(device))
        try stored.fill(z.view, with: name + ".normalizer", on: device)
        normalizer = z
    }
}

extension Tensor {
    /// One side of CRD: embeddings `[rows, width]` of length 1 against a memory `[examples, width]` of the other side.
    /// - `positives`: 1 at each row's own example, `[rows, examples]`.
    /// - `negatives`: how often each example counts as a negative, `[rows, examples]`.
    public func contrastiveLoss(
        _ memory: ContrastMemory, positives: Tensor, negatives: Tensor, noise: ContrastNoise, temperature: Float
    ) throws -> Tensor {
        let scores = try matmul(memory.rows.transposed(0, 1)) * (1 / temperature)
        let weights = try positives + negatives
        let z = try memory.normalize(scores, weights: weights)
        // With v = (P + ε) / (k/N): −ln(P₊ / u) = ln(1 + v) + ln k/N + ln Z − score, −ln(k/N / u) = ln(1 + v). No large constant is added and
        // taken away again, as it would be with k far above N.
        let logV = try (scores.exp() / z * (1 / noise.level)).adding(1 + 1e-7 / noise.level).log()
        let gains = try positives * (scores - z.log()).adding(-noise.logLevel)
        return try ((weights * logV).sum() - gains.sum()) * (1 / Float(shape[0]))
    }
}
