import RetortSupport

/// What came out of a run, in plain sentences computed from its accuracies.
///
/// A difference of two arms counts when it is larger than its 95 % confidence interval: Student's t with the deviation
/// pooled over both arms' seeds. With one seed nothing is claimed.
struct Verdict {
    /// The sentence that stands first.
    private(set) var headline = "No accuracy was measured."
    /// How the student stands to the teacher: in accuracy and in size.
    private(set) var relation: [String] = []
    /// A sentence for each arm beyond teacher, student alone and student.
    private(set) var others: [String] = []
    /// What to be careful about.
    private(set) var warnings: [String] = []

    /// - Parameter isEvaluation: whether these are models that were measured, however they came to be, and not the arms of a run.
    init(_ results: RunResults, isEvaluation: Bool = false) {
        let quality = results.quality
        let measure = { (arm: ArmResult) in Measured(arm, by: quality) }
        let teacher = results.arms.first { $0.role == Role.teacher }.flatMap(measure)
        let alone = results.arms.first { $0.role == Role.alone }.flatMap(measure)
        // A peer may be a larger model: what it reached is in the table, and no reason to prefer the arm.
        let distilled = results.arms.filter {
            !Role.isTeacher($0.role) && $0.role != Role.alone && Role.arm(ofPeer: $0.role) == nil
        }
        let measured = distilled.compactMap(measure)
        if quality != .accuracy { headline = "No \(quality.name) was measured." }
        // Without an arm named "student" the best one speaks for distillation; the sentence says that it was chosen.
        let chosen = measured.first { $0.role == Role.student } ?? measured.max { $0.mean < $1.mean }
        let aside = teacher.map { " (teacher \(percent($0.mean)))" } ?? ""

        switch (alone, chosen) {
        case (nil, let model?) where isEvaluation: headline = "The model reached \(percent(model.mean))\(aside)."
        case (let alone?, let student?):
            headline = Self.comparison(student, alone, aside: aside, among: measured.count)
            if let teacher { relation = Self.relation(of: student, alone, to: teacher) }
        case (nil, let student?):
            headline =
                "\(Self.subject(student, among: measured.count)) reached \(percent(student.mean))\(aside), "
                + "\(student.seedsText); no student trained alone to compare with."
        case (let alone?, nil):
            headline =
                "The student alone reached \(percent(alone.mean))\(aside), \(alone.seedsText); "
                + "no distilled student was measured."
        case (nil, nil):
            if let teacher { headline = "The teacher reached \(percent(teacher.mean)), \(teacher.seedsText)." }
        }
        if quality != .accuracy { relation.append("All by \(quality.name).") }
        let rest = measured.filter { $0.role != chosen?.role }
        others = rest.count > 6 ? Self.groups(rest, alone: alone) : rest.map { Self.other($0, alone: alone) }
        for arm in results.arms where measure(arm) == nil {
            if arm.seeds.contains(where: { $0.metrics[quality.rawValue] != nil }) {
                warnings.append("\(arm.role): the \(quality.name) is not a finite number in every seed.")
            }
        }
    }

    /// The whole verdict as one paragraph.
    var text: String { ([headline] + relation + others + warnings).joined(separator: " ") }

    private static func comparison(_ student: Measured, _ alone: Measured, aside: String, among count: Int) -> String {
        let difference = Difference(student, alone)
        let choice = count > 1 ? ", the best of \(count) arms" : ""
        let name = student.role == Role.student ? "" : " (\(student.role)\(choice))"
        let values = "\(percent(student.mean)) distilled\(name), \(percent(alone.mean)) alone\(aside)"
        guard let margin = difference.margin else {
            return "One seed each: \(values). The difference of \(points(difference.mean)) may be luck; "
                + "run several seeds to know."
        }
        guard abs(difference.mean) > margin else {
            return "No clear difference: \(values), \(difference.seedsText). The \(points(difference.mean)) "
                + "between them are within the noise of the seeds (± \(points(margin)))."
        }
        return difference.mean > 0
            ? "Distillation\(name) lifted the student from \(percent(alone.mean)) to \(percent(student.mean))\(aside), "
                + "\(difference.seedsText)."
            : "Distillation\(name) cost the student \(points(difference.mean)) here: \(percent(student.mean)) "
                + "instead of \(percent(alone.mean))\(aside), \(difference.seedsText)."
    }

    /// The place of the student between the student alone and the teacher, and its size.
    private static func relation(of student: Measured, _ alone: Measured, to teacher: Measured) -> [String] {
        let gap = teacher.mean - alone.mean
        guard gap > 0 else { return ["The teacher is no better than the student alone."] }
        let difference = Difference(student, alone)
        var sentences: [String] = []
        if let margin = difference.margin, difference.mean > margin {
            let share = NumberFormat.percent(difference.mean / gap, decimals: 0)
            sentences.append(
                student.mean >= teacher.mean
                    ? "The student is as good as its teacher." : "This closes \(share) of the gap to the teacher.")
        }
        if let large = teacher.parameters, let small = student.parameters, small > 0, large / small >= 1.5 {
            let ratio = large / small
            sentences.append(
                "The teacher has \(NumberFormat.fixed(ratio, decimals: ratio < 10 ? 1 : 0)) times as many parameters.")
        }
        return sentences
    }

