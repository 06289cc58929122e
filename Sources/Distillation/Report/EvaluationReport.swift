import RetortRuntime
import RetortSupport

/// What `retort eval` found: a row of metrics for each model, and what has no place in a row.
public struct EvaluationReport: Sendable {
    public var results: RunResults
    /// How much was looked at, by name: examples, tokens.
    public var counts: [(name: String, count: Int)] = []
    /// How the model differs from its teacher by the teacher's entropy; empty without a teacher.
    public var bins: [EntropyBin] = []
    /// Whether the classes that the model takes for each other are shown.
    public var showsConfusion = false
    /// What was noticed while the data were read, a line each.
    public var notes: [String] = []
    private let hasVerdict: Bool

    /// Of pictures and tables.
    public init(_ results: RunResults) {
        self.results = results
        hasVerdict = true
    }

    /// Of models that are not judged by one number alone.
    init(_ arms: [ArmResult], classes: [String] = [], on device: Device) {
        results = RunResults(
            recipe: "eval", device: device.description, deviceSummary: device.summary, seeds: [0], classes: classes,
            arms: arms)
        hasVerdict = false
    }

    /// For a terminal.
    public var table: String {
        var parts = [summaryTable(results, withVerdict: hasVerdict, isEvaluation: true)]
        if !bins.isEmpty { parts.append(binTable) }
        if let matrix { parts.append(matrix) }
        if !counts.isEmpty {
            parts.append(counts.map { "\(NumberFormat.grouped($0.count)) \($0.name)" }.joined(separator: ", ") + "\n")
        }
        return parts.joined(separator: "\n")
    }

    /// The object that `--json` prints: that of a run, with what it does not have.
    public var json: JSON {
        guard case .object(var object) = results.summaryJSON else { return .null }
        for (name, count) in counts { object.set(name, .int(count)) }
        if !bins.isEmpty { object.set("entropy_bins", .array(bins.map(\.json))) }
        if showsConfusion, let confusion = results.arms.last?.seeds.first?.confusion {
            object.set("classes", .array(results.classes.map { .string($0) }))
            object.set("confusion", .array(confusion.map { .array($0.map { .int($0) }) }))
        }
        return .object(object)
    }

    private var binTable: String {
        var table = Table(columns: [
            ("teacher's entropy (nats)", .left), ("tokens", .right), ("KL to teacher (nats)", .right),
            ("agreement %", .right),
        ])
        for bin in bins {
            let upper = bin.to.map { NumberFormat.significant($0) } ?? "∞"
            table.add([
                "\(NumberFormat.significant(bin.from)) – \(upper)", NumberFormat.grouped(bin.tokens),
                bin.divergence.map { NumberFormat.fixed($0, decimals: 3) } ?? "–",
                bin.agreement.map { NumberFormat.fixed($0 * 100, decimals: 1) } ?? "–",
            ])
        }
        return table.text
    }

    /// Rows are what is, columns what the model says; nil for more classes than a terminal is wide.
    private var matrix: String? {
        guard showsConfusion, let confusion = results.arms.last?.seeds.first?.confusion, confusion.count <= 12
        else { return nil }
        let names = results.classes.map { $0.shortened(to: 12) }
        var table = Table(columns: [("is \\ taken for", .left)] + names.map { ($0, .right) })
        for (name, row) in zip(names, confusion) { table.add([name] + row.map(NumberFormat.grouped)) }
        return table.text
    }
}

extension EntropyBin {
    var json: JSON {
        func number(_ value: Double?) -> JSON { value.map { $0.isFinite ? .double($0) : .null } ?? .null }
        return [
            "from": number(from), "to": number(to), "tokens": .int(tokens), "kl_to_teacher": number(divergence),
            "agreement": number(agreement),
        ]
    }
}

extension ArmResult {
    /// A model that is measured, not trained.
    init(_ role: String, from path: String, _ metrics: [Metric: Double], confusion: [[Int]] = []) {
        self.init(
            role: role, contract: ["from \(path)"],
            seeds: [
                SeedResult(
                    seed: 0, metrics: Dictionary(uniqueKeysWithValues: metrics.map { ($0.key.rawValue, $0.value) }),
                    curve: [], confusion: confusion)
            ])
    }
}
