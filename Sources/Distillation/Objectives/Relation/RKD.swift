import RetortModels
import RetortRuntime

/// Relational knowledge distillation: alpha·(distance·D + angle·A), Park et al. 2019 (arXiv:1904.05068).
///
/// Of features `[rows, …]`, flattened: D is the smooth L1 distance between the two matrices of Euclidean distances, each divided by its
/// own mean over pairs of different rows, mean over rows²; A the smooth L1 distance between the cosines of the angles jik of all
/// triples, mean over rows³. Widths of student and teacher may differ. Defined on the whole batch.
///
/// distance 25, angle 50 at the embedding are RepDistiller's and mdistiller's (the paper: 1 and 2 for metric learning).
public struct RKDObjective: RelationObjective {
    public static let section = RecipeSection(
        "rkd", "Distances and angles between the examples of a batch.",
        [
            AlphaField.field("1"),
            RecipeField("distance", .number(0...1e9), .defaulted("25"), "weight of the distances"),
            RecipeField("angle", .number(0...1e9), .defaulted("50"), "weight of the angles"),
        ] + SignalChoice.fields(.embedding))
    let alpha: Float
    let choice: SignalChoice
    private let distance: Float
    private let angle: Float

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        distance = Float(recipe.required("distance").number)
        angle = Float(recipe.required("angle").number)
        choice = SignalChoice("rkd", .embedding, recipe)
    }

    public var contract: String {
        "\(alpha.short)·(\(distance.short)·smoothL1(distances / mean) + \(angle.short)·smoothL1(cos of angles)) "
            + "\(choice.contract), mean over pairs and over triples of the batch"
    }

    func loss(student: Tensor, teacher: Tensor) throws -> Tensor {
        let parts = try student.relationalDistances(teacher, angles: angle > 0)
        let distances = try parts.distance * distance
        return try parts.angle.map { try distances + $0 * angle } ?? distances
    }
}

extension Tensor {
    /// RKD's two parts of features `[rows, …]`; the teacher is constant. Angles cost rows² · features of memory each way and are left
    /// out when not wanted.
    public func relationalDistances(_ teacher: Tensor, angles: Bool = true) throws -> (distance: Tensor, angle: Tensor?)
    {
        let student = try Relations(self, angles: angles)
        let teacher = try Relations(teacher.detached, angles: angles)
        return (
            try student.distances.smoothL1Loss(teacher.distances),
            try student.cosines.flatMap { s in try teacher.cosines.map { try s.smoothL1Loss($0) } }
        )
    }
}

private struct Relations {
    /// ‖x_j − x_i‖ over the mean of different rows, `[rows, rows]`.
    let distances: Tensor
    /// cos of the angle between x_j − x_i and x_k − x_i, `[rows, rows, rows]` (i; j, k); 0 where j or k is i.
    let cosines: Tensor?

    init(_ features: Tensor, angles: Bool) throws {
        let x = try features.flattenedRows()
        let (rows, width) = (x.shape[0], x.shape[1])
        // Differences, not a Gram matrix: |a|² + |b|² − 2ab loses the digits of near neighbours.
        let differences = try x.reshaped([1, rows, width]) - x.reshaped([rows, 1, width])
        // Below this a row is at itself: no distance, and no gradient of a root at 0.
        let lengths = try differences.squared().sum(-1, keepingDimension: true).map(.clampMinimum(1e-24)).squareRoot()
        let pairs = Float(max(1, rows * (rows - 1)))
        distances = try lengths.reshaped([rows, rows]) / (lengths.sum() * (1 / pairs))
        guard angles else {
            cosines = nil
            return
        }
        let directions = try differences / lengths
        cosines = try directions.matmul(directions.transposed(1, 2))
    }
}