    private static func other(_ arm: Measured, alone: Measured?) -> String {
        let text = "\(arm.role): \(percent(arm.mean))"
        guard let alone else { return text + "." }
        let difference = Difference(arm, alone)
        let amount = "\(points(difference.mean)) \(difference.mean < 0 ? "below" : "above") the student alone"
        guard let margin = difference.margin else { return "\(text), \(amount) (one seed)." }
        return "\(text), \(amount)\(abs(difference.mean) > margin ? "" : ", within the noise")."
    }

    /// Many arms: the names of those that stand clearly above or below the student alone; the table has the numbers.
    private static func groups(_ arms: [Measured], alone: Measured?) -> [String] {
        guard let alone else { return [] }
        func names(_ fits: (Double) -> Bool) -> [String] {
            arms.sorted { $0.mean > $1.mean }.filter { arm in
                let difference = Difference(arm, alone)
                guard let margin = difference.margin else { return false }
                return abs(difference.mean) > margin && fits(difference.mean)
            }.map(\.role)
        }
        let (above, below) = (names { $0 > 0 }, names { $0 < 0 })
        let unclear = arms.count - above.count - below.count
        return [
            above.isEmpty ? "" : "Also above the student alone: \(above.joined(separator: ", ")).",
            below.isEmpty ? "" : "Below the student alone: \(below.joined(separator: ", ")).",
            unclear == 0 ? "" : "\(unclear) of \(arms.count) are not clearly different from the student alone.",
        ].filter { !$0.isEmpty }
    }

    private static func subject(_ student: Measured, among count: Int) -> String {
        guard student.role != Role.student else { return "The distilled student" }
        return "The arm \(student.role)" + (count > 1 ? ", the best of \(count)," : "")
    }
}

/// An arm's accuracy, or what the run is judged by instead, over its seeds; only made when it is a finite number.
private struct Measured {
    let role: String
    let mean: Double
    /// The sum of squares around the mean.
    let squares: Double
    let seeds: Int
    let parameters: Double?

    init?(_ arm: ArmResult, by quality: Metric) {
        guard let spread = arm.spread(quality), spread.mean.isFinite else { return nil }
        let count = arm.seeds.count { $0.metrics[quality.rawValue] != nil }
        let deviation = spread.deviation ?? 0
        role = arm.role
        mean = spread.mean
        squares = deviation * deviation * Double(max(count - 1, 0))
        seeds = count
        parameters = arm.spread(.parameters)?.mean
    }

    var seedsText: String { seeds == 1 ? "1 seed" : "\(seeds) seeds" }
}

/// The difference of two arms' mean accuracies and how much of it the seeds alone could make.
private struct Difference {
    let mean: Double
    /// Half the width of the 95 % confidence interval; nil when an arm has one seed only.
    let margin: Double?
    let seedsText: String

    init(_ a: Measured, _ b: Measured) {
        mean = a.mean - b.mean
        seedsText = a.seeds == b.seeds ? a.seedsText : "\(min(a.seeds, b.seeds)) to \(max(a.seeds, b.seeds)) seeds"
        guard a.seeds > 1, b.seeds > 1 else {
            margin = nil
            return
        }
        let freedom = a.seeds + b.seeds - 2
        let pooled = ((a.squares + b.squares) / Double(freedom)).squareRoot()
        let error = pooled * (1 / Double(a.seeds) + 1 / Double(b.seeds)).squareRoot()
        margin = Self.quantile(freedom) * error
    }

    /// The 97.5 % quantile of Student's t.
    private static func quantile(_ freedom: Int) -> Double {
        let table = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228]
        return freedom <= table.count ? table[max(freedom, 1) - 1] : 1.96 + 2.65 / Double(freedom)
    }
}

private func percent(_ fraction: Double) -> String {
    NumberFormat.percent(fraction)
}

/// The size of a difference of accuracies: "1.9 points".
private func points(_ fraction: Double) -> String {
    NumberFormat.fixed(abs(fraction) * 100, decimals: 1) + " points"
}

/// The difference of two arms' accuracies in points, with the half width of its 95 % interval where there are seeds enough.
struct AccuracyGap {
    let mean: Double
    let margin: Double?

    init?(_ arm: ArmResult, _ other: ArmResult, by quality: Metric) {
        guard let a = Measured(arm, by: quality), let b = Measured(other, by: quality) else { return nil }
        let difference = Difference(a, b)
        (mean, margin) = (difference.mean * 100, difference.margin.map { $0 * 100 })
    }
}
