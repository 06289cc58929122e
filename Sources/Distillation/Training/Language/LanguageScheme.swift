import RetortSupport

/// How teacher and student of a language model's arm come together.
enum LanguageScheme: Sendable {
    /// From the recipe's teachers, or the data alone.
    case offline
    /// A teacher whose weights follow the student's: average ← decay · average + (1 − decay) · weights after each step (mean teacher,
    /// Tarvainen & Valpola 2017, arXiv:1703.01780). At decay 1 it stays what the student was at first.
    case movingAverage(decay: Double)
    /// Each generation is a student that starts anew and is taught by the one before; the first by the recipe's teacher (Furlanello et al.
    /// 2018, arXiv:1805.04770).
    case bornAgain(generations: Int)

    init(_ node: RecipeNode) {
        switch node.required("kind").text {
        case "moving-average": self = .movingAverage(decay: node.required("decay").number)
        case "born-again": self = .bornAgain(generations: node.required("generations").integer)
        default: self = .offline
        }
    }

    /// Whether losses have a teacher without the recipe's.
    var bringsTeacher: Bool { if case .movingAverage = self { true } else { false } }

    /// In one line; "" for the plain one.
    var contract: String {
        switch self {
        case .offline: ""
        case .movingAverage(1): "\(Role.ownTeacher): the student as it was at first"
        case .movingAverage(let decay): "\(Role.ownTeacher): moving average of the student, decay \(decay)"
        case .bornAgain(let generations):
            "born again: \(generations) generations, each taught by the one before"
        }
    }

    static let field = RecipeField(
        "scheme",
        .variant(
            key: "kind",
            [
                OfflineScheme.section,
                RecipeSection(
                    "moving-average",
                    "A teacher that is a moving average of the student itself; losses call it `self`.",
                    [
                        RecipeField(
                            "decay", .number(0...1), .defaulted("0.99"),
                            "share of the average that is kept each step; 1: the student as it was at first")
                    ]),
                BornAgainScheme.section,
            ]), .defaulted("{kind: offline}"), "how teacher and student come together")
}
