import RetortModels
import RetortSupport

extension LanguageModel {
    /// That the model can read the examples of a recipe.
    /// - `longest`: tokens of the longest.
    /// - `largest`: the largest token id.
    /// - Throws: `RetortError` 78.
    func checkReach(longest: Int, largest: Int32, as who: String, at place: RetortError.Location?) throws {
        guard longest <= maxPositions else {
            throw RetortError.recipe(
                "the longest example has \(longest) tokens, the \(who) \(maxPositions) positions", at: place,
                help: "data.max-length=\(maxPositions) cuts longer ones; with data.truncation=drop they are left out")
        }
        guard Int(largest) < vocabulary else {
            throw RetortError.recipe(
                "the data has the token \(largest), the \(who) a vocabulary of \(vocabulary)", at: place)
        }
    }
}
