import Foundation
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortConformance

@Suite("bench") struct BenchTests {
    private static func row(_ kernel: String = "gemm", _ time: Spread = Spread([2]), right: Bool = true) -> BenchRow {
        BenchRow(
            kernel: kernel, shape: "512x512x512", device: "cpu", family: "openblas", time: time, gflops: 200.123456,
            gbps: 4,
            roof: 0.5, maxRelErr: 1e-7, isRight: right)
    }

    // MARK: Statistics

    @Test func quantilesAreThoseOfNumpy() {
        let spread = Spread([5, 1, 4, 2, 3])
        #expect(spread.median == 3)
        #expect(abs(spread.p20 - 1.8) < 1e-12)
        #expect(abs(spread.p80 - 4.2) < 1e-12)
        #expect(Spread([1, 2]).median == 1.5)
        #expect(Spread([7]).p80 == 7)
        #expect(Spread([]).median.isNaN)
    }

    @Test func ratiosAreTakenRoundByRound() {
        // A slow spell hits both engines of its round and leaves the ratio alone.
        let comparison = Comparison(
            name: "a / b", shape: "1x1", rounds: [(10, 20), (100, 200), (10, 30), (20, 10), (10, 20)], goal: 1.9)
        #expect(comparison.ratio.median == 2)
        #expect(comparison.ours == 10 && comparison.theirs == 20)
        #expect(comparison.rounds == 5)
        #expect(comparison.isMet == true)
        #expect(comparison.json["met"] == .bool(true))
        #expect(comparison.json["ratio"] == .double(2))
    }

    @Test func memoryIsAShareOfTheirs() throws {
        var comparison = Comparison(name: "a / b", shape: "1x1", rounds: [(1, 2)])
        #expect(comparison.json["memory_share"] == nil)
        comparison.memory = .init(ours: 8_000_000, theirs: 100_000_000, goal: .share(0.1))
        #expect(comparison.json["memory_share"] == .double(0.08))
        #expect(comparison.json["memory_met"] == .bool(true))
        #expect(Comparison.Memory(ours: 11, theirs: 100, goal: .share(0.1)).isMet == false)
    }

    @Test func errorsAreRelativeToTheLargestValue() {
        var scale = ErrorScale()
        scale.add(1.5, 1)
        scale.add(10, 10)
        #expect(scale.error == 0.05)
        scale.add(.nan, 0)
        #expect(scale.error == .infinity)
    }

    // MARK: JSON and CSV

