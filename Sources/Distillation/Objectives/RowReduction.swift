import RetortSupport

/// How the losses of a batch's examples become one number, whatever parts the batch is gone through in.
public enum RowReduction: String, Sendable, CaseIterable {
    /// Σ over the examples / examples.
    case mean
    /// Σ / (examples · classes): what PyTorch's `KLDivLoss` and `mean()` do of a matrix unasked. Haitong Li's teaching code and TinyBERT's predictions
    /// have it; gradients are smaller the more classes there are.
    case elementMean = "element-mean"
    /// Σ: a batch of twice the size has twice the gradient.
    case sum

    static let field = RecipeField(
        "reduction", .choice(allCases.map(\.rawValue)), .defaulted(RowReduction.mean.rawValue),
        "how a batch's examples become one number, labels that alpha leaves weight to included: mean; element-mean divides by the classes too; sum"
    )

    /// Of a loss that has the key, else `mean`.
    init(_ recipe: RecipeNode) { self = recipe["reduction"].flatMap { RowReduction(rawValue: $0.text) } ?? .mean }

    /// What a mean over the examples of a part is multiplied by so that parts, each times its share of the batch, add up to the reduction.
    /// - Parameters:
    ///   - rows: examples of the whole batch.
    ///   - classes: of the logits.
    func factor(rows: Int, classes: Int) -> Float {
        switch self {
        case .mean: 1
        case .elementMean: 1 / Float(max(1, classes))
        case .sum: Float(rows)
        }
    }

    /// A contract that says "mean over rows" with this reduction in its place.
    func stated(in contract: String) -> String {
        switch self {
        case .mean: contract
        case .elementMean:
            contract.replacing("mean over rows", with: "mean over rows and \(Self.classes(in: contract))")
        case .sum: contract.replacing("mean over rows", with: "sum over rows")
        }
    }

    /// What else a mean over elements is one over: a loss that is averaged over the classes already is divided by them twice.
    static func classes(in contract: String) -> String {
        contract.contains("averaged over classes") ? "once more over classes" : "classes"
    }
}
