import RetortSupport

/// What is known of a recipe before its data and models are looked at. It is read as `retort train` reads it before it starts.
public struct RecipeCheck: Sendable {
    public let path: String
    private let outcome: Result<any RunnableRecipe, RetortError>

    /// - Throws: `RetortError` 64 for a word that is no override, whatever the recipe; what is wrong with the recipe is in `error`.
    public init(_ path: String, overrides: [String] = []) throws {
        self.path = path
        do {
            outcome = .success(try readRecipe(path, overrides: overrides))
        } catch let error as RetortError where error.exit != .usage && error.exit != .internalBug {
            outcome = .failure(error)
        }
    }

    /// Why the recipe is refused; nil for a valid one.
    public var error: RetortError? { if case .failure(let error) = outcome { error } else { nil } }

    private var recipe: (any RunnableRecipe)? { if case .success(let recipe) = outcome { recipe } else { nil } }

    /// A valid recipe in one line; nil for another.
    public var summary: String? {
        guard let recipe else { return nil }
        func count(_ number: Int, _ word: String) -> String { "\(number) \(word)" + (number == 1 ? "" : "s") }
        return "\(path.displayable): a \(Self.family(of: recipe)) recipe, \(count(recipe.contracts.count, "arm")), "
            + "\(count(Self.seeds(of: recipe).count, "seed")): valid"
    }

    /// What each arm of a valid recipe minimises and how: "student: …", a line each.
    public var contracts: [String] {
        (recipe?.contracts ?? []).flatMap { contract in contract.lines.map { "\(contract.arm): \($0)" } }
    }

    /// What stands in a valid recipe and counts for nothing, a line each.
    public var remarks: [String] { recipe?.remarks ?? [] }

    public var json: JSON {
        switch outcome {
        case .success(let recipe):
            let arms = recipe.contracts.map { contract -> JSON in
                ["name": .string(contract.arm), "contract": .array(contract.lines.map(JSON.string))]
            }
            return [
                "path": .string(path), "valid": true, "family": .string(Self.family(of: recipe)), "arms": .array(arms),
                "seeds": .array(Self.seeds(of: recipe).map(JSON.int)),
                "remarks": .array(recipe.remarks.map(JSON.string)),
            ]
        case .failure(let error):
            let place = error.location
            return [
                "path": .string(path), "valid": false,
                "error": [
                    "exit": .int(Int(error.exit.rawValue)), "what": .string(error.what),
                    "file": place.map { JSON.string($0.file) } ?? .null, "line": place?.line.map(JSON.int) ?? .null,
                    "column": place?.column.map(JSON.int) ?? .null, "why": .string(error.why),
                    "help": .string(error.help),
                ],
            ]
        }
    }

    private static func family(of recipe: any RunnableRecipe) -> String {
        RecipeFamily(dataKind: recipe.node.required("data").required("kind").text).rawValue
    }

    private static func seeds(of recipe: any RunnableRecipe) -> [Int] {
        recipe.node.required("seeds").list.map(\.integer)
    }
}
