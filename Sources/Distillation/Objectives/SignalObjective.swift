import RetortModels
import RetortRuntime

/// A loss that compares signals of student and teacher.
protocol SignalObjective: Objective {
    var choice: SignalChoice { get }
}

extension SignalObjective {
    public var needsTeacher: Bool { true }
    public func signals(_ models: ModelPair) throws -> SignalRequest { try choice.request(models) }
}

/// A loss of signals that has no parameters: the sum over pairs of one function.
protocol PairObjective: SignalObjective {
    var alpha: Float { get }
    /// - Throws: `RetortError` 78 for shapes that cannot be compared.
    func check(_ pair: SignalPair, _ context: TermContext) throws
    /// The loss of one pair of signals `[rows, …]` before its weight; the teacher's is a constant.
    func loss(student: Tensor, teacher: Tensor) throws -> Tensor
}

/// A loss of how examples of a batch stand to each other: any two signals can be compared, equal ones cost nothing.
protocol RelationObjective: PairObjective {}

extension RelationObjective {
    public var spansBatch: Bool { true }
    public var laws: Set<ObjectiveLaw> { [.zeroAtEquality, .nonNegative] }
    func check(_ pair: SignalPair, _ context: TermContext) throws {}
}

extension PairObjective {
    public func term(_ context: TermContext) throws -> any ObjectiveTerm {
        let pairs = try choice.pairs(context.models)
        for pair in pairs { try check(pair, context) }
        return FunctionTerm { input in
            try Tensor.total(
                pairs.map { pair in
                    let (student, teacher) = try input.signals(pair)
                    return try loss(student: student, teacher: teacher)
                }) * alpha
        }
    }
}
