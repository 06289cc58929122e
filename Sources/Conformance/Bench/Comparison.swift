import Foundation
import RetortSupport

/// Two engines on one piece of work, measured in turns. Times are microseconds per call.
public struct Comparison: Sendable, Equatable {
    /// "gemm, opencl:0 / OpenBLAS".
    public var name: String
    public var shape: String
    public var ours: Double
    public var theirs: Double
    /// theirs / ours, round by round: how many times faster we are.
    public var ratio: Spread
    public var rounds: Int
    /// What issue 2, section 6 asks for.
    public var goal: Double?
    /// What both needed for themselves, where that was measured.
    public var memory: Memory?
    /// Tokens of one call, where that is how speed is told.
    public var tokens: Int?

    /// - `rounds`: each the medians of one turn of both; at least one.
    public init(name: String, shape: String, rounds: [(ours: Double, theirs: Double)], goal: Double? = nil) {
        self.name = name
        self.shape = shape
        self.goal = goal
        self.rounds = rounds.count
        ours = Spread(rounds.map(\.ours)).median
        theirs = Spread(rounds.map(\.theirs)).median
        ratio = Spread(rounds.map { $0.theirs / $0.ours })
    }

    public static let columns = [
        "comparison", "shape", "ours_us", "theirs_us", "ratio", "p20", "p80", "rounds", "goal",
    ]

    /// Tokens a second of both.
    var speeds: String? {
        tokens.map { tokens in
            let (a, b) = (Double(tokens) * 1e6 / ours, Double(tokens) * 1e6 / theirs)
            return "\(NumberFormat.fixed(a, decimals: 0)) / \(NumberFormat.fixed(b, decimals: 0)) tokens/s"
        }
    }

    public var isMet: Bool? { goal.map { ratio.median >= $0 } }

    public var json: JSON {
        var members: [(key: String, value: JSON)] = [
            ("comparison", .string(name)), ("shape", .string(shape)), ("ours_us", .double(rounded(ours))),
            ("theirs_us", .double(rounded(theirs))), ("ratio", .double(rounded(ratio.median))),
            ("p20", .double(rounded(ratio.p20))), ("p80", .double(rounded(ratio.p80))), ("rounds", .int(rounds)),
        ]
        if let memory { members += memory.members }
        if let tokens {
            members += [
                ("ours_tokens_per_second", .double(rounded(Double(tokens) * 1e6 / ours))),
                ("theirs_tokens_per_second", .double(rounded(Double(tokens) * 1e6 / theirs))),
            ]
        }
        if let goal, let isMet { members += [("goal", .double(goal)), ("met", .bool(isMet))] }
        return .object(members)
    }
}

/// What is compared: how to start both engines, and what we are held to.
public struct ComparisonPlan: Sendable {
    struct Engine: Sendable {
        let program: String
        let arguments: [String]
        var environment: [String: String] = [:]

        /// This program as a worker.
        static func ours(_ kernel: String, _ shape: String, _ device: String, environment: [String: String] = [:])
            -> Engine
        {
            Engine(
                program: ChildEngine.ownProgram,
                arguments: ["bench-worker", kernel, shape, "--device", device], environment: environment)
        }
    }

    let name: String
    let shape: String
    let ours: Engine
    let theirs: Engine
    let goal: Double?
    /// What is allowed beside their memory, where both say what they needed.
    var memoryGoal: Comparison.Memory.Goal?
    /// Tokens of one call.
    var tokens: Int?

    /// Seconds that a turn should take, and the pause before it: idle threads of the other engine spin for a while.
    private static let turn = 0.25
    private static let pause = 0.1

