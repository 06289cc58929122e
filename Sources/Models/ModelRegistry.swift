/// Every architecture a recipe or a config.json can name. One line here for each file.
public enum ModelRegistry {
    public static let all: [any Model.Type] = [
        MLP.self
    ]

    public static func find(_ kind: String) -> (any Model.Type)? { all.first { $0.architecture.kind == kind } }
}
