import RetortModels
import RetortRuntime
import RetortSupport

/// Instance relationship graph: alpha·(vertex·mse(logits) + edge·mse(E(s), E(t)) + transformation·mse(D(s), D(t))). E are the squared Euclidean distances
/// between the rows of flattened features `[rows, …]`, divided by the largest: mean over all pairs, and over the signals. D, for two neighbouring
/// maps, is each row's squared distance from the one map to the next, divided by the largest: mean over rows, sum over neighbours; the larger
/// map is adaptively averaged, and so are the channels of the one that has more. Liu et al. 2019 (CVPR, "Knowledge distillation via instance relationship
/// graph"): correlation between instances. Widths may differ. Defined on the whole batch.
///
/// vertex 0.1, edge 5, transformation 5 and the signals are Knowledge-Distillation-Zoo's.
public struct IRGObjective: SignalObjective {
    public static let section = RecipeSection(
        "irg",
        "The graph of a batch: logits as its vertices, squared distances as its edges, and how it changes from map to map.",
        [
            AlphaField.field("1"),
            RecipeField("vertex", .number(0...1e9), .defaulted("0.1"), "weight of the logits"),
            RecipeField("edge", .number(0...1e9), .defaulted("5"), "weight of the distances between examples"),
            RecipeField(
                "transformation", .number(0...1e9), .defaulted("5"),
                "weight of each example's distance from one map to the next"),
        ] + SignalChoice.fields(.lastTwoStagesAndEmbedding))
    private let alpha: Float
    private let vertex: Float
    private let edge: Float
    private let transformation: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        vertex = Float(recipe.required("vertex").number)
        edge = Float(recipe.required("edge").number)
        transformation = Float(recipe.required("transformation").number)
        choice = SignalChoice("irg", .lastTwoStagesAndEmbedding, recipe)
    }

    public var spansBatch: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·(\(vertex.short)·mse(logits) + \(edge.short)·mse(squared distances between examples / largest) + "
            + "\(transformation.short)·mse(squared distance to the next map / largest)) \(choice.contract), "
            + "mean over logits, over pairs of the batch and over rows"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let pairs = try choice.pairs(context.models)
        return FunctionTerm { [alpha, vertex, edge, transformation] input in
            let signals = try pairs.map { try input.signals($0) }
            var parts: [Tensor] = []
            if edge > 0 {
                let edges = try signals.map { try $0.student.edgeDistance($0.teacher) }
                parts.append(try Tensor.total(edges) * (alpha * edge / Float(edges.count)))
            }
            if vertex > 0 {
                let vertices = try input.student.logits.logitRegression(teacher: input.teacher().logits)
                parts.append(try vertices * (alpha * vertex))
            }
            if transformation > 0 {
                let neighbours = zip(signals, signals.dropFirst()).filter { bottom, top in
                    [bottom.student, bottom.teacher, top.student, top.teacher].allSatisfy { $0.rank == 4 }
                }
                parts += try neighbours.map { bottom, top in
                    try Tensor.transformationDistance(
                        student: (bottom.student, top.student), teacher: (bottom.teacher, top.teacher))
                        * (alpha * transformation)
                }
            }
            guard !parts.isEmpty else {
                throw RetortError.recipe(
                    "the loss irg compares nothing: vertex and edge are 0, and so is transformation, or no two neighbours of its "
                        + "signals are maps: give one of them a weight")
            }
            return try Tensor.total(parts)
        }
    }
}

extension Tensor {
    /// Mean squared difference of the scaled squared distances of features `[rows, …]`; the teacher is constant.
    public func edgeDistance(_ teacher: Tensor) throws -> Tensor {
        try scaledSquaredDistances().meanSquaredError(teacher.detached.scaledSquaredDistances())
    }

    /// `[rows · rows]`, by a Gram matrix: differences of maps would take rows² times a map's memory. Rows are measured from their mean, so that
    /// what all have in common costs no digits; what is left of rounding is some 10⁻⁷ of the largest distance, which is what all are divided by.
    private func scaledSquaredDistances() throws -> Tensor {
        let x = try flattenedRows()
        let rows = x.shape[0]
        let centered = try x - x.mean(0, keepingDimension: true)
        let lengths = try centered.squared().sum(-1)
        let products = try centered.matmul(centered.transposed(0, 1))
        let distances = try lengths.reshaped([rows, 1]) + lengths.reshaped([1, rows]) - products * 2
        return try distances.map(.clampMinimum(0)).reshaped([rows * rows]).dividedByLargest()
    }

    /// Mean squared difference of how far each row goes from one map `[rows, channels, height, width]` to the next; the teacher is constant.
    public static func transformationDistance(
        student: (bottom: Tensor, top: Tensor), teacher: (bottom: Tensor, top: Tensor)
    ) throws -> Tensor {
        try change(student.bottom, student.top)
            .meanSquaredError(change(teacher.bottom.detached, teacher.top.detached))
    }

    /// `[rows]`.
    private static func change(_ bottom: Tensor, _ top: Tensor) throws -> Tensor {
        let (b, t) = try atSmallerSize(bottom, top)
        let channels = Swift.min(b.shape[1], t.shape[1])
        return try (b.withChannels(channels) - t.withChannels(channels)).squared().sum(-1).dividedByLargest()
    }

    /// `[rows, channels · height · width]` of fewer channels, neighbours adaptively averaged.
    private func withChannels(_ channels: Int) throws -> Tensor {
        let positions = shape[2] * shape[3]
        return try reshaped([shape[0], 1, shape[1], positions]).averaged(channels, positions).flattenedRows()
    }

    /// All alike: nothing to scale by.
    private func dividedByLargest() throws -> Tensor {
        try self / max(0, keepingDimension: true).map(.clampMinimum(1e-24))
    }
}
