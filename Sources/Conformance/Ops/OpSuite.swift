import RetortKernels
import RetortRuntime
import RetortSupport

/// What became of one check.
public struct OpResult: Sendable {
    public enum Outcome: Sendable, Equatable {
        case passed
        case skipped
        /// What was wrong.
        case failed([String])
    }
    public let op: String
    public let sample: String
    public let target: String
    public let outcome: Outcome
    /// The largest error, as a share of what is allowed.
    public let worst: Double
    public let seconds: Double
    /// Repeats this check alone.
    public let command: String
}

/// Which checks to run.
public struct OpSelection: Sendable {
    public var op: String?
    public var sample: String?
    /// Only the smallest odd sizes.
    public var tiny = false
    public var seed: UInt64 = 0

    public init(op: String? = nil, sample: String? = nil, tiny: Bool = false, seed: UInt64 = 0) {
        self.op = op
        self.sample = sample
        self.tiny = tiny
        self.seed = seed
    }

    /// - Throws: `RetortError` (usage) when nothing has the name.
    func descriptions() throws -> [OpDescription] {
        guard let op else { return OpDescription.all }
        let named = OpDescription.all.filter { $0.name == op }
        guard named.isEmpty else { return named }
        throw noSuchOp(op)
    }
}

/// Checks descriptions on targets; the reference of a sample is computed once for all of them.
/// - Throws: `RetortError` (usage) when the selection picks nothing.
public func checkOps(_ selection: OpSelection, on targets: [OpTarget], report: (OpResult) -> Void) throws {
    var isFound = false
    for description in try selection.descriptions() {
        // Samples of `perf` take long and much memory: only the one that is named, where `bench` found it wrong.
        for sample in description.samples(matching: selection.sample)
        where sample.size != .perf || sample.text == selection.sample {
            if selection.tiny, sample.size != .tiny { continue }
            isFound = true
            let opCase = description.makeCase(sample, seed: selection.seed)
            var expected: [String: Expected]?
            for target in targets {
                let command = target.command("test", op: description.name, sample: sample.text, seed: selection.seed)
                func result(_ outcome: OpResult.Outcome, _ worst: Double = 0, _ seconds: Double = 0) -> OpResult {
                    OpResult(
                        op: description.name, sample: sample.text, target: target.name, outcome: outcome, worst: worst,
                        seconds: seconds, command: command)
                }
                // A sample asked for by name runs wherever it is asked for.
                if sample.size > target.largest, selection.sample == nil {
                    report(result(.skipped))
                    continue
                }
                if expected == nil { expected = opCase.reference() }
                let start = ContinuousClock.now
                let check = OpCheck(opCase, expecting: expected!, on: target.device)
                let seconds = (ContinuousClock.now - start).inSeconds
                report(result(check.problems.isEmpty ? .passed : .failed(check.problems), check.worst, seconds))
            }
        }
    }
    if let text = selection.sample, !isFound {
        throw noSuchSample(
            text,
            why: "large samples are checked by their whole text only" + (selection.tiny ? ", and not with --tiny" : ""))
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}

/// Collects results into what a user reads: a line per op and target, each failure with its command, the counts last.
public struct OpReport {
    public private(set) var passed = 0
    public private(set) var failed = 0
    public private(set) var skipped = 0
    private var results: [OpResult] = []

    public init() {}

    public mutating func add(_ result: OpResult) {
        results.append(result)
        switch result.outcome {
        case .passed: passed += 1
        case .skipped: skipped += 1
        case .failed: failed += 1
        }
    }

    /// The lines of one failure; nil for anything else.
    public static func failureText(_ result: OpResult) -> String? {
        guard case .failed(let problems) = result.outcome else { return nil }
        return
            (["FAILED \(result.op) \(result.sample) on \(result.target)"] + problems.map { "  " + $0 }
            + ["  repeat: " + result.command]).joined(separator: "\n")
    }

    /// One row per op and target.
    public var table: String {
        var table = Table(columns: [
            ("op", .left), ("on", .left), ("passed", .right), ("failed", .right), ("skipped", .right),
            ("worst error", .right), ("time", .right),
        ])
        var groups: [(key: String, results: [OpResult])] = []
        for result in results {
            let key = result.op + " " + result.target
            if let at = groups.firstIndex(where: { $0.key == key }) {
                groups[at].results.append(result)
            } else {
                groups.append((key, [result]))
            }
        }
        for group in groups {
            let all = group.results
            let worst = all.map(\.worst).max() ?? 0
            table.add([
                all[0].op, all[0].target, "\(all.filter { $0.outcome == .passed }.count)",
                "\(all.filter { $0.outcome != .passed && $0.outcome != .skipped }.count)",
                "\(all.filter { $0.outcome == .skipped }.count)", NumberFormat.percent(worst, decimals: 0),
                NumberFormat.duration(seconds: all.reduce(0) { $0 + $1.seconds }),
            ])
        }
        return table.text
    }

    public var summary: String { "\(passed) passed, \(failed) failed, \(skipped) skipped" }

    public var json: JSON {
        let rows: [JSON] = results.map { result in
            var problems: [String] = []
            var outcome = "passed"
            switch result.outcome {
            case .passed: break
            case .skipped: outcome = "skipped"
            case .failed(let why): (outcome, problems) = ("failed", why)
            }
            return [
                "op": .string(result.op), "sample": .string(result.sample), "on": .string(result.target),
                "outcome": .string(outcome), "problems": .array(problems.map(JSON.string)),
                "worst_error": result.worst.isFinite ? .double(result.worst) : nil, "seconds": .double(result.seconds),
                "command": .string(result.command),
            ]
        }
        return ["passed": .int(passed), "failed": .int(failed), "skipped": .int(skipped), "results": .array(rows)]
    }

    /// - Throws: `RetortError` (70) when anything failed.
    public func check() throws {
        guard failed > 0 else { return }
        throw RetortError.internalBug(
            "\(failed) of \(passed + failed) checks failed", why: "each is listed above with its command")
    }
}