    @Test func rowsKeepTheContract() throws {
        let row = Self.row()
        guard case .object(let object) = row.json else { throw RetortError.internalBug("no object") }
        #expect(
            object.keys == [
                "kernel", "shape", "dtype", "device", "family", "median_us", "p20_us", "p80_us", "gflops", "gbps",
                "roof",
                "max_rel_err",
            ])
        #expect(row.csv == "gemm,512x512x512,f32,cpu,openblas,2.0,2.0,2.0,200.12,4.0,0.5,1e-07")
        #expect(row.csv.split(separator: ",").count == BenchRow.columns.count)
        let read = try BenchRow(JSONCursor(row.json, file: "test"))
        #expect(read.key == row.key && read.time == row.time && read.isRight)
        #expect(try !BenchRow(JSONCursor(Self.row(right: false).json, file: "test")).isRight)
    }

    @Test func absentNumbersAreNullAndEmpty() throws {
        let row = BenchRow(
            kernel: "start, \"cold\"", shape: "-", dtype: "-", device: "cpu", family: "process", time: Spread([1]))
        #expect(row.csv == "\"start, \"\"cold\"\"\",-,-,cpu,process,1.0,1.0,1.0,,,,")
        #expect(row.json["gflops"] == .null)
        #expect(try BenchRow(JSONCursor(row.json, file: "test")).gflops == nil)
    }

    @Test func reportHasItsFourParts() {
        var report = BenchReport(facts: [("device", "cpu")], roof: nil)
        report.rows = [Self.row(), Self.row("softmax", right: false)]
        guard case .object(let object) = report.json else { return #expect(Bool(false)) }
        #expect(object.keys == ["ceilings", "rows", "comparisons", "facts"])
        #expect(report.csv.split(separator: "\n").count == 3)
        #expect(report.wrong.map(\.kernel) == ["softmax"])
        #expect(report.text.contains("WRONG"))
    }

    // MARK: Baseline

    @Test func changesWithinTheNoiseAreNone() {
        let before = Baseline([Self.row("a", Spread([9, 10, 11])), Self.row("b", Spread([9, 10, 11]))])
        let changes = before.changes([
            Self.row("a", Spread([10, 10.5, 12])), Self.row("b", Spread([19, 20, 21])), Self.row("c"),
        ])
        #expect(changes.map(\.verdict) == [.same, .slower, .new])
        #expect(changes[1].ratio == 0.5)
        #expect(changes[2].ratio == nil)
        #expect(before.changes([Self.row("a", Spread([4, 5, 6]))])[0].verdict == .faster)
    }

    // MARK: Line protocol

    @Test func ordersAreReadStrictly() throws {
        #expect(try BenchOrder("go 3") == .go(3))
        #expect(try BenchOrder(" go  12 ") == .go(12))
        #expect(try BenchOrder("quit") == .quit)
        for line in ["", "go", "go 0", "go -1", "go x", "go 1 2", "stop"] {
            #expect(throws: RetortError.self) { try BenchOrder(line) }
        }
        #expect(try BenchOrder(BenchOrder.go(5).line) == .go(5))
    }

    @Test func answersOfBothEnginesAreRead() throws {
        let ours = BenchAnswer(samples: [3, 1, 2], engine: "retort: cpu")
        let line = ours.json(kernel: "gemm", shape: "1x1x1").text()
        #expect(!line.contains("\n"))
        #expect(try BenchAnswer(line, from: "test") == ours)
        let torch = """
            {"kernel": "gemm", "samples": [4.5, 5], "torch": "2.13", "threads": 2, "cpu_capability": "AVX512", "allocator": "tuned"}
            """
        let theirs = try BenchAnswer(torch, from: "test")
        #expect(theirs.samples == [4.5, 5])
        #expect(theirs.extraBytes == nil)
        let measured = BenchAnswer(samples: [1], engine: "retort: cpu", extraBytes: 4096)
        #expect(try BenchAnswer(measured.json(kernel: "kd_chunked", shape: "1").text(), from: "test") == measured)
        #expect(theirs.engine == "PyTorch 2.13, AVX512, 2 threads, allocator tuned")
        let gpu = """
            {"samples": [5], "torch": "2.11", "device": "NVIDIA H100", "threads": 2, "cpu_capability": "AVX512"}
            """
        #expect(try BenchAnswer(gpu, from: "test").engine == "PyTorch 2.11, NVIDIA H100")
        #expect(throws: RetortError.self) { try BenchAnswer("{}", from: "test") }
        #expect(throws: RetortError.self) { try BenchAnswer("Traceback", from: "test") }
    }

    @Test func workerMeasuresAsOften() throws {
        var orders = ["go 2", "go 1", "quit", "go 9"].makeIterator()
        var answers: [BenchAnswer] = []
        try BenchWorker.run(
            kernel: "gemm", shape: "7x5x3", device: "cpu", readLine: { orders.next() },
            print: { answers.append((try? BenchAnswer($0, from: "test")) ?? BenchAnswer(samples: [], engine: "")) })
        #expect(answers.map(\.samples.count) == [2, 1])
    }

    @Test func workerRefusesWhatItDoesNotKnow() {
        for (kernel, shape) in [
            ("gem", "1x1x1"), ("gemm", "1x1"), ("gemm", "1x0x1"), ("kd_rows", "axb"), ("kd_chunked", "4x3x2"),
            ("gemm", "1xx1"),
            ("gemm_nt_bf16", "1x1"), ("gemm_f16", "1x1x1"), ("conv2d", "4x3x8x8x5x3"),
            ("conv2d", "4x3x8x9x5x3x1"), ("conv2d", "4x3x8x8x5x3x1x2"),
        ] {
            #expect(throws: RetortError.self) { try BenchWorker.find(kernel, shape) }
        }
    }

    /// What a comparison asks of its child is what the child knows.
    @Test func everyComparedKernelIsKnown() throws {
        let plans = [PyTorchPeer.Kind.cpu, .cuda].flatMap {
            ComparisonPlan.pyTorch(
                Set(BenchGroup.allCases), PyTorchPeer(python: "python", scripts: "scripts", kind: $0), device: "cpu")
        }
        #expect(plans.count > 120)
        let own =
            ComparisonPlan.openBLAS(device: "cpu") + ComparisonPlan.copyCeiling(device: "cpu")
            + ComparisonPlan.denseLogits(device: "cpu") + ComparisonPlan.readCeiling(device: "cpu")
            + ComparisonPlan.composedAttention(device: "cpu")
        for plan in plans + own {
            let words = plan.ours.arguments
            let place = try #require(words.firstIndex(of: "bench-worker"))
            _ = try BenchWorker.find(words[place + 1], words[place + 2])
        }
    }

    /// What conv.py measures by itself are the layers that are compared.
    @Test func pyTorchMeasuresTheSameConvolutions() throws {
        let script = try String(contentsOfFile: Project.root + "/scripts/pytorch/conv.py", encoding: .utf8)
        let start = try #require(script.range(of: "SHAPES = ["))
        let end = try #require(script[start.upperBound...].firstIndex(of: "]"))
        let theirs = script[start.upperBound..<end].split(separator: "\"").filter { $0.contains("x") }.map(String.init)
        #expect(theirs == ConvCases.compared.map { $0.sizes.map(String.init).joined(separator: "x") })
        #expect(ConvCases.layers.allSatisfy { $0.n == 64 })
    }

    /// A folder of weights goes when what was measured with it goes.
    @Test func temporaryWeightsAreRemoved() throws {
        var folder: WeightFolder? = try WeightFolder(megabytes: 1)
        let path = try #require(folder?.path)
        #expect(FileManager.default.fileExists(atPath: path + "/model.safetensors"))
        folder = nil
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    @Test func speedsAreTokensASecond() {
        var comparison = Comparison(name: "a / b", shape: "1x1", rounds: [(1000, 2000)])
        #expect(comparison.speeds == nil)
        comparison.tokens = 128
        #expect(comparison.speeds == "128000 / 64000 tokens/s")
        #expect(comparison.json["ours_tokens_per_second"] == .double(128_000))
    }

    // MARK: Machine

    @Test func residentMemoryIsReadFromStatus() {
        let status = "Name:\tretort\nVmHWM:\t   20480 kB\nVmRSS:\t    1024 kB\n"
        #expect(ResidentMemory.value(of: "VmRSS", in: status) == 1 << 20)
        #expect(ResidentMemory.value(of: "VmHWM", in: status) == 20 << 20)
        #expect(ResidentMemory.value(of: "VmSwap", in: status) == 0)
        // Other tests take memory between two looks: now first, then the most there ever was.
        let now = ResidentMemory.now
        #expect(ResidentMemory.peak >= now && now > 1 << 20)
    }

    @Test func processorTimesGiveTheBusyShare() throws {
        let before = try #require(ProcessorTimes("cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3 4"))
        let after = try #require(ProcessorTimes("cpu  150 0 100 850 0 0 0 0 0 0\n"))
        #expect(after.busyShare(since: before) == 0.5)
        #expect(ProcessorTimes("intr 1 2 3") == nil)
    }

    @Test func waitingEndsWithQuietOrTheBudget() {
        var looks = [0.9, 0.5, 0.05, 0.9].makeIterator()
        let wait = QuietWait(budget: 60) { looks.next() ?? 0 }
        wait.wait()
        #expect(wait.isQuiet && wait.busy == 0.05)
        let impatient = QuietWait(budget: 0) { 0.5 }
        impatient.wait()
        #expect(!impatient.isQuiet && impatient.description.contains("gave up"))
    }

    // MARK: Cases

    /// Every kind of case computes the right numbers; small copies of the rows that are timed.
    @Test(arguments: TestBackend.fast) func casesCheckThemselves(_ backend: TestBackend) throws {
        let device = try backend.device()
        var random = BenchRandom()
        let cases =
            [
                GemmCases.gemm([17, 33, 65]), GemmCases.gemm([17, 33, 65], .nt), GemmCases.gemm([17, 33, 65], .tn),
                GemmCases.gemm([17, 33, 65], .nn, .bf16), GemmCases.gemm([17, 33, 65], .nt, .bf16),
                GemmCases.gemm([17, 33, 65], .tn, .bf16),
                DivergenceCases.rows([5, 41]), RowCases.softmax[3], StepCase.digits(batch: 8),
                LanguageStepCase.step([2, 16]), OnPolicyStepCase.step([2, 3, 4]), DecodeCase.decode([3, 5]),
                DecodeCase.reading([1, 2]),
                LoadCase.load([1]), AttentionCases.flash([17, 4, 2, 8]), AttentionCases.composed([17, 4, 2, 8]),
            ] + OptimizerCases.all
        for kernel in cases {
            let set = try kernel.make(device, &random)
            try set.poison()
            for _ in 0..<3 { try set.run() }
            let error = try set.error()
            #expect(error <= set.tolerance, "\(kernel.kernel) \(kernel.shape): \(error)")
        }
    }

    @Test(arguments: ["gemm", "gemm_tn_bf16"]) func aPoisonedOutputIsWrong(_ kernel: String) throws {
        let device = try TestBackend.cpu.device()
        var random = BenchRandom()
        let set = try BenchWorker.find(kernel, "8x8x8").make(device, &random)
        try set.run()
        try set.poison()
        #expect(try set.error() == .infinity)
    }

    @Test func everyGroupHasCases() {
        for onGPU in [false, true] {
            let cases = BenchSuite.cases(onGPU: onGPU)
            #expect(Set(cases.map(\.group)) == Set(BenchGroup.allCases).subtracting([.start, .tokenizers, .pictures]))
            let keys = cases.map { "\($0.kernel) \($0.shape) \($0.dtype)" }
            #expect(Set(keys).count == keys.count)
            #expect(keys.contains("gemm 4096x4096x4096 f32") == onGPU)
            #expect(keys.contains("gemm_nt 8192x1536x576 bf16") == onGPU)
        }
    }
}
