import RetortRuntime

/// Cross entropy with the labels: what a student learns alone. Mean over rows.
public struct CrossEntropyObjective: LogitObjective, TokenObjective {
    public static let section = RecipeSection(
        "cross-entropy", "Cross entropy with the labels.",
        [
            RecipeField(
                "label-smoothing", .number(0...1), .defaulted("0"), "share of the target spread over all classes"),
            RecipeField("weight", .number(0...1e6), .defaulted("1"), "of the loss among others"),
        ])
    private let smoothing: Float
    private let weight: Float

    public init(smoothing: Float, weight: Float = 1) {
        self.smoothing = smoothing
        self.weight = weight
    }
    public init(_ recipe: RecipeNode) {
        self.init(
            smoothing: Float(recipe.required("label-smoothing").number),
            weight: Float(recipe.required("weight").number))
    }

    public var needsTeacher: Bool { false }
    public var laws: Set<ObjectiveLaw> { [.nonNegative, .shiftInvariant] }
    public func contract(over what: String) -> String {
        (weight == 1 ? "" : "\(weight.short)·") + "CE(labels, q)"
            + (smoothing > 0 ? ", label smoothing \(smoothing)" : "") + ", mean over \(what)"
    }

    public func tokenLoss(_ progress: TrainingProgress) -> TokenLoss {
        .crossEntropy(labelSmoothing: smoothing, weight: weight)
    }

    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        let loss = try input.hardLoss(smoothing: smoothing)
        return weight == 1 ? loss : try loss * weight
    }
}

extension ObjectiveInput {
    /// Cross entropy with the labels, or with the mixed targets where examples are mixed; mean over rows.
    /// - Parameter logits: `[rows, classes]`; nil: the student's.
    func hardLoss(of logits: Tensor? = nil, smoothing: Float = 0) throws -> Tensor {
        let logits = logits ?? student.logits
        let scale = 1 / Float(rows)
        guard let targets else {
            return try logits.crossEntropy(labels, labelSmoothing: smoothing, scale: scale).total
        }
        return try logits.crossEntropy(probabilities: targets, labelSmoothing: smoothing, scale: scale).total
    }
}
