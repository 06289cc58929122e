import RetortModels
import RetortRuntime
import RetortSupport

/// `student: {from: …}`: a student that begins as a part of a teacher, as `retort init --from` makes it.
struct StudentSource: Sendable {
    /// The model it is cut out of.
    let folder: String
    private let layers: LayerChoice
    private let widths: StudentWidths
    private let location: RetortError.Location?

    /// - Parameter teacher: the directory of the recipe's teacher, where it has one.
    /// - Throws: `RetortError` 78 where nothing says what it is cut out of, and for two ways to choose blocks.
    init(_ node: RecipeNode, teacher: String?, _ resolve: (String) -> String) throws {
        location = node.location
        guard let folder = node["path"].map({ resolve($0.text) }) ?? teacher else {
            throw RetortError.recipe(
                "nothing says what the student is cut out of", at: node.location,
                why: "the recipe has no teacher with a directory, or several", help: "give `from` a `path`")
        }
        self.folder = folder
        switch (node["layers"], node["every"]) {
        case (nil, nil): layers = .all
        case (let list?, nil): layers = .these(list.list.map(\.integer))
        case (nil, let step?): layers = .every(step.integer)
        case (_, let step?):
            throw RetortError.recipe("from has both layers and every", at: step.location, help: "keep one of them")
        }
        widths = StudentWidths(
            hidden: node["hidden"]?.integer, intermediate: node["intermediate"]?.integer,
            heads: node["heads"]?.integer, keyValueHeads: node["key-value-heads"]?.integer)
    }

    /// - Throws: `RetortError` 78 for layers and widths that the model cannot give, 65 or 66 for its files.
    func make(trains: Bool, on device: Device) throws -> (model: any LanguageModel, arena: ParameterArena) {
        do {
            return try StudentCut(from: folder, layers: layers, widths: widths).languageModel(
                on: device, trains: trains)
        } catch let error as RetortError where error.exit == .usage {
            throw RetortError.recipe(error.what, at: location, why: error.why, help: error.help)
        }
    }

    static let field: RecipeField = {
        func width(_ key: String, _ summary: String) -> RecipeField {
            RecipeField(key, .integer(1...1 << 20), .optional, summary)
        }
        return RecipeField(
            "from",
            .section(
                RecipeSection(
                    "from",
                    "A student that begins as a part of a teacher: some blocks, and of each matrix the first rows and columns.",
                    [
                        RecipeField(
                            "path", .text, .optional, "the model's directory (default: that of the recipe's teacher)"),
                        RecipeField(
                            "layers", .list(of: .integer(0...4095), count: 1...4096), .optional,
                            "blocks to keep, counted from 0"),
                        RecipeField(
                            "every", .integer(1...4096), .optional, "keep each n-th block, the first among them"),
                        width("hidden", "width of the residual stream"),
                        width("intermediate", "width between the two layers of the feed-forward block"),
                        width("heads", "attention heads"), width("key-value-heads", "heads of keys and values"),
                    ])), .optional, "a student that is cut out of its teacher")
    }()
}
