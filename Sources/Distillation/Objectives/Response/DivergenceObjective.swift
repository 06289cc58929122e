import RetortKernels
import RetortRuntime
import RetortSupport

/// A loss that compares the softmax of teacher (p) and student (q) with one divergence, mixed with hard labels.
protocol DivergenceObjective: LogitObjective, TokenObjective {
    /// The divergence in symbols.
    static var formula: String { get }
    var divergence: DivergenceTerm { get }
}

extension DivergenceObjective {
    public var needsTeacher: Bool { true }
    public func contract(over what: String) -> String { divergence.contract(Self.formula, over: what) }
    public func loss(_ input: ObjectiveInput) throws -> Tensor { try divergence.loss(input) }
    public func tokenLoss(_ progress: TrainingProgress) -> TokenLoss { divergence.tokenLoss(progress) }
    /// Hard labels end the laws that compare student and teacher only; the teacher's entropy is left at equality.
    public var laws: Set<ObjectiveLaw> {
        guard divergence.hardWeight == 0 else { return [.nonNegative, .shiftInvariant] }
        return Set(ObjectiveLaw.allCases).subtracting(divergence.keepsEntropy ? [.zeroAtEquality] : [])
    }
}

/// The keys shared by the losses that compare two distributions.
enum DivergenceFields {
    static func all(temperature: String = "1", alpha: String = "1", tSquared: String = "true") -> [RecipeField] {
        Temperature.fields(temperature) + [
            RecipeField(
                "alpha", .number(0...1e6), .defaulted(alpha),
                "weight of the distillation term; 1 − alpha (at least 0) weighs the cross entropy with the labels"),
            RecipeField(
                "t-squared", .flag, .defaulted(tSquared),
                "multiply the divergence by temperature², which keeps gradients of one size when temperature changes"),
            RecipeField(
                "teacher-entropy", .flag, .defaulted("false"),
                "of forward-kl, hinton and skew-kl: report −Σ p ln q in place of KL(p‖q), the teacher's entropy in the value; the gradient is the same"
            ),
        ]
    }
}

extension DivergenceKind {
    /// The same with the teacher's entropy left in the value, of the same gradient: −Σ p ln q for KL(p‖q). nil where the value has no such part.
    var withTeacherEntropy: DivergenceKind? {
        switch self {
        case .forwardKL: .forwardCrossEntropy
        case .skewKL: .skewCrossEntropy
        default: nil
        }
    }
}

/// What the divergence losses have in common: temperature, weight, T², the teacher's entropy.
struct DivergenceTerm: Sendable {
    let kind: DivergenceKind
    /// Whether the teacher's entropy is in the value.
    let keepsEntropy: Bool
    let mix: Float
    /// What the recipe calls `mix`: "beta", "lambda"; "" when the divergence has none.
    let mixName: String
    let temperature: Temperature
    let alpha: Float
    let tSquared: Bool

    init(_ kind: DivergenceKind, mix mixName: String = "", _ recipe: RecipeNode) {
        let whole = recipe.required("teacher-entropy").flag ? kind.withTeacherEntropy : nil
        self.kind = whole ?? kind
        keepsEntropy = whole != nil
        self.mixName = mixName
        mix = mixName.isEmpty ? 0 : Float(recipe.required(mixName).number)
        temperature = Temperature(recipe)
        alpha = Float(recipe.required("alpha").number)
        tSquared = recipe.required("t-squared").flag
    }

    var hardWeight: Float { max(0, 1 - alpha) }

    /// - Parameters:
    ///   - objective: as the recipe's entry makes it.
    ///   - recipe: the entry.
    /// - Throws: `RetortError` 78 where the entry wants the teacher's entropy in a value that has none.
    static func checkEntropy(of objective: Any, _ recipe: RecipeNode) throws {
        guard let wanted = recipe["teacher-entropy"], wanted.flag,
            let divergence = (objective as? any DivergenceObjective)?.divergence, !divergence.keepsEntropy
        else { return }
        throw RetortError.recipe(
            "the loss \(recipe.required("loss").text) has no teacher's entropy to report", at: wanted.location,
            why: "only forward divergences are −Σ p ln q less the entropy of p",
            help: "remove `teacher-entropy`, or use forward-kl, hinton or skew-kl")
    }

    func contract(_ formula: String, over what: String) -> String {
        // "KL(p‖q)" is "−Σ p ln(q)" less the entropy of p.
        let divergence = keepsEntropy ? "(−Σ p ln(\(formula.dropFirst("KL(p‖".count)))" : formula
        let formula =
            mixName.isEmpty ? divergence : "\(divergence) with \(mixName) = \(NumberFormat.significant(Double(mix)))"
        let factor = tSquared ? "·T²" : ""
        let hard = hardWeight > 0 ? " + \(NumberFormat.significant(Double(hardWeight)))·CE(labels, q at T=1)" : ""
        return "\(NumberFormat.significant(Double(alpha)))\(factor)·\(formula)\(hard), T=\(temperature.contract)"
            + (tSquared ? "" : ", no T²") + ", teacher entropy \(keepsEntropy ? "in" : "out"), mean over \(what)"
    }

    func tokenLoss(_ progress: TrainingProgress) -> TokenLoss {
        let temperature = temperature.now(progress)
        return .divergence(
            kind, mix: mix, temperature: temperature, softWeight: alpha * (tSquared ? temperature * temperature : 1),
            hardWeight: hardWeight)
    }

    func loss(_ input: ObjectiveInput) throws -> Tensor {
        // Mixed targets have no label to mix in: the hard part is a loss of its own.
        let mixesHard = hardWeight > 0 && input.targets == nil
        let temperature = temperature.now(input.progress)
        let op = Divergence(
            kind, mix: mix, temperature: temperature, softWeight: alpha * (tSquared ? temperature * temperature : 1),
            hardWeight: mixesHard ? hardWeight : 0, scale: 1 / Float(input.rows))
        let loss = try input.student.logits.divergence(
            op, teacher: try input.teacher().logits.view, labels: mixesHard ? input.labels : nil
        ).total
        return hardWeight > 0 && !mixesHard ? try loss + input.hardLoss() * hardWeight : loss
    }
}
