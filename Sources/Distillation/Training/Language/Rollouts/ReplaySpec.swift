import RetortSupport

/// DistiLLM's adaptive use of what the student wrote (Ko et al. 2024, arXiv:2402.03898; `distillm/finetune.py`): a threshold φ, 0 at first,
/// rises by `step` whenever the loss on held-out data has risen by `tolerance`. With u uniform in [0, 1), a step learns from a new text of
/// the student where u < φ·fresh(t), from the buffer where u < φ, else from the data; while the buffer is not full new texts are written
/// instead.
struct ReplaySpec: Sendable {
    /// The part of φ that stands for new texts over the training.
    enum Fresh: String, Sendable, CaseIterable {
        case decreasing, constant, increasing

        /// - Parameter progress: of the training, 0 to 1.
        func share(_ progress: Double) -> Double {
            switch self {
            case .decreasing: 1 - progress
            case .constant: 0.5
            case .increasing: progress
            }
        }
    }
    /// Texts that are kept; the oldest go.
    let capacity: Int
    let start: Double
    let step: Double
    let tolerance: Double
    let fresh: Fresh
    /// Each n-th training example is held out.
    let heldOut: Int
    /// Steps between two looks at the held-out loss.
    let checkEvery: Int

    init(_ node: RecipeNode) {
        capacity = node.required("capacity").integer
        start = node.required("threshold").number
        step = node.required("threshold-step").number
        tolerance = node.required("tolerance").number
        fresh = Fresh(rawValue: node.required("fresh").text) ?? .decreasing
        heldOut = node.required("held-out").integer
        checkEvery = node.required("check-every").integer
    }

    var contract: String {
        "new ones and those of a buffer of \(capacity) in a share of the steps that starts at "
            + "\(NumberFormat.significant(start)) and rises by \(NumberFormat.significant(step)) when the loss on each \(heldOut)th "
            + "example, held out, does by \(NumberFormat.significant(tolerance)) (looked at every \(checkEvery) steps)"
    }

    static let fields = [
        RecipeField("capacity", .integer(1...10_000_000), .defaulted("1000"), "texts that are kept; the oldest go"),
        RecipeField(
            "threshold", .number(0...1), .defaulted("0"), "share of the steps with the student's texts, at first"),
        RecipeField("threshold-step", .number(0...1), .defaulted("0.1"), "how much the share rises at a time"),
        RecipeField(
            "tolerance", .number(0...1e6), .defaulted("0.1"),
            "rise of the held-out loss, in nats per token, at which it does"),
        RecipeField(
            "fresh", .choice(Fresh.allCases.map(\.rawValue)), .defaulted(Fresh.decreasing.rawValue),
            "how the part of new texts in that share goes over the training: from 1 to 0, a half, from 0 to 1"),
        RecipeField(
            "held-out", .integer(2...1_000_000), .defaulted("20"),
            "each n-th training example is not learned, to see when the data wear out"),
        RecipeField("check-every", .integer(1...1_000_000), .defaulted("100"), "steps between two looks at it"),
    ]
}
