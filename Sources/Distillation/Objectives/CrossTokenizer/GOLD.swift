import RetortKernels
import RetortModels
import RetortRuntime

/// A byte-aligned hybrid across tokenizers, after the manner of GOLD (Patiño et al. 2025, "Unlocking on-policy distillation for any model
/// family"; TRL's trainer): over the tokens that both vocabularies have, JSD(β) of their probabilities, over the others ULD's sorted distance.
/// Their weights are m and 1 − m, m the share of the teacher's vocabulary that the student has too, unless `matched-weight` says otherwise.
///
/// Ours: tokens are the same when they write the same bytes, so that "Ġthe" is "▁the".
public struct GOLDObjective: LanguageObjective {
    public static let section = RecipeSection(
        "gold", "Across tokenizers: JSD over the tokens that both have, sorted distance over the others (GOLD).",
        [
            RecipeField("beta", .number(0...1), .defaulted("0.5"), "of the JSD: 0 is KL(p‖q), 1 KL(q‖p)"),
            RecipeField("matched-weight", .number(0...1), .optional, "of the JSD; 1 − this weighs the sorted distance"),
        ] + GroupedDistributions.fields)
    private let beta: Float
    private let matchedWeight: Float?
    private let groups: GroupedDistributions

    public init(_ recipe: RecipeNode) {
        beta = Float(recipe.required("beta").number)
        matchedWeight = recipe["matched-weight"].map { Float($0.number) }
        groups = GroupedDistributions(recipe)
    }

    public var needsTeacher: Bool { true }
    public static var reductions: [TokenReduction] { TokenReduction.allCases.filter { $0 != .elementMean } }
    public var reading: TokenAlignment? { .bytes }
    public func contract(over what: String) -> String {
        let m = matchedWeight?.short ?? "m"
        return
            "\(groups.weight.short)·(\(m)·JSD_β(p, q) on shared tokens + (1−\(m))·Σ|sorted q − sorted p| on others), β = \(beta.short)"
            + (matchedWeight == nil ? ", m the share of the teacher's vocabulary that is shared" : "")
            + ", \(TokenAlignment.bytes.contract), \(groups.contract), mean over \(what)"
    }

    public func term(_ context: LanguageTermContext) -> any LanguageTerm { Term(self) }

    private final class Term: LanguageTerm {
        private let spec: GOLDObjective
        private var columns: SharedColumns?
        init(_ spec: GOLDObjective) { self.spec = spec }

        func loss(_ input: LanguageInput) throws -> Tensor {
            try spec.groups.loss(input) { student, teacher, reading in
                let columns =
                    self.columns
                    ?? SharedColumns(reading.shared, student: student.shape[1], teacher: teacher.shape[1])
                self.columns = columns
                return try student.hybridDistance(
                    to: teacher, columns, beta: spec.beta, matchedWeight: spec.matchedWeight)
            }
        }
    }
}

/// Classes that two heads have in common, and those that each has alone.
struct SharedColumns {
    let student: [Int32]
    let teacher: [Int32]
    let studentAlone: [Int32]
    let teacherAlone: [Int32]
    /// Of the teacher's classes.
    let share: Float

    /// - Parameters:
    ///   - shared: classes that belong together.
    ///   - student, teacher: how many classes each has; a head may be longer than its vocabulary.
    init(_ shared: (student: [Int32], teacher: [Int32]), student: Int, teacher: Int) {
        func others(_ count: Int, _ shared: [Int32]) -> [Int32] {
            let shared = Set(shared)
            return (0..<Int32(count)).filter { !shared.contains($0) }
        }
        (self.student, self.teacher) = shared
        studentAlone = others(student, shared.student)
        teacherAlone = others(teacher, shared.teacher)
        share = Float(shared.teacher.count) / Float(max(1, teacher))
    }
}

extension Tensor {
    /// matched-weight · JSD(β) over the shared classes + (1 − matched-weight) · sorted distance over the others. self q `[rows, classes]`, p
    /// `[rows, other classes]` → `[rows]`.
    /// - Parameter matchedWeight: nil: the share of p's classes that is shared.
    func hybridDistance(to p: Tensor, _ columns: SharedColumns, beta: Float, matchedWeight: Float?) throws -> Tensor {
        let weight = matchedWeight ?? columns.share
        var parts: [Tensor] = []
        if !columns.student.isEmpty, weight > 0 {
            let matched = try gatherColumns(columns.student).unnormalizedJSD(
                from: p.gatherColumns(columns.teacher), beta: beta)
            parts.append(try matched * weight)
        }
        if !columns.studentAlone.isEmpty, !columns.teacherAlone.isEmpty, weight < 1 {
            let others = try gatherColumns(columns.studentAlone).sortedDistance(
                to: p.gatherColumns(columns.teacherAlone))
            parts.append(try others * (1 - weight))
        }
        return try parts.isEmpty ? Tensor.full(0, [shape[0]], on: device) : Tensor.total(parts)
    }
}
