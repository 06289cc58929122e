import RetortModels
import RetortRuntime
import RetortSupport

/// Class attention transfer: alpha·mean((c(s) − c(t))²), c the class activation maps `[rows, classes, height, width]` adaptively averaged to pool × pool, and
/// with `normalize` each map brought to length 1; mean over rows, classes and positions. Guo et al. 2023 (CAT-KD, CVPR): the maps are the
/// classifier applied at every position before the mean.
///
/// alpha 15, pool 2, no normalisation are the authors' for ResNet-32×4 → ResNet-8×4; their weights run from 0.7 to 600 with the pair.
public struct CATKDObjective: PairObjective {
    public static let section = RecipeSection(
        "cat-kd", "Where in the image each class is seen.",
        [
            AlphaField.field("15"),
            RecipeField("pool", .integer(1...1024), .defaulted("2"), "maps are averaged to this height and width"),
            RecipeField("normalize", .flag, .defaulted("false"), "bring each class's map to length 1"),
        ] + SignalChoice.fields(.activationMaps))
    let alpha: Float
    let choice: SignalChoice
    private let pool: Int
    private let normalize: Bool

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        pool = recipe.required("pool").integer
        normalize = recipe.required("normalize").flag
        choice = SignalChoice("cat-kd", .activationMaps, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·(c(s) − c(t))², c maps averaged to \(pool)×\(pool)\(normalize ? ", length 1" : ""), "
            + "\(choice.contract), mean over rows, classes and positions"
    }

    func check(_ pair: SignalPair, _ context: TermContext) throws {
        let maps = try context.maps(pair, "cat-kd")
        guard maps.student.channels == maps.teacher.channels else {
            throw context.misfit(pair, "cat-kd", "it takes one map for each class of both")
        }
        guard [maps.student, maps.teacher].allSatisfy({ $0.height >= pool && $0.width >= pool }) else {
            throw context.misfit(pair, "cat-kd", "pool is \(pool), larger than a map")
        }
    }

    func loss(student: Tensor, teacher: Tensor) throws -> Tensor {
        try student.classAttentionDistance(teacher, pool: pool, normalize: normalize)
    }
}

extension Tensor {
    /// CAT-KD's distance of class activation maps `[rows, classes, height, width]`; the teacher is constant.
    public func classAttentionDistance(_ teacher: Tensor, pool: Int, normalize: Bool) throws -> Tensor {
        func pooled(_ maps: Tensor) throws -> Tensor {
            let small = try maps.averaged(pool, pool).positionsFlattened()
            return normalize ? try small.normalized() : small
        }
        return try pooled(self).meanSquaredError(pooled(teacher.detached))
    }
}
