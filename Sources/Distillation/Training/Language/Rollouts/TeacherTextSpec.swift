import RetortModels
import RetortSupport

/// What is kept of a teacher's answers.
struct TeacherTextSpec: Sendable {
    enum Keep: String, Sendable, CaseIterable {
        case all
        /// Those that came to their end.
        case ended
        /// Those with the data's own answer.
        case correct
    }
    /// Answers to each prompt.
    let samples: Int
    let keep: Keep
    /// Where in a text its answer stands; nil: all of it is.
    let rule: AnswerRule?
    private let ruleName: String?

    /// - Throws: `RetortError` 78 for keys that do not fit together, and for a pattern that is none.
    init(_ node: RecipeNode) throws {
        samples = node.required("samples").integer
        keep = Keep(rawValue: node.required("keep").text) ?? .all
        ruleName = node["answer"]?.text
        rule = try AnswerRule.find(node)
        if samples > 1, node.required("temperature").number == 0 {
            throw RetortError.recipe(
                "\(samples) samples of each prompt, all the same", at: node["samples"]?.location ?? node.location,
                why: "at temperature 0 the likeliest token is taken", help: "raise the temperature")
        }
        if keep != .correct, let answer = node["answer"] {
            throw RetortError.recipe(
                "answer says what makes a text correct, and keep does not ask", at: answer.location,
                help: "say `keep: correct`, or remove answer")
        }
    }

    var contract: String {
        let kept: String =
            switch keep {
            case .all: "all kept"
            case .ended: "kept where they came to their end"
            case .correct: "kept where their answer (\(ruleName ?? "all of it")) is the data's"
            }
        return samples == 1 ? kept : "\(samples) for each prompt, \(kept)"
    }

    static let fields =
        [
            RecipeField("samples", .integer(1...10_000), .defaulted("1"), "answers to each prompt"),
            RecipeField(
                "keep", .choice(Keep.allCases.map(\.rawValue)), .defaulted(Keep.all.rawValue),
                "which of them are learned: all, those that came to their end, or those whose answer is the data's"),
        ] + AnswerRule.fields
}

extension AnswerRule {
    static let fields = [
        RecipeField(
            "answer", .choice(["last-number", "choice", "regex"]), .optional,
            "where the answer stands in a text: its last number (or the one behind ####, or in \\boxed{}), the letter of a choice, or the last match of pattern (default: all of it)"
        ),
        RecipeField("pattern", .text, .optional, "a regular expression (PCRE2) for `answer: regex`"),
    ]

    /// - Throws: `RetortError` 78 for a pattern without `answer: regex` and the other way round, and for one that is none.
    static func find(_ node: RecipeNode) throws -> AnswerRule? {
        let name = node["answer"]?.text
        guard (name == "regex") == (node["pattern"] != nil) else {
            throw RetortError.recipe(
                "`answer: regex` and `pattern` go together", at: (node["pattern"] ?? node["answer"])?.location)
        }
        switch name {
        case "last-number": return .lastNumber
        case "choice": return .choice()
        case nil: return nil
        default:
            do {
                return .pattern(try AnswerPattern(node.required("pattern").text))
            } catch let error as RetortError {
                throw RetortError.recipe(error.what, at: node["pattern"]?.location, why: error.why, help: error.help)
            }
        }
    }
}
