import RetortModels

/// What student and teacher can show.
public struct ModelPair: Sendable {
    public let student: SignalCatalog
    /// Of the teacher that the loss looks at; nil without one.
    public let teacher: SignalCatalog?
    /// How many teachers a loss that takes all of them sees.
    public let teacherCount: Int

    public init(student: SignalCatalog, teacher: SignalCatalog?, teacherCount: Int = 1) {
        self.student = student
        self.teacher = teacher
        self.teacherCount = teacherCount
    }
}

/// Signals to keep, by path.
public struct SignalRequest: Sendable, Equatable {
    public var student: Set<String>
    public var teacher: Set<String>

    public init(student: [String] = [], teacher: [String] = []) {
        self.student = Set(student)
        self.teacher = Set(teacher)
    }

    mutating func add(_ other: SignalRequest) {
        student.formUnion(other.student)
        teacher.formUnion(other.teacher)
    }
}
