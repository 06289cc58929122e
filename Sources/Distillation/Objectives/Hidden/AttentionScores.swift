import RetortModels
import RetortRuntime
import RetortSupport

/// Where student and teacher look, block by block: TinyBERT's mean squared error of attention scores (Jiao et al. 2020, arXiv:1909.10351), or
/// MiniLM's divergence of attention probabilities (Wang et al. 2020, arXiv:2002.10957). Both models need as many heads.
public struct AttentionScoresObjective: LanguageObjective {
    private enum Form: String, CaseIterable {
        case mse
        case divergence = "kl"
    }

    public static let section = RecipeSection(
        "attention-scores", "Attention of the blocks, head by head.",
        [
            RecipeField(
                "form", .choice(Form.allCases.map(\.rawValue)), .defaulted(Form.mse.rawValue),
                "mean squared error of the scores over the tokens that are seen, or KL(p‖q) of the probabilities"),
            RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
        ] + LayerMap.fields("uniform"))
    private let isDivergence: Bool
    private let weight: Float
    private let layers: LayerMap

    public init(_ recipe: RecipeNode) {
        isDivergence = recipe.required("form").text == Form.divergence.rawValue
        weight = Float(recipe.required("weight").number)
        layers = LayerMap(recipe)
    }

    public var needsTeacher: Bool { true }
    public func contract(over what: String) -> String {
        let form =
            isDivergence
            ? "KL(p‖q) of attention" : "MSE of attention scores over the tokens seen"
        return
            "\(NumberFormat.significant(Double(weight)))·\(form) \(layers.contract), summed over them, mean over heads and all tokens"
    }

    public func term(_ context: LanguageTermContext) throws -> any LanguageTerm {
        Term(try layers.pairs(context), isDivergence: isDivergence, weight, layers.location)
    }

    private final class Term: LanguageTerm {
        private let pairs: [(student: Int, teacher: Int)]
        private let isDivergence: Bool
        private let weight: Float
        private let location: RetortError.Location?

        init(
            _ pairs: [(student: Int, teacher: Int)], isDivergence: Bool, _ weight: Float,
            _ location: RetortError.Location?
        ) {
            (self.pairs, self.isDivergence, self.weight, self.location) = (pairs, isDivergence, weight, location)
        }

        private static let names = ["queries", "keys"]
        var signals: SignalRequest {
            SignalRequest(
                student: pairs.flatMap { pair in Self.names.map { SignalNames.path(pair.student, $0) } },
                teacher: pairs.flatMap { pair in Self.names.map { SignalNames.path(pair.teacher, $0) } })
        }

        func loss(_ input: LanguageInput) throws -> Tensor {
            let sight = try input.sight()
            let weights = input.weightsOfTokens([input.tokens.rows, input.tokens.length])
            let losses = try pairs.map { pair in
                let path = { (name: String) in
                    (SignalNames.path(pair.student, name), SignalNames.path(pair.teacher, name))
                }
                let (queries, keys) = (
                    try input.signals(path("queries").0, path("queries").1),
                    try input.signals(path("keys").0, path("keys").1)
                )
                let own = try Self.scores(queries.student, keys.student)
                let theirs = try Self.scores(queries.teacher, keys.teacher)
                guard own.shape == theirs.shape else {
                    throw RetortError.recipe(
                        "the student attends with \(own.shape[1]) heads, the teacher with \(theirs.shape[1])",
                        at: location, why: "they are compared head by head",
                        help: "use the loss minilm, which cuts heads anew, or give both as many")
                }
                return isDivergence
                    ? try own.relationDivergence(theirs, hidden: sight.hidden, weights: weights)
                    : try own.scoreDistance(theirs, weights: sight.pairs)
            }
            return try Tensor.total(losses) * weight
        }

        /// Of `[rows, tokens, heads, width]` and keys that groups of heads may share.
        private static func scores(_ queries: Tensor, _ keys: Tensor) throws -> Tensor {
            let (q, k) = (try queries.byHeads(), try keys.byHeads())
            let (rows, heads, tokens, width) = (q.shape[0], q.shape[1], q.shape[2], q.shape[3])
            let groups = k.shape[1]
            let grouped = try q.reshaped([rows, groups, heads / groups * tokens, width])
            return try grouped.relationScores(k).reshaped([rows, heads, tokens, tokens])
        }
    }
}
