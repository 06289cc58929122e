import RetortSupport

/// What config.json calls the sizes that a recipe states for a fresh model.
struct SizeNames {
    /// The recipe's key, config.json's.
    var pairs: [(key: String, name: String)]

    /// Makes a model of the configuration that came of a section; what it refuses is said in the recipe's words and at the recipe's place.
    /// - Throws: what `body` throws; `RetortError` 78 instead of 65.
    func inWords<Model>(of section: RecipeNode, _ body: () throws -> Model) throws -> Model {
        do { return try body() } catch let error as RetortError where error.exit == .badData {
            guard let pair = pairs.first(where: { error.what.contains($0.name.quoted()) }) else {
                throw RetortError.recipe(error.what, at: section.location, why: error.why, help: error.help)
            }
            // A key that is not there follows from others.
            throw RetortError.recipe(
                error.what.replacing(pair.name.quoted(), with: pair.key.quoted()),
                at: (section[pair.key] ?? section).location, why: error.why, help: error.help)
        }
    }
}
