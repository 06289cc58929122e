import RetortRuntime

/// Views of one picture that losses look at: as in FixMatch (Sohn et al. 2020, arXiv:2001.07685), one that is changed a little and one that is
/// changed much, each by draws of its own. A student that learns from both answers both, and so does whoever teaches.
public enum ExampleView: String, Sendable, CaseIterable {
    /// As `data.augment` says; of examples that are no pictures all there is.
    case weak
    /// As `data.strong-augment` says.
    case strong

    static let field = RecipeField(
        "view", .choice(allCases.map(\.rawValue)), .optional,
        "the view of each picture that the loss looks at: as data.augment changes it (weak, also when absent), or as "
            + "data.strong-augment does")

    /// - Parameter node: nil: the weak one.
    init(_ node: RecipeNode?) { self = node.flatMap { ExampleView(rawValue: $0.text) } ?? .weak }

    /// The stream of random numbers of a purpose, one for each view.
    func stream(_ purpose: String) -> UInt64 { Philox.stream(self == .weak ? purpose : purpose + "/" + rawValue) }
}
