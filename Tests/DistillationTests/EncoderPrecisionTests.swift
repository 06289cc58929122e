import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Encoders whose steps store activations and matrices in bf16, and teachers whose weights are stored so.
@Suite("Encoders in bf16")
struct EncoderPrecisionTests {
    /// What they are trained for: students large enough for what a step keeps to count.
    enum Kind: CaseIterable, Sendable {
        case sentences, retrieval, classes, masked

        private static let student = "hidden: 48, intermediate: 192, layers: 4, heads: 2, positions: 40"
        private static let train = "train: {steps: 20, batch: 32, optimizer: {kind: adamw, lr: 0.001}}\nseeds: [0]"

        /// A recipe with what it reads.
        func small(_ backend: TestBackend) throws -> SmallEncoders {
            switch self {
            case .sentences:
                return try SmallEncoders(
                    backend,
                    """
                    data: {kind: sentences, path: rows.csv, columns: [a, b], test: {every: 4}}
                    teacher: {path: teacher}
                    student: {model: {kind: bert, \(Self.student)}}
                    arms:
                      student: {objective: [{loss: embedding-cosine}]}
                      inner: {objective: [{loss: hidden-states, layers: last}, {loss: attention-scores, layers: last}]}
                    \(Self.train)
                    """)
            case .retrieval:
                return try RetrievalRunTests.small(
                    backend,
                    RetrievalRunTests.recipe.replacing(
                        "hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 32", with: Self.student))
            case .classes:
                let small = try SmallEncoders(
                    backend,
                    """
                    data: {kind: labelled-texts, path: labelled.tsv, label: class, test: {every: 4}}
                    teacher: {path: teacher, train: {steps: 10}}
                    student: {model: {kind: distilbert, \(Self.student)}, tokenizer: own}
                    arms:
                      student-alone: {objective: [{loss: cross-entropy}]}
                      student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}, {loss: embedding-cosine}]}
                    \(Self.train)
                    """)
                let letters = Array("bcdefghijklmnop").map(String.init)
                let rows = (0..<60).map { row in
                    let kind = row * 7 % 3
                    let word = letters[row % 15] + letters[row * 4 % 15]
                    return "\(word) \(["q", "x", "v"][kind])\t\(["yes", "no", "maybe"][kind])"
                }
                try small.folder.write((["text\tclass"] + rows).joined(separator: "\n") + "\n", to: "labelled.tsv")
                return small
            case .masked: return try MaskedRunTests.small(backend)
            }
        }

        var overrides: [String] {
            switch self {
            case .sentences, .classes: []
            case .retrieval: ["seeds=[0]", "train.steps=20", "train.batch=16", "train.optimizer.lr=0.001"]
            case .masked:
                [
                    "seeds=[0]", "train.steps=20", "train.batch=32", "train.optimizer.lr=0.001",
                    "teacher.train.steps=10", "student.model.hidden=48", "student.model.intermediate=192",
                    "student.model.layers=2",
                ]
            }
        }
    }

    /// On a device of its own: memory that other tests take at the same time is not the run's.
    private func run(_ small: SmallEncoders, _ backend: TestBackend, _ output: String, _ overrides: [String]) throws
        -> RunResults
    {
        try readRecipe(small.folder.path("small.yaml"), overrides: overrides).start(
            on: backend.ownDevice(), output: small.folder.path(output), progress: Progress(quiet: true)
        ).run()
    }

    /// Losses of what was trained: near each other, and not the same.
    /// - Parameter share: of an arm's first loss.
    private func expectNear(_ results: RunResults, _ others: RunResults, within share: Double) {
        var compared = 0
        for (mine, theirs) in zip(results.arms, others.arms) where !theirs.seeds[0].curve.isEmpty {
            let (near, exact) = (mine.seeds[0].curve.map(\.loss), theirs.seeds[0].curve.map(\.loss))
            #expect(near.count == exact.count && near != exact, "\(mine.role)")
            let most = share * abs(exact[0])
            #expect(zip(near, exact).allSatisfy { abs($0 - $1) < most }, "\(mine.role): \(near), \(exact)")
            compared += 1
        }
        #expect(compared >= 2)
    }

    private func said(_ small: SmallEncoders, _ run: String) throws -> String {
        try String(contentsOfFile: small.folder.path(run + "/log.txt"), encoding: .utf8)
    }

