import RetortKernels
import RetortRuntime

/// Adaptive KL: a·KL(p‖q) + (1 − a)·KL(q‖p), row by row, mean over rows. Wu et al. 2024 (arXiv:2404.02657): the forward divergence is quick at the
/// teacher's likeliest classes, the reverse one at the others, and a says where q is further off.
///
/// The head of a row are its likeliest classes by p whose probabilities together are at most `head`, at least the likeliest; a = g_h / (g_h + g_t)
/// with g the sum of |p − q| over the head and over the rest, taken as a constant. Of equally likely classes at its border all belong to the rest.
public struct AKLObjective: RowObjective {
    public static let section = RecipeSection(
        "akl", "Forward and reverse KL, weighed in each row by where the student is further off.",
        [
            AlphaField.field("1"),
            RecipeField(
                "head", .number(1e-6...1), .defaulted("0.5"), "probability of the teacher's likeliest classes together"),
        ])
    private let alpha: Float
    private let head: Float

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        head = Float(recipe.required("head").number)
    }

    public var needsTeacher: Bool { true }
    public var laws: Set<ObjectiveLaw> { Set(ObjectiveLaw.allCases) }
    public var contract: String {
        "\(alpha.short)·(a·KL(p‖q) + (1 − a)·KL(q‖p)), a the head's share of |p − q|, head p ≤ \(head.short), T=1, teacher entropy out, mean over rows"
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        try input.student.logits.adaptiveDivergence(teacher: input.teacher().logits, head: head) * alpha
    }
}

extension Tensor {
    /// The adaptive KL of logits `[rows, classes]`, mean over the rows; the teacher is constant.
    public func adaptiveDivergence(teacher: Tensor, head: Float) throws -> Tensor {
        let rows = shape[0]
        let share = try Autograd.withoutGradients { try headShare(teacher: teacher, head: head) }
        let weight = 1 / Float(Swift.max(1, rows))
        let forward = try share * weight
        let reverse = try (-share).adding(1) * weight
        let there = try divergence(
            Divergence(.forwardKL), teacher: teacher.view, rowWeights: forward.view.reshaped([rows])
        ).total
        let back = try divergence(
            Divergence(.reverseKL), teacher: teacher.view, rowWeights: reverse.view.reshaped([rows])
        ).total
        return try there + back
    }

    /// g_h / (g_h + g_t) of each row, `[rows, 1]`; ½ where both are 0.
    private func headShare(teacher: Tensor, head: Float) throws -> Tensor {
        let p = try teacher.softmax()
        // The fewest classes that together reach `head`: the head and, mostly, one more.
        let reached = try device.empty(shape)
        try run(FilterLogits(topP: head), .init(x: teacher.view, history: nil, y: reached), on: device)
        let inside = try Tensor(view: reached, on: Device(device)).softmax().isPositive()
        let sum = try (p * inside).sum(1, keepingDimension: true)
        let exceeds = try sum.adding(-head).isPositive()
        // Where they exceed it the least likely of them is out; the others count for more than 1 here.
        let least = try -(-(p + (-inside).adding(2))).max(1, keepingDimension: true)
        let above = try (p.adding(1) - least).isPositive() * inside
        let kept = try above * exceeds + inside * (-exceeds).adding(1)
        // The likeliest always is in.
        let below = try (p.max(1, keepingDimension: true) - p).isPositive()
        let chosen = try ((-below).adding(1) + kept).isPositive()
        let gap = try (p - softmax()).abs()
        let near = try (gap * chosen).sum(1, keepingDimension: true)
        let all = try gap.sum(1, keepingDimension: true)
        return try near.adding(1e-12) / all.adding(2e-12)
    }
}
