import RetortModels
import RetortRuntime

/// DE of DE-RRD: alpha·(Σ_u ‖t_u − p(s_u)‖² + ½ Σ_i ‖t_i − p(s_i)‖² + ½ Σ_j ‖t_j − p(s_j)‖²) / pairs, over the distinct users, taken and not taken
/// items of the batch; p are experts with a gate (`ExpertProjector`), trained with the student. Kang et al. 2020 (arXiv:2012.04357); the halves and
/// the sums are those of the code that Zhu and Zhang published for several such losses.
///
/// That code ends the gate's temperature at 1e-10, where two experts that happen to be equal would send a gradient of 1e10; the default here is 1e-4.
public struct DistillationExpertsObjective: RecommenderObjective {
    public static let section = RecipeSection(
        "distillation-experts", "DE: the student's embeddings, through experts, become the teacher's.",
        [AlphaField.field("0.05")] + ExpertProjector.fields(experts: 5))
    private let alpha: Float
    private let experts: Int
    private let finalTemperature: Double

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        experts = recipe.required("experts").integer
        finalTemperature = recipe.required("final-temperature").number
    }

    public var needsTeacher: Bool { true }
    public var contract: String {
        "\(alpha.short)·Σ ‖t − p(s)‖² over distinct users and half of that over items, per pair, p of \(experts) trained experts"
    }

    public func term(_ context: RecommenderContext) throws -> any RecommenderTerm {
        Term(try ExpertProjector.Pair(context, experts: experts, finalTemperature: finalTemperature), alpha: alpha)
    }

    private final class Term: RecommenderTerm {
        private let pair: ExpertProjector.Pair
        private let alpha: Float

        init(_ pair: ExpertProjector.Pair, alpha: Float) {
            self.pair = pair
            self.alpha = alpha
        }

        var modules: [any Module] { pair.modules }
        func loss(_ input: RecommenderInput) throws -> Tensor { try pair.hint(input) * alpha }
    }
}
