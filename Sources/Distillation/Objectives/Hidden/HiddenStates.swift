import RetortModels
import RetortRuntime
import RetortSupport

/// Hidden states of student and teacher, block by block, mean over tokens: TinyBERT's squared error behind a learned projection (Jiao et al.
/// 2020, arXiv:1909.10351), DistilBERT's cosine (Sanh et al. 2019, arXiv:1910.01108), PKD's squared distance of unit vectors (Sun et al.
/// 2019, arXiv:1908.09355; there of the first token, here of all).
public struct HiddenStatesObjective: LanguageObjective {
    public enum Form: String, CaseIterable, Sendable {
        case mse, cosine
        case normalized = "normalized-mse"
    }

    public static let section = RecipeSection(
        "hidden-states", "Hidden states of the blocks, behind a learned projection where their widths differ.",
        [
            RecipeField(
                "form", .choice(Form.allCases.map(\.rawValue)), .defaulted(Form.mse.rawValue),
                "mean squared error, 1 − cosine, or squared distance of unit vectors"),
            RecipeField("embeddings", .flag, .defaulted("false"), "compare what enters the first block too (TinyBERT)"),
            RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
        ] + LayerMap.fields("uniform"))
    private let form: Form
    private let embeddings: Bool
    private let weight: Float
    private let layers: LayerMap

    public init(_ recipe: RecipeNode) {
        form = Form(rawValue: recipe.required("form").text) ?? .mse
        embeddings = recipe.required("embeddings").flag
        weight = Float(recipe.required("weight").number)
        layers = LayerMap(recipe)
    }

    public var needsTeacher: Bool { true }
    public var takesCachedTeacher: Bool { true }
    public func contract(over what: String) -> String {
        let name =
            switch form {
            case .mse: "MSE(h_s·W, h_t)"
            case .cosine: "1 − cos(h_s·W, h_t)"
            case .normalized: "‖h_s·W/|h_s·W| − h_t/|h_t|‖²"
            }
        return "\(NumberFormat.significant(Double(weight)))·\(name) \(layers.contract)"
            + (embeddings ? " and of the embeddings" : "") + ", summed over them, mean over all tokens"
    }

    public func term(_ context: LanguageTermContext) throws -> any LanguageTerm {
        let blocks = try layers.pairs(context).map {
            (SignalNames.path($0.student, "hidden"), SignalNames.path($0.teacher, "hidden"))
        }
        return try Term(
            (embeddings ? [("embeddings", "embeddings")] : []) + blocks, form, weight, context)
    }

    private final class Term: LanguageTerm {
        let modules: [any Module]
        private let pairs: [(student: String, teacher: String)]
        /// One for each pair; nil where widths agree.
        private let projections: [Linear]?
        private let form: Form
        private let weight: Float

        init(
            _ pairs: [(student: String, teacher: String)], _ form: Form, _ weight: Float, _ context: LanguageTermContext
        ) throws {
            (self.pairs, self.form, self.weight) = (pairs, form, weight)
            let (own, theirs) = (try context.student.tokenWidth(), try context.teacher?.tokenWidth() ?? 0)
            projections =
                own == theirs
                ? nil
                : pairs.indices.map { Linear("\(context.name).projection.\($0)", inputs: own, outputs: theirs) }
            modules = projections ?? []
        }

        var signals: SignalRequest { SignalRequest(student: pairs.map(\.student), teacher: pairs.map(\.teacher)) }

        func loss(_ input: LanguageInput) throws -> Tensor {
            let losses = try pairs.enumerated().map { index, pair in
                let (own, theirs) = try input.signals(pair.student, pair.teacher)
                let projected = try projections.map { try $0[index](own) } ?? own
                let weights = input.weightsOfTokens([theirs.shape[0], theirs.shape[1]])
                return try projected.hiddenDistance(theirs, form: form, weights: weights)
            }
            return try Tensor.total(losses) * weight
        }
    }
}

extension Tensor {
    /// Distance of vectors `[rows, tokens, hidden]`, weighed token by token: a scalar.
    /// - `weights`: `[rows, tokens]`.
    public func hiddenDistance(_ other: Tensor, form: HiddenStatesObjective.Form, weights: Tensor) throws -> Tensor {
        let distances: Tensor =
            switch form {
            case .mse: try (self - other).squared().mean(2)
            case .cosine: try (-cosineSimilarity(other)).adding(1)
            case .normalized: try (normalized() - other.normalized()).squared().sum(2)
            }
        return try (distances * weights).sum()
    }
}