    /// Rounds of A B A B in two child processes.
    /// - Parameter report: called with each engine's own words, once.
    func run(rounds: Int, _ quiet: QuietWait, report: (String) -> Void) throws -> Comparison {
        let a = try ChildEngine(ours.program, ours.arguments, environment: ours.environment)
        let b = try ChildEngine(theirs.program, theirs.arguments, environment: theirs.environment)
        // Warm-up, and how long one repetition takes.
        let first = (try a.go(2), try b.go(2))
        report("\(name) \(shape): \(first.0.engine) | \(first.1.engine)")
        let slower = max(first.0.time.median, first.1.time.median)
        let count = max(1, min(50, Int(Self.turn * 1e6 / slower)))
        var results: [(ours: Double, theirs: Double)] = []
        var last: (ours: Double?, theirs: Double?) = (nil, nil)
        while results.count < rounds, !StopSignal.isRequested || results.isEmpty {
            Thread.sleep(forTimeInterval: Self.pause)
            quiet.wait()
            let mine = try a.go(count)
            Thread.sleep(forTimeInterval: Self.pause)
            let other = try b.go(count)
            results.append((mine.time.median, other.time.median))
            last = (mine.extraBytes, other.extraBytes)
        }
        var comparison = Comparison(name: name, shape: shape, rounds: results, goal: goal)
        comparison.tokens = tokens
        if let memoryGoal, let ours = last.ours, let theirs = last.theirs {
            comparison.memory = .init(ours: ours, theirs: theirs, goal: memoryGoal)
        }
        return comparison
    }
}

// MARK: - The comparisons of issue 2, section 6

extension ComparisonPlan {
    /// Products against OpenBLAS at its best core type. On the CPU our child inherits a wrong core type on purpose.
    static func openBLAS(device: String) -> [ComparisonPlan] {
        let isCPU = device == "cpu"
        return GemmCases.compared.map { sizes in
            let shape = sizes.map(String.init).joined(separator: "x")
            let isSquare = Set(sizes).count == 1
            return ComparisonPlan(
                name: isCPU ? "gemm, cpu (OPENBLAS_CORETYPE=Haswell) / OpenBLAS" : "gemm, \(device) / OpenBLAS",
                shape: shape,
                ours: .ours("gemm", shape, device, environment: isCPU ? ["OPENBLAS_CORETYPE": "Haswell"] : [:]),
                theirs: .ours("openblas", shape, "cpu"), goal: isCPU ? 0.95 : isSquare ? 0.9 : 0.8)
        }
    }

    /// Divergence rows against a plain copy of as many bytes (two reads and a write of each element): the ratio is the share of the
    /// copy ceiling, and taking turns keeps it true on a machine that others use too.
    static func copyCeiling(device: String) -> [ComparisonPlan] {
        DivergenceCases.shapes.map { sizes in
            ComparisonPlan(
                name: "kd_rows, \(device) / copy of as many bytes", shape: "\(sizes[0])x\(sizes[1])",
                ours: .ours("kd_rows", "\(sizes[0])x\(sizes[1])", device),
                theirs: .ours("copy", "\(sizes[0])x\(sizes[1] * 3 / 2)", device), goal: sizes[1] < 1000 ? nil : 0.6)
        }
    }

    /// Chunked losses against those that hold all logits: at most 1.05 × the time, a tenth of the memory.
    static func denseLogits(device: String) -> [ComparisonPlan] {
        ChunkedCases.shapes.map { sizes in
            let shape = sizes.map(String.init).joined(separator: "x")
            return ComparisonPlan(
                name: "kd_chunked, \(device) / all logits at once", shape: shape,
                ours: .ours("kd_chunked", shape, device),
                theirs: .ours("kd_dense", shape, device), goal: 1 / 1.05, memoryGoal: .share(0.1))
        }
    }

    /// Flash attention against the one that holds every probability, forward and backward: not slower, a tenth of the memory.
    static func composedAttention(device: String) -> [ComparisonPlan] {
        AttentionCases.compared.map { sizes in
            let shape = sizes.map(String.init).joined(separator: "x")
            return ComparisonPlan(
                name: "attention_flash, \(device) / composed", shape: shape,
                ours: .ours("attention_flash", shape, device),
                theirs: .ours("attention_composed", shape, device), goal: 1, memoryGoal: .share(0.1))
        }
    }
}
