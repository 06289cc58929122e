import RetortSupport
import Testing

@testable import RetortConformance

@Suite("bench: verdicts") struct BenchVerdictTests {
    /// What loads a file may need a little more than the file; no share of it says that.
    @Test func memoryMayBeSoMuchMore() throws {
        var comparison = Comparison(name: "lm_load / lm_file", shape: "1000", rounds: [(1, 2)])
        comparison.memory = .init(ours: 1.05e9, theirs: 1e9, goal: .excess(1e8))
        #expect(comparison.json["memory_excess_bytes"] == .double(5e7))
        #expect(comparison.json["memory_goal_bytes"] == .double(1e8))
        #expect(comparison.json["memory_share"] == nil)
        #expect(comparison.json["memory_met"] == .bool(true))
        let memory = Comparison.Memory(ours: 2e9, theirs: 1e9, goal: .excess(1e8))
        #expect(!memory.isMet)
        #expect(memory.description == "memory 1.9 GiB / 953.7 MiB = +953.7 MiB, goal +95.4 MiB NOT met")
        #expect(Comparison.Memory(ours: 1, theirs: 1e9, goal: .excess(0)).isMet)
    }

    /// Above the ceiling of a copy of arrays that no cache holds.
    @Test func rowsOutOfACacheAreMarked() {
        var row = BenchRow(
            kernel: "gemm", shape: "8x8x8", device: "cpu", family: "openblas", time: Spread([2]), roof: 0.5)
        #expect(!row.isCached && row.json["cached"] == nil)
        row.roof = 1.314
        #expect(row.json["cached"] == .bool(true))
        #expect(row.json["roof"] == .double(1.314))
        row.roof = 1
        #expect(!row.isCached)
        row.roof = nil
        #expect(!row.isCached)
        row.roof = 1.314
        var report = BenchReport(facts: [], roof: nil)
        report.rows = [row]
        #expect(report.text.contains("1.31 cache"))
        #expect(report.text.contains("\nroof: share of"))
        #expect(report.csv.contains(",1.314,"))
    }

    /// A goal that a row is held to stands in its note and in its JSON, met or not.
    @Test func rowsSayWhetherTheirGoalIsMet() {
        var row = BenchRow(
            kernel: "lm_onpolicy", shape: "8x32x64", device: "cpu", family: "openblas", time: Spread([2]))
        #expect(row.json["kernels_met"] == nil)
        row.verdict = RowVerdict(.kernels, 0.873, goal: 0.8)
        #expect(row.json["kernels_share"] == .double(0.873) && row.json["kernels_goal"] == .double(0.8))
        #expect(row.json["kernels_met"] == .bool(true))
        var report = BenchReport(facts: [], roof: nil)
        report.rows = [row]
        #expect(report.text.contains("kernels 87.3 % of the time, goal 80 % met"))
        report.rows[0].verdict?.value = 0.7996
        #expect(report.text.contains("kernels 79.9 % of the time, goal 80 % NOT met"))
        report.rows[0].verdict = RowVerdict(.loading, 2.346, goal: 1)
        #expect(report.text.contains("2.35 × what the step consumes, goal 1 met"))
        #expect(report.rows[0].json["loading_met"] == .bool(true))
        #expect(RowVerdict(.loading, 0.5, goal: 1).description.hasSuffix("goal 1 NOT met"))
    }

    /// Kernels take part of a step, and no more than all of it.
    @Test func kernelsTakeAShareOfAStep() throws {
        let kernel = OnPolicyStepCase.step([2, 3, 4])
        #expect(kernel.kernelsGoal == 0.8 && OnPolicyStepCase.step().shape == "8x32x64")
        let runs = 2
        let start = ContinuousClock.now
        let seconds = try KernelTime.seconds(kernel, deviceName: "cpu", runs: runs)
        let wall = (ContinuousClock.now - start).seconds
        #expect(seconds > 0 && seconds * Double(runs) < wall)
    }

    /// Flash attention's verdicts are of time and of memory, of which a child tells what one run takes.
    @Test func attentionTellsItsMemory() throws {
        let plans = ComparisonPlan.composedAttention(device: "cpu")
        #expect(plans.map(\.shape) == ["512x6x2x64", "1024x6x2x64", "2048x6x2x64"])
        #expect(plans.allSatisfy { $0.goal == 1 && $0.memoryGoal == .share(0.1) })
        var bytes: [Double] = []
        for kernel in ["attention_flash", "attention_composed"] {
            var orders = ["go 1"].makeIterator()
            try BenchWorker.run(
                kernel: kernel, shape: "256x2x1x8", device: "cpu", readLine: { orders.next() },
                print: { bytes.append((try? BenchAnswer($0, from: "test"))?.extraBytes ?? 0) })
        }
        #expect(bytes.count == 2 && bytes[0] > 0 && bytes[0] < bytes[1])
    }
}
