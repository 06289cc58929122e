import RetortModels
import RetortRuntime
import RetortSupport

/// How tokens relate to each other in one block, by queries, keys and values: MiniLMv2 (Wang et al. 2021, arXiv:2012.15828). Each of the three
/// is cut into as many relation heads in both models, whatever their widths; a relation is softmax(X·Xᵀ/√d) over the tokens seen, and
/// the loss Σ KL(teacher‖student) over the three, mean over relation heads and tokens. `values` alone beside `attention-scores` of form kl
/// is MiniLM (Wang et al. 2020, arXiv:2002.10957).
public struct MiniLMObjective: LanguageObjective {
    private static let names = ["queries", "keys", "values"]

    public static let section = RecipeSection(
        "minilm", "Relations between tokens by queries, keys and values of one block.",
        [
            RecipeField(
                "relations", .list(of: .choice(names), count: 1...3), .defaulted("[queries, keys, values]"),
                "what is related"),
            RecipeField(
                "relation-heads", .integer(1...4096), .defaulted("1"),
                "heads that each is cut into; they divide the widths of both models"),
            RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
        ] + LayerMap.fields("last"))
    private let relations: [String]
    private let heads: Int
    private let weight: Float
    private let layers: LayerMap
    private let location: RetortError.Location?

    public init(_ recipe: RecipeNode) {
        relations = recipe.required("relations").list.map(\.text)
        heads = recipe.required("relation-heads").integer
        weight = Float(recipe.required("weight").number)
        layers = LayerMap(recipe)
        location = recipe.location
    }

    public var needsTeacher: Bool { true }
    public func contract(over what: String) -> String {
        "\(NumberFormat.significant(Double(weight)))·Σ KL(p‖q) of the relations of \(relations.joined(separator: ", ")) in \(heads) heads "
            + "\(layers.contract), mean over all tokens"
    }

    public func term(_ context: LanguageTermContext) throws -> any LanguageTerm {
        Term(try layers.pairs(context), self)
    }

    private final class Term: LanguageTerm {
        private let pairs: [(student: Int, teacher: Int)]
        private let objective: MiniLMObjective

        init(_ pairs: [(student: Int, teacher: Int)], _ objective: MiniLMObjective) {
            (self.pairs, self.objective) = (pairs, objective)
        }

        var signals: SignalRequest {
            let names = objective.relations
            return SignalRequest(
                student: pairs.flatMap { pair in names.map { SignalNames.path(pair.student, $0) } },
                teacher: pairs.flatMap { pair in names.map { SignalNames.path(pair.teacher, $0) } })
        }

        func loss(_ input: LanguageInput) throws -> Tensor {
            let sight = try input.sight()
            let weights = input.weightsOfTokens([input.tokens.rows, input.tokens.length])
            let losses = try pairs.flatMap { pair in
                try objective.relations.map { name in
                    let (own, theirs) = try input.signals(
                        SignalNames.path(pair.student, name), SignalNames.path(pair.teacher, name))
                    return try relation(own).relationDivergence(
                        relation(theirs), hidden: sight.hidden, weights: weights)
                }
            }
            return try Tensor.total(losses) * objective.weight
        }

        private func relation(_ x: Tensor) throws -> Tensor {
            guard x.shape[2] * x.shape[3] % objective.heads == 0 else {
                throw RetortError.recipe(
                    "\(objective.heads) relation heads of \(x.shape[2] * x.shape[3]) columns", at: objective.location,
                    help: "choose a number that divides the widths of queries, keys and values in both models")
            }
            let cut = try x.byHeads(objective.heads)
            return try cut.relationScores(cut)
        }
    }
}
