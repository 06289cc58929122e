import RetortModels
import RetortRuntime
import RetortSupport

/// Masked-image feature distillation: the student sees a picture of which squares are hidden, and gives the teacher's features of the
/// whole picture where they are:
/// alpha·Σ over signals of smoothL1(h(s) − LN(t)), mean over channels, over the hidden positions and over rows. LN brings each position's channels of
/// the teacher to mean 0 and variance 1; h is a linear layer at each position, trained with the student. MaskDistill, Peng et al. 2022
/// (arXiv:2210.10615); with `mask: 0` nothing is hidden and all positions count: feature distillation, Wei et al. 2022 (FD,
/// arXiv:2205.14141).
///
/// Signals are maps `[channels, height, width]` or tokens `[tokens, width]`, the first of which is left out where the others are a square: a class token.
/// Both sides need positions of one height and width. mask 0.4 is MaskDistill's share, beta 2 FD's. MaskDistill hides blocks of squares behind a trained
/// token, before a ViT; here squares are drawn one by one and are 0, which any network can read. Both train on this loss alone
/// first: `ramp: {kind: between, first: 1, last: …}`, and the other terms after it; every loss of an epoch in which it counts sees the
/// student's answer to what is left.
public struct MaskedImageObjective: SignalObjective {
    public static let section = RecipeSection(
        "masked-image", "The teacher's features of what the student's picture hides.",
        [
            AlphaField.field("1"),
            RecipeField("mask", .number(0...0.99), .defaulted("0.4"), "share of the picture that is hidden"),
            RecipeField("patch", .integer(1...1024), .defaulted("4"), "side of what is hidden together, in pixels"),
            RecipeField(
                "beta", .number(1e-6...1e6), .defaulted("2"), "where the smooth L1 loss goes from square to linear"),
        ] + SignalChoice.fields(.lastStage))
    private let alpha: Float
    private let beta: Float
    let choice: SignalChoice
    public let hiding: PatchMask?

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        beta = Float(recipe.required("beta").number)
        choice = SignalChoice("masked-image", .lastStage, recipe)
        let share = Float(recipe.required("mask").number)
        hiding = share > 0 ? PatchMask(share: share, side: recipe.required("patch").integer) : nil
    }

    /// The teacher's features are normalised, the student's are not.
    public var laws: Set<ObjectiveLaw> { [.nonNegative] }
    public var contract: String {
        let hidden = hiding.map {
            "\($0.share.short) of the student's picture hidden in squares of \($0.side), mean over channels, hidden positions and rows"
        }
        return
            "\(alpha.short)·smoothL1(h(s) − LN(t)), beta \(beta.short), h a trained linear layer, \(choice.contract), "
            + (hidden ?? "mean over channels, positions and rows")
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        try Term(
            choice.pairs(context.models).enumerated().map { i, pair in
                let (s, t) = try context.shapes(pair)
                guard let student = PositionShape(s), let teacher = PositionShape(t) else {
                    throw context.misfit(
                        pair, "masked-image", "it takes maps [channels, height, width] or tokens [tokens, width]")
                }
                guard student.grid == teacher.grid else {
                    throw context.misfit(
                        pair, "masked-image", "it takes positions of one height and width on both sides")
                }
                let head = Linear(
                    "\(context.name).\(i)", inputs: student.channels, outputs: teacher.channels)
                return (pair, student, teacher, head)
            }, self)
    }

    private final class Term: ObjectiveTerm {
        typealias Part = (pair: SignalPair, student: PositionShape, teacher: PositionShape, head: Linear)
        private let parts: [Part]
        private let objective: MaskedImageObjective

        init(_ parts: [Part], _ objective: MaskedImageObjective) {
            self.parts = parts
            self.objective = objective
        }

        var modules: [any Module] { parts.map(\.head) }

        func loss(_ input: ObjectiveInput) throws -> Tensor {
            try Tensor.total(
                parts.map { part in
                    let (student, teacher) = try input.signals(part.pair)
                    let given = try part.head(part.student.positions(of: student))
                    // Another term may hide something; one that hides nothing counts all.
                    let hidden = objective.hiding == nil ? nil : input.hidden
                    return try given.maskedFeatureDistance(
                        part.teacher.positions(of: teacher), beta: objective.beta,
                        counting: hidden.map { try part.student.shares(of: $0) })
                }) * objective.alpha
        }
    }
}

/// How the positions of a signal lie on the picture.
struct PositionShape {
    let channels: Int
    /// Height and width.
    let grid: [Int]
    private let isMap: Bool
    /// Tokens before the first position.
    private let before: Int

    /// - Parameter shape: of one example's signal; nil is returned for what has no positions.
    init?(_ shape: [Int]) {
        isMap = shape.count == 3
        if isMap {
            (channels, grid, before) = (shape[0], [shape[1], shape[2]], 0)
            return
        }
        guard shape.count == 2, let tokens = TokenGrid(tokens: shape[0]) else { return nil }
        (channels, grid, before) = (shape[1], [tokens.side, tokens.side], tokens.before)
    }

    /// `[rows, positions, channels]`.
    func positions(of signal: Tensor) throws -> Tensor {
        guard isMap else { return try signal.narrowed(axis: 1, before..<signal.shape[1]) }
        return try signal.positionsFlattened().transposed(1, 2)
    }

    /// Of each position, how much is hidden: `[rows, 1, height, width]` → `[rows, positions]`.
    func shares(of hidden: Tensor) throws -> Tensor {
        try hidden.averaged(grid[0], grid[1]).reshaped([hidden.shape[0], grid[0] * grid[1]])
    }
}

extension Tensor {
    /// Smooth L1 distance of features `[rows, positions, channels]` to the teacher's, whose channels are brought to mean 0 and variance 1; mean over
    /// channels, over positions by their weights, and over rows. The teacher is constant.
    /// - `weights`: `[rows, positions]`, some above 0 in each row; nil: all alike.
    public func maskedFeatureDistance(_ teacher: Tensor, beta: Float, counting weights: Tensor?) throws -> Tensor {
        let target = try teacher.detached.layerNorm()
        let distances = try (self - target).map(.smoothL1(beta: beta)).mean(-1)
        guard let weights else { return try distances.mean() }
        let sums = try (distances * weights).sum(-1) / weights.sum(-1)
        return try sums.mean()
    }
}
