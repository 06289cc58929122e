import RetortModels
import RetortSupport

/// `answers` of a recipe: what models write to the prompts of the test examples is measured too.
struct AnswerSpec: Sendable {
    /// Test examples at most; nil: all.
    let rows: Int?
    /// Tokens of an answer at most.
    let count: Int
    /// Tokens of a prompt at least: where plain text is cut into prompt and answer.
    let promptTokens: Int
    /// Where in a text its answer stands; nil: all of it is compared.
    let rule: AnswerRule?
    /// Where `answer` stands.
    let rulePlace: RetortError.Location?

    /// - Throws: `RetortError` 78 for a pattern that is none.
    init(_ node: RecipeNode) throws {
        rows = node["rows"]?.integer
        count = node.required("max-new-tokens").integer
        promptTokens = node.required("prompt-tokens").integer
        rule = try AnswerRule.find(node)
        rulePlace = node["answer"]?.location
    }

    static let field = RecipeField(
        "answers",
        .section(
            RecipeSection(
                "answers",
                "Measure also what models write to the test prompts: greedily against the data's answers (ROUGE-L, exact match), and drawn at temperature 1 against the teacher (reverse KL).",
                [
                    RecipeField("rows", .integer(1...10_000_000), .optional, "test examples at most (default: all)"),
                    RecipeField(
                        "max-new-tokens", .integer(1...1_000_000), .defaulted("128"), "tokens of an answer at most"),
                    RecipeField(
                        "prompt-tokens", .integer(1...1_000_000), .defaulted("1"),
                        "tokens of a prompt at least: plain text is its own prompt up to there"),
                ] + AnswerRule.fields)), .optional, "measure also what models write to the test prompts")
}
