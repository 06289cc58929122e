import RetortSupport

/// One loss of an arm with its factor over the epochs.
public struct ArmTerm: Sendable {
    public let objective: any Objective
    public let reduction: RowReduction
    public let ramp: Ramp
    /// Which of the arm's teachers the loss looks at; nil: the only one, or all together.
    public let teacher: Int?
    /// Its name where there are several.
    private let teacherName: String?
    /// Which view of the examples it looks at.
    public let view: ExampleView
    /// In the recipe.
    let location: RetortError.Location?

    public init(
        _ objective: any Objective, reduction: RowReduction = .mean, ramp: Ramp = .constant, teacher: Int? = nil,
        teacherName: String? = nil, view: ExampleView = .weak, at location: RetortError.Location? = nil
    ) {
        self.objective = objective
        self.reduction = reduction
        self.ramp = ramp
        self.teacher = teacher
        self.teacherName = teacherName
        self.view = view
        self.location = location
    }

    /// What is minimised, in one line.
    public var contract: String {
        let theirs = teacherName.map { ", teacher \($0)" } ?? ""
        let shown = view == .weak ? "" : ", \(view.rawValue) view"
        return reduction.stated(in: objective.contract) + theirs + shown + ramp.contract
    }
}
