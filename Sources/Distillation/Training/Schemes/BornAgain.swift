import RetortModels

/// Born-again networks (Furlanello et al. 2018, arXiv:1805.04770): each generation is a fresh student taught by the one before; the
/// first by the recipe's teacher. Usually all have the same architecture.
public struct BornAgainScheme: Scheme {
    public static let section = RecipeSection(
        "born-again", "Generations: each student teaches the next (Furlanello et al. 2018).",
        [RecipeField("generations", .integer(2...100), .defaulted("3"), "students trained one after the other")])
    private let generations: Int

    public init(_ recipe: RecipeNode) { generations = recipe.required("generations").integer }

    public var bringsTeacher: Bool { false }
    public var keepsTeachers: Bool { false }
    public var contract: String { "born again: \(generations) generations, each taught by the one before" }

    public func train(_ session: ArmSession) throws -> any Model {
        var teacher = session.teacher
        for generation in 1..<generations {
            // Later generations start from weights of their own: nothing is handed down but the answers.
            let (model, arena) = try session.student(number: generation)
            try session.fit(try session.trainer(model, arena, teacher: teacher), generation: generation)
            teacher = LocalTeacher(model, seeing: session.view)
        }
        let (model, arena) = try session.student()
        try session.fit(try session.trainer(model, arena, teacher: teacher))
        return model
    }
}
