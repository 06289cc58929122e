import RetortModels
import RetortRuntime

/// Self-distillation from a moving average of the student's own weights (mean teacher, Tarvainen & Valpola 2017, arXiv:1703.01780).
///
/// With `hidden`, the student sees partial inputs and the teacher whole ones: target-driven self-distillation. Each input element is
/// hidden (0) with that probability, by a mask drawn by counter.
public struct MovingAverageScheme: Scheme {
    public static let section = RecipeSection(
        "moving-average", "The teacher is a moving average of the student itself (Tarvainen & Valpola 2017).",
        [
            RecipeField(
                "decay", .number(0...0.999999), .defaulted("0.99"), "share of the average that is kept each step"),
            RecipeField(
                "hidden", .number(0...0.95), .defaulted("0"),
                "share of the inputs that the student does not see and the teacher does"),
        ])
    private let decay: Double
    private let hidden: Float

    public init(_ recipe: RecipeNode) {
        decay = recipe.required("decay").number
        hidden = Float(recipe.required("hidden").number)
    }

    public var bringsTeacher: Bool { true }
    public var contract: String {
        "teacher: moving average of the student, decay \(decay)"
            + (hidden > 0 ? "; the student does not see \(hidden) of its inputs" : "")
    }

    public func train(_ session: ArmSession) throws -> any Model {
        let (model, arena) = try session.student()
        let (copy, copied) = try session.student()
        let teacher = MovingAverageTeacher(copy, copied, follows: model, arena, decay: decay, seeing: session.view)
        try session.fit(try session.trainer(model, arena, teacher: teacher, hidden: hidden))
        return model
    }
}
