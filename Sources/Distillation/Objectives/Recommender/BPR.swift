import RetortModels
import RetortRuntime

/// Bayesian personalised ranking: the mean over pairs of −log σ(s(u, i) − s(u, j)), in nats, i taken by u and j drawn from what u has not taken.
/// Rendle et al. 2009 (arXiv:1205.2618). The paper's L2 term is the optimizer's weight decay.
public struct BPRObjective: RecommenderObjective {
    public static let section = RecipeSection(
        "bpr", "What a user took ranks above what he did not.", [])

    public init(_ recipe: RecipeNode) {}
    public init() {}

    public var needsTeacher: Bool { false }
    public var contract: String { "−log σ(s(u, taken) − s(u, not taken)), mean over pairs, nats" }

    public func term(_ context: RecommenderContext) throws -> any RecommenderTerm { Term() }

    private final class Term: RecommenderTerm {
        func loss(_ input: RecommenderInput) throws -> Tensor {
            let lists = zip(input.positives, input.negatives).flatMap { [$0, $1] }
            let scores = try input.student.scores(input.users, lists: lists)
            let margins = try scores.narrowed(axis: 1, 0..<1) - scores.narrowed(axis: 1, 1..<2)
            return try (-margins).map(.softplus).mean()
        }
    }
}
