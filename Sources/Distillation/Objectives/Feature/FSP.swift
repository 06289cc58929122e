import RetortModels
import RetortRuntime
import RetortSupport

/// Flow of solution procedure: alpha·Σ over neighbours of the stem and the stages of mean((G_s − G_t)²), G `[rows, C1, C2]` the mean over positions of the products of
/// a stage's channels and the next one's (the larger map is adaptively averaged to the smaller one's size). Student and teacher need equal
/// channels, not equal sizes. Yim et al. 2017 (CVPR, "A gift from knowledge distillation"). alpha 50 and the stem are
/// RepDistiller's; its code trains on this loss alone for 30 epochs, with weight 1, and on labels after that: `alpha: 1, ramp: {kind: between, first: 1,
/// last: 30}`.
public struct FSPObjective: SignalObjective {
    public static let section = RecipeSection(
        "fsp", "How one stage's channels go together with the next one's.",
        [AlphaField.field("50")] + SignalChoice.fields(.stemAndStages))
    private let alpha: Float
    let choice: SignalChoice

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        choice = SignalChoice("fsp", .stemAndStages, recipe)
    }

    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    public var contract: String {
        "\(alpha.short)·Σ (G(s) − G(t))², G = products of neighbouring stages' channels, mean over positions, "
            + "\(choice.contract), mean over rows and channels"
    }

    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let pairs = try choice.pairs(context.models)
        guard pairs.count > 1 else {
            throw RetortError.recipe(
                "the loss fsp compares neighbouring signals, and there is only \(pairs.map(\.student).joined())",
                help: "name two or more under `student` and `teacher`")
        }
        for pair in pairs {
            let maps = try context.maps(pair, "fsp")
            guard maps.student.channels == maps.teacher.channels else {
                throw context.misfit(pair, "fsp", "it takes equal numbers of channels")
            }
        }
        return FunctionTerm { [alpha] input in
            let signals = try pairs.map { try input.signals($0) }
            return try Tensor.total(
                zip(signals, signals.dropFirst()).map { bottom, top in
                    try Tensor.flowDistance(
                        student: (bottom.student, top.student), teacher: (bottom.teacher, top.teacher))
                }) * alpha
        }
    }
}

extension Tensor {
    /// FSP's distance of two neighbouring maps `[rows, channels, height, width]`; the teacher is constant.
    public static func flowDistance(
        student: (bottom: Tensor, top: Tensor), teacher: (bottom: Tensor, top: Tensor)
    ) throws -> Tensor {
        let target = try flow(teacher.bottom.detached, teacher.top.detached)
        return try flow(student.bottom, student.top).meanSquaredError(target)
    }

    private static func flow(_ bottom: Tensor, _ top: Tensor) throws -> Tensor {
        let (b, t) = try atSmallerSize(bottom, top)
        let positions = b.shape[2] * b.shape[3]
        return try b.positionsFlattened().matmul(t.positionsFlattened().transposed(1, 2)) * (1 / Float(positions))
    }
}
