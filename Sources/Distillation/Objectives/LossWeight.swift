import RetortSupport

/// What a loss counts among others.
enum LossWeight {
    /// Whether a loss is multiplied by 0. One whose parts have weights of their own (dkd, dist) is not looked into.
    /// - Parameters:
    ///   - objective: as the recipe's entry makes it.
    ///   - recipe: the entry.
    static func isZero(_ objective: Any, _ recipe: RecipeNode) -> Bool {
        if case .number(0)? = recipe["weight"]?.value { return true }
        // What alpha leaves, hard labels have.
        guard !(objective is any DivergenceObjective), recipe["beta"] == nil,
            case .number(0)? = recipe["alpha"]?.value
        else { return false }
        return true
    }

    /// - Parameters:
    ///   - losses: of an arm.
    ///   - arm: its name.
    /// - Throws: `RetortError` 78 where none of them counts.
    static func check(_ losses: [(node: RecipeNode, objective: Any)], of arm: String) throws {
        guard losses.allSatisfy({ isZero($0.objective, $0.node) }) else { return }
        throw RetortError.recipe(
            "the arm \(arm) learns nothing", at: losses.first?.node.location,
            why: "each of its losses has the weight 0",
            help: "give one a weight above 0")
    }
}
