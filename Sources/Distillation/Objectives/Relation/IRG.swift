import RetortModels
import RetortRuntime

/// Instance relationship graph: alpha·(vertex·mse(logits) + edge·Σ mse(E(s), E(t))), E the squared Euclidean distances between the rows of
/// flattened features `[rows, …]`, divided by the largest, mean over all pairs. Liu et al. 2019 (CVPR, "Knowledge distillation via instance
/// relationship graph"): correlation between instances. Widths may differ. Defined on the whole batch.
///
/// vertex 0.1 and edge 5 are the weights of Knowledge-Distillation-Zoo. The paper's third part, how the graph changes from layer to layer, needs
/// equal widths of neighbouring layers and is left out.
public struct IRGObjective: SignalObjective {
    public static let section = RecipeSection(
        "irg", "The graph of a batch: logits as its vertices, squared distances as its edges.",
        [
            AlphaField.field("1"),
            RecipeField("vertex", .number(0...1e9), .defaulted("0.1"), "weight of the logits"),
            RecipeField("edge", .number(0...1e9), .defaulted("5"), "weight of the distances between examples"),
        ] + SignalChoice.fields(.embedding))
    private let alpha: Float
    private let vertex: Float
    private let edge: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        vertex = Float(recipe.required("vertex").number)
        edge = Float(recipe.required("edge").number)
        choice = SignalChoice("irg", .embedding, recipe)
    }

    public var spansBatch: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·(\(vertex.short)·mse(logits) + \(edge.short)·mse(squared distances / largest)) \(choice.contract), "
            + "mean over logits and over pairs of the batch"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let pairs = try choice.pairs(context.models)
        return FunctionTerm { [alpha, vertex, edge] input in
            let edges = try pairs.map { pair in
                let (student, teacher) = try input.signals(pair)
                return try student.edgeDistance(teacher)
            }
            let vertices = try input.student.logits.logitRegression(teacher: input.teacher().logits)
            return try Tensor.total(edges) * (alpha * edge) + vertices * (alpha * vertex)
        }
    }
}

extension Tensor {
    /// Mean squared difference of the scaled squared distances of features `[rows, …]`; the teacher is constant.
    public func edgeDistance(_ teacher: Tensor) throws -> Tensor {
        try scaledSquaredDistances().meanSquaredError(teacher.detached.scaledSquaredDistances())
    }

    private func scaledSquaredDistances() throws -> Tensor {
        let x = try flattenedRows()
        let (rows, width) = (x.shape[0], x.shape[1])
        let squares = try (x.reshaped([1, rows, width]) - x.reshaped([rows, 1, width])).squared().sum(-1)
            .reshaped([rows * rows])
        // All rows alike: nothing to scale by.
        return try squares / squares.max(0, keepingDimension: true).map(.clampMinimum(1e-24))
    }
}
