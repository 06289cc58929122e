import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport

/// What `retort bench` was asked for.
public struct BenchOptions: Sendable {
    public var groups: Set<BenchGroup> = Set(BenchGroup.allCases)
    /// As `--device` has it; nil for the default.
    public var device: String?
    /// Seconds of samples for each row.
    public var minimumTime = 0.5
    /// Rounds of a comparison.
    public var rounds = 7
    public var againstOpenBLAS = false
    /// Divergence rows against a copy of as many bytes.
    public var againstCopy = false
    /// Chunked losses against those that hold all logits.
    public var againstDense = false
    /// Decoding against a read of the weights, loading against a read of the file.
    public var againstRead = false
    /// Language models in bf16 against themselves in fp32.
    public var againstFP32 = false
    /// Flash attention against the composed one.
    public var againstComposed = false
    /// A tokenizer's directory or file; nil for those that are learned from made text.
    public var tokenizer: String?
    /// A text file for tokenizers to read; nil for made text.
    public var text: String?
    /// A Python interpreter with torch; nil leaves PyTorch out.
    public var python: String?
    public var scripts = "scripts/pytorch"
    /// False leaves the rows out: comparisons only.
    public var measuresRows = true
    /// Seconds that the whole run may wait for a quiet machine.
    public var quietBudget = 60.0
    public var baseline: String?

    public init() {}
}

/// Runs the benchmark: ceilings, rows, comparisons, in this order.
public struct BenchSuite {
    private let options: BenchOptions
    private let progress: RetortSupport.Progress
    private let device: Device
    private let pyTorch: PyTorchPeer?
    private let quiet: QuietWait

    /// - Throws: exit 64 for impossible options, 66 for a missing interpreter, 69 when PyTorch lacks the device to compare with, and what
    ///   opening the device throws.
    public init(_ options: BenchOptions, progress: RetortSupport.Progress) throws {
        guard options.rounds >= 7 else { throw RetortError.usage("a comparison needs at least 7 rounds") }
        guard options.minimumTime > 0 else { throw RetortError.usage("--min-time is in seconds, above 0") }
        self.options = options
        self.progress = progress
        device = try Device.select(options.device)
        let kind = PyTorchPeer.Kind(beside: device)
        pyTorch = options.python.map { PyTorchPeer(python: $0, scripts: options.scripts, kind: kind) }
        try pyTorch?.check(beside: device.description)
        quiet = QuietWait(budget: options.quietBudget)
    }

    /// Every kernel that a row can be measured for on that kind of device.
    public static func cases(onGPU: Bool) -> [BenchCase] {
        let products = GemmCases.all(onGPU: onGPU) + ConvCases.all + AttentionCases.all
        let losses = DivergenceCases.all + ChunkedCases.all + RowCases.softmax
        let others = RowCases.rows + OptimizerCases.all + OpRows.all
        let models = [
            StepCase.mlp(), ResNetStepCase.step(), LanguageStepCase.step(), LanguageStepCase.step(dtype: .bf16),
            OnPolicyStepCase.step(), DecodeCase.decode(), DecodeCase.decode(dtype: .bf16), LoadCase.load(),
        ]
        return products + losses + others + models
    }

    /// A signal ends it early: the report then holds what was measured before.
    public func run() throws -> BenchReport {
        let machine = MachineFacts(device)
        let baseline = try options.baseline.map { try Baseline(path: $0) }
        progress.line("waiting for a quiet machine …")
        let loadBefore = MachineFacts.load
        quiet.wait()
        progress.line(quiet.description)
        var report = BenchReport(facts: machine.members, roof: nil)
        if options.measuresRows { try measureRows(&report, machine) }
        for plan in plans where !StopSignal.isRequested {
            let result = try plan.run(rounds: options.rounds, quiet) { progress.line($0) }
            progress.line(
                "  ours / theirs \(rounded(result.ours)) / \(rounded(result.theirs)) µs, ratio \(rounded(result.ratio.median))"
            )
            report.comparisons.append(result)
        }
        if let baseline { report.changes = baseline.changes(report.rows) }
        report.facts += [
            ("machine", quiet.description), ("load", "\(loadBefore) before, \(MachineFacts.load) after"),
            ("date", Date.now.formatted(.iso8601)),
        ]
        progress.finish()
        return report
    }

