import RetortKernels
import RetortRuntime
import RetortSupport

/// Direct preference optimisation: the student's probability of the better answer is raised and that of the worse one lowered, both beside
/// a reference r. With h = ln q(chosen)/r(chosen) − ln q(rejected)/r(rejected), in these forms:
///
/// - `sigmoid`: −ln σ(β·h), Rafailov et al. 2023, arXiv:2305.18290; with a `label-smoothing` of ε −(1 − ε)·ln σ(β·h) − ε·ln σ(−β·h),
///   for labels of which a share ε is wrong (Mitchell 2023, conservative DPO);
/// - `ipo`: (h − 1/(2β))², ln q the mean over an answer's tokens (Azar et al. 2023, arXiv:2310.12036; the mean as in TRL);
/// - `hinge`: max(0, 1 − β·h) (SLiC's hinge beside a reference: Liu et al. 2023, arXiv:2309.06657);
/// - `apo-zero`: 1 − σ(β·ln q/r(chosen)) + σ(β·ln q/r(rejected)), which raises the better answer itself (D'Oosterlinck et al. 2024,
///   arXiv:2408.06266).
///
/// With the teacher as reference the student goes beyond it where answers differ; with itself it stays near to where it began.
public struct DPOObjective: PreferenceObjective {
    public enum Form: String, Sendable, CaseIterable {
        case sigmoid, ipo, hinge
        case apoZero = "apo-zero"
    }

    public static let section = RecipeSection(
        "dpo", "Two answers to a prompt, the better made likelier than the worse, beside a reference (DPO).",
        [
            RecipeField("beta", .number(1e-6...1e6), .defaulted("0.1"), "how far from the reference a reward reaches"),
            RecipeField(
                "form", .choice(Form.allCases.map(\.rawValue)), .defaulted("sigmoid"),
                "sigmoid is DPO; ipo, hinge and apo-zero make another loss of the same margin"),
            RecipeField(
                "label-smoothing", .number(0...0.5), .defaulted("0"),
                "share of pairs that are taken to be labelled the wrong way round; of the form sigmoid"),
            ReferenceModel.field, weightField,
        ])
    public let beta: Float
    public let weight: Float
    public let reference: ReferenceModel?
    private let form: Form
    private let smoothing: Float
    private let place: RetortError.Location?

    public init(_ recipe: RecipeNode) {
        beta = Float(recipe.required("beta").number)
        form = Form(rawValue: recipe.required("form").text) ?? .sigmoid
        smoothing = Float(recipe.required("label-smoothing").number)
        reference = recipe["reference"].flatMap { ReferenceModel(rawValue: $0.text) }
        weight = Float(recipe.required("weight").number)
        place = recipe["label-smoothing"]?.location ?? recipe.location
    }

    public var needsTeacher: Bool { true }
    public var likelihood: AnswerLikelihood { form == .ipo ? .mean : .sum }

    public func check() throws {
        guard smoothing == 0 || form == .sigmoid else {
            throw RetortError.recipe(
                "label-smoothing is of dpo's form sigmoid, and the form is \(form.rawValue)", at: place,
                help: "remove one of the two")
        }
    }

    public func contract(over what: String) -> String {
        let scale = beta.short
        let loss =
            switch form {
            case .sigmoid where smoothing > 0:
                "−\((1 - smoothing).short)·ln σ(\(scale)·h) − \(smoothing.short)·ln σ(−\(scale)·h)"
            case .sigmoid: "−ln σ(\(scale)·h)"
            case .ipo: "(h − \((1 / (2 * beta)).short))²"
            case .hinge: "max(0, 1 − \(scale)·h)"
            case .apoZero: "1 − σ(\(scale)·ln q/r(chosen)) + σ(\(scale)·ln q/r(rejected))"
            }
        let margin = form == .apoZero ? "" : ", h = ln q/r(chosen) − ln q/r(rejected)"
        return (weight == 1 ? "" : "\(weight.short)·(") + loss + (weight == 1 ? "" : ")") + margin
            + ", ln of an answer \(likelihood.words), mean over pairs"
    }

    public func losses(_ pairs: AnswerPairs, _ batch: PreferenceBatch) throws -> Tensor {
        switch form {
        case .sigmoid: try pairs.logistic(beta: beta, smoothing: smoothing)
        case .ipo: try pairs.squaredDistance(beta: beta)
        case .hinge: try pairs.hinge(beta: beta)
        case .apoZero: try pairs.anchored(beta: beta)
        }
    }
}

extension AnswerPairs {
    /// −(1 − ε)·ln σ(β·h) − ε·ln σ(−β·h) of the margin h, `[pairs]`: DPO, and CPO without a reference.
    public func logistic(beta: Float, smoothing: Float = 0) throws -> Tensor {
        let scaled = try margin() * beta
        let right = try scaled.map(.logSigmoid) * -(1 - smoothing)
        return smoothing == 0 ? right : try right - (-scaled).map(.logSigmoid) * smoothing
    }

    /// max(0, 1 − β·h), `[pairs]`.
    public func hinge(beta: Float) throws -> Tensor { try (margin() * -beta).adding(1).relu() }

    /// (h − 1/(2β))², `[pairs]`: IPO.
    public func squaredDistance(beta: Float) throws -> Tensor { try margin().adding(-1 / (2 * beta)).squared() }

    /// 1 − σ(β·ln q/r(chosen)) + σ(β·ln q/r(rejected)), `[pairs]`: APO-zero.
    public func anchored(beta: Float) throws -> Tensor {
        let ratios = try ratios()
        return try ((ratios.rejected * beta).map(.sigmoid) - (ratios.chosen * beta).map(.sigmoid)).adding(1)
    }
}
