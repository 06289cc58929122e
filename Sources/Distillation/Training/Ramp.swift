import Foundation
import RetortSupport

/// A factor on one loss over the epochs: warm-up, fading, two stages.
public enum Ramp: Sendable, Equatable {
    case constant
    /// Rises in equal steps and is 1 from epoch `epochs` on (counted from 1): DKD's warm-up (Zhao et al. 2022).
    case warmUp(epochs: Int)
    /// From the first epoch's factor to the last one's in a straight line.
    case linear(from: Double, to: Double)
    /// The same along half a cosine.
    case cosine(from: Double, to: Double)
    /// 1 in epochs first...last (counted from 1), else 0: stages, as FitNets' hint training before the distillation.
    case between(first: Int, last: Int)

    public func factor(_ progress: TrainingProgress) -> Double {
        let epoch = progress.epoch + 1
        let share = progress.epochs > 1 ? Double(progress.epoch) / Double(progress.epochs - 1) : 1
        return switch self {
        case .constant: 1
        case .warmUp(let epochs): min(Double(epoch) / Double(epochs), 1)
        case .linear(let from, let to): from + (to - from) * share
        case .cosine(let from, let to): to + (from - to) * 0.5 * (1 + cos(.pi * share))
        case .between(let first, let last): (first...last).contains(epoch) ? 1 : 0
        }
    }

    /// Whether it counts in some epochs only.
    var isStage: Bool { if case .between = self { true } else { false } }

    /// In words, for the printed contract; "" when it changes nothing.
    var contract: String {
        switch self {
        case .constant: ""
        case .warmUp(let epochs): ", rising over \(epochs) epochs"
        case .linear(let from, let to): ", times \(from) to \(to) over the epochs"
        case .cosine(let from, let to): ", times \(from) to \(to) along a cosine"
        case .between(let first, let last): ", in epochs \(first) to \(last) only"
        }
    }

    static let field = RecipeField(
        "ramp",
        .variant(
            key: "kind",
            [
                RecipeSection("constant", "The same throughout.", []),
                RecipeSection(
                    "warm-up", "Rises from 1/epochs to 1.",
                    [RecipeField("epochs", .integer(1...1_000_000), .required, "the epoch from which the factor is 1")]),
                RecipeSection("linear", "A straight line from the first epoch to the last.", ends),
                RecipeSection("cosine", "Half a cosine from the first epoch to the last.", ends),
                RecipeSection(
                    "between", "Only in some epochs: a stage of its own.",
                    [
                        RecipeField("first", .integer(1...1_000_000), .defaulted("1"), "first epoch, counted from 1"),
                        RecipeField("last", .integer(1...1_000_000), .defaulted("1000000"), "last epoch"),
                    ]),
            ]), .defaulted("{kind: constant}"), "a factor on this loss over the epochs")

    private static let ends = [
        RecipeField("from", .number(0...1e6), .defaulted("1"), "factor in the first epoch"),
        RecipeField("to", .number(0...1e6), .defaulted("0"), "factor in the last epoch"),
    ]

    /// - Throws: `RetortError` 78 when the last epoch comes before the first.
    init(_ node: RecipeNode) throws {
        switch node.required("kind").text {
        case "warm-up": self = .warmUp(epochs: node.required("epochs").integer)
        case "between":
            let (first, last) = (node.required("first").integer, node.required("last").integer)
            guard first <= last else {
                throw RetortError.recipe(
                    "the ramp's last epoch, \(last), comes before its first, \(first)", at: node.location)
            }
            self = .between(first: first, last: last)
        default: self.init(moving: node)
        }
    }

    /// One that stays or moves from one factor to another.
    init(moving node: RecipeNode) {
        switch node.required("kind").text {
        case "linear": self = .linear(from: node.required("from").number, to: node.required("to").number)
        case "cosine": self = .cosine(from: node.required("from").number, to: node.required("to").number)
        default: self = .constant
        }
    }
}