    private func measureRows(_ report: inout BenchReport, _ machine: MachineFacts) throws {
        // The only ones that read files of the user's: what is wrong with those is said before minutes have gone by.
        if options.groups.contains(.tokenizers) { try measureTokenizers(&report) }
        let kernels = Self.cases(onGPU: device.isGPU).filter { options.groups.contains($0.group) }
        if !kernels.isEmpty {
            let roof = try Roof(device.compute)
            report.roof = roof
            let timer = BenchTimer(
                device: device, roof: roof, minimumTime: options.minimumTime, cacheBytes: machine.cacheBytes)
            for kernel in kernels where !StopSignal.isRequested {
                progress.status("\(kernel.kernel) \(kernel.shape)")
                var row = try quietRow(kernel, timer)
                if kernel.group == .step {
                    row.more["products_share"] = try StepProfile(kernel, deviceName: device.description).productShare
                }
                if let goal = kernel.kernelsGoal {
                    let kernels = try KernelTime.seconds(kernel, deviceName: device.description)
                    row.verdict = RowVerdict(.kernels, kernels * 1e6 / row.time.median, goal: goal)
                }
                show(row)
                report.rows.append(row)
            }
        }
        if options.groups.contains(.pictures), !StopSignal.isRequested { try measurePictures(&report) }
        if options.groups.contains(.start), !StopSignal.isRequested {
            quiet.wait()
            report.rows += try StartBench.rows(device: device.description, rounds: options.rounds)
        }
    }

    private func measureTokenizers(_ report: inout BenchReport) throws {
        // Only patterns need PCRE2.
        try addRows("tokenizers", to: &report) {
            try TokenizerRows.measure(
                tokenizer: options.tokenizer, text: options.text, minimumTime: options.minimumTime, quiet, report: $0)
        }
    }

    private func measurePictures(_ report: inout BenchReport) throws {
        let step = report.rows.first { $0.kernel == "resnet_step" }?.time.median
        try addRows("pictures", to: &report) {
            try PictureRows.measure(step: step, on: device, minimumTime: options.minimumTime, quiet, report: $0)
        }
    }

    /// The rows of a group that needs a library; where that is missing the other groups have theirs all the same.
    /// - Parameter measure: calls what it is given with each row.
    private func addRows(
        _ group: String, to report: inout BenchReport, measure: ((BenchRow) -> Void) throws -> Void
    ) throws {
        do {
            try measure { row in
                show(row)
                report.rows.append(row)
            }
        } catch let error as RetortError where error.exit == .device && options.groups.count > 1 {
            progress.line("\(group) are left out: \(error.what)")
            report.facts.append((group, "left out: \(error.what)"))
        }
    }

    private func show(_ row: BenchRow) {
        progress.line("\(row.kernel) \(row.shape): \(rounded(row.time.median)) µs\(row.isRight ? "" : " WRONG")")
    }

    /// The row, measured again when others took part of the machine meanwhile and there is time left to wait.
    private func quietRow(_ kernel: BenchCase, _ timer: BenchTimer) throws -> BenchRow {
        var best: BenchRow?
        repeat {
            quiet.wait()
            let others = OthersShare()
            var row = try timer.row(kernel)
            row.more["others_share"] = others.share()
            if row.others < best?.others ?? .infinity || !row.isRight { best = row }
        } while best!.others > QuietWait.threshold && best!.isRight && quiet.budget > 0 && !StopSignal.isRequested
        return best!
    }

    private var plans: [ComparisonPlan] {
        var plans: [ComparisonPlan] = []
        if options.againstOpenBLAS, options.groups.contains(.gemm) {
            plans += ComparisonPlan.openBLAS(device: device.description)
        }
        if options.againstCopy, options.groups.contains(.kd) {
            plans += ComparisonPlan.copyCeiling(device: device.description)
        }
        if options.againstComposed, options.groups.contains(.attention) {
            plans += ComparisonPlan.composedAttention(device: device.description)
        }
        if options.againstDense, options.groups.contains(.chunked) {
            plans += ComparisonPlan.denseLogits(device: device.description)
        }
        if options.againstRead, options.groups.contains(.language) {
            plans += ComparisonPlan.readCeiling(device: device.description)
        }
        if options.againstFP32, options.groups.contains(.language) {
            plans += ComparisonPlan.reducedPrecision(device: device.description)
        }
        if let pyTorch {
            plans += ComparisonPlan.pyTorch(options.groups, pyTorch, device: device.description)
        }
        return plans
    }
}