    @Test(
        "steps: nearly the losses of fp32, repeatable, in less memory; what is saved is fp32", arguments: Kind.allCases,
        TestBackend.fast)
    func steps(_ kind: Kind, _ backend: TestBackend) throws {
        let small = try kind.small(backend)
        func run(_ output: String, _ overrides: String...) throws -> RunResults {
            try self.run(small, backend, output, kind.overrides + overrides)
        }
        let (full, reduced) = (try run("full"), try run("reduced", "train.dtype=bf16"))
        #expect(try SmallEncoders.facts(run("again", "train.dtype=bf16")) == SmallEncoders.facts(reduced))
        #expect(try small.weights("again") == small.weights("reduced"))
        expectNear(reduced, full, within: 0.08)
        for (mine, theirs) in zip(reduced.arms, full.arms) {
            let key = Metric.peakBytes.rawValue
            guard let less = mine.seeds[0].metrics[key], let more = theirs.seeds[0].metrics[key] else { continue }
            #expect(less < 0.97 * more, "\(mine.role): \(less), \(more)")
        }
        let stored = try SafeTensors(path: small.folder.path("reduced/student/seed-0/final/model.safetensors"))
        #expect(stored.tensors.allSatisfy { $0.type == .float32 })
        // It is said, and stands in the report.
        #expect(try said(small, "reduced").contains("student: steps in bf16") && !said(small, "full").contains("bf16"))
        #expect(reduced.arms.last?.contract.last?.hasPrefix("steps in bf16") == true)
    }

    @Test("texts that are read in parts are the batch; one arm alone", arguments: TestBackend.fast)
    func parts(_ backend: TestBackend) throws {
        let small = try Kind.retrieval.small(backend)
        func run(_ output: String, _ overrides: String...) throws -> RunResults {
            try self.run(small, backend, output, Kind.retrieval.overrides + ["student.model.dropout=0"] + overrides)
        }
        let (whole, parts) = (
            try run("whole", "train.dtype=bf16"), try run("parts", "train.dtype=bf16", "train.micro-batch=5")
        )
        expectNear(parts, whole, within: 0.04)
        let again = try run("again", "train.dtype=bf16", "train.activation-checkpointing=true")
        #expect(SmallEncoders.facts(again) == SmallEncoders.facts(whole))
        let full = try run("full")
        let one = try run("one", "arms.student.train={dtype: bf16}")
        for (index, arm) in one.arms.enumerated() {
            let expected = arm.role == "student" ? whole.arms[index] : full.arms[index]
            #expect(arm.seeds[0].curve.map(\.loss) == expected.seeds[0].curve.map(\.loss), "\(arm.role)")
        }
    }

    @Test(
        "teachers: nearly what fp32 ones say, in less memory; one that is trained is refused",
        arguments: TestBackend.fast)
    func teachers(_ backend: TestBackend) throws {
        let small = try SmallEncoders(backend, EncoderHiddenTests.recipe)
        let full = try run(small, backend, "full", ["train.steps=10"])
        let reduced = try run(small, backend, "reduced", ["train.steps=10", "teacher.dtype=bf16"])
        expectNear(reduced, full, within: 0.05)
        // It stays there for losses that look inside it.
        for (mine, theirs) in zip(reduced.arms, full.arms) where !theirs.seeds[0].curve.isEmpty {
            let (less, more) = (mine.seeds[0].metrics["peak_bytes"] ?? 0, theirs.seeds[0].metrics["peak_bytes"] ?? 0)
            #expect(less < more && less > 0, "\(mine.role): \(less), \(more)")
        }
        #expect(try said(small, "reduced").contains("teacher: matrices in bf16"))

        let masked = try MaskedRunTests.small(backend)
        let few = ["seeds=[0]", "train.steps=6"]
        _ = try run(masked, backend, "one", few + ["teacher.train.steps=6"])
        let lines = MaskedRunTests.recipe.split(separator: "\n").map {
            $0.hasPrefix("teacher:") ? "teacher: {path: one/teacher/seed-0/final}" : String($0)
        }
        try masked.folder.write(lines.joined(separator: "\n"), to: "small.yaml")
        let exact = try run(masked, backend, "full", few)
        let rounded = try run(masked, backend, "reduced", few + ["teacher.dtype=bf16"])
        let (a, b) = (rounded.arms[0].seeds[0].metrics, exact.arms[0].seeds[0].metrics)
        let (near, entropy) = (try #require(a["cross_entropy"]), try #require(b["cross_entropy"]))
        #expect(abs(near - entropy) < 0.02 * entropy && near != entropy, "\(near) \(entropy)")
        // `eval --dtype bf16` measures that teacher.
        let data = MaskedEvaluationData(
            masked.folder.path("words.txt"), format: .lines, masks: MaskSettings(length: 14, rate: 0.3), every: 4)
        let measured = try evaluate(
            masked: masked.folder.path("one/teacher/seed-0/final"), teacher: nil, on: data, dtype: .bf16,
            device: backend.device())
        #expect(measured.results.arms[0].seeds[0].metrics["cross_entropy"] == near)

        let classes = try Kind.classes.small(backend)
        let refused = try classes.refused("train: {steps: 10}}", "train: {steps: 10}, dtype: bf16}")
        #expect(refused?.exit == .recipe && refused?.what.contains("bf16") == true, "\(String(describing: refused))")
    }
}
