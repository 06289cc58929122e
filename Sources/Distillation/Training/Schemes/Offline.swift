import RetortModels

/// A fixed teacher, or none: the plain case.
public struct OfflineScheme: Scheme {
    public static let section = RecipeSection("offline", "The recipe's teacher, trained before and fixed.", [])

    static let plain = OfflineScheme()

    public init(_ recipe: RecipeNode) {}
    private init() {}

    public var bringsTeacher: Bool { false }
    public var contract: String { "" }

    public func train(_ session: ArmSession) throws -> any Model {
        let (model, arena) = try session.student()
        try session.fit(try session.trainer(model, arena, teacher: session.teacher))
        return model
    }
}
