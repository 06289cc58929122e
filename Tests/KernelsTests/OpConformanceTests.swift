import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortConformance

@Suite("Ops against their references")
struct OpConformanceTests {
    @Test("every sample on every backend", arguments: OpDescription.all.map(\.name))
    func conforms(name: String) throws {
        let targets = try TestBackend.available.map { OpTarget(try $0.device()) }
        try checkOps(OpSelection(op: name), on: targets) { result in
            if let text = OpReport.failureText(result) { Issue.record("\(text)") }
        }
    }

    /// Where there is a faster kernel nothing else would try them.
    @Test("OpenBLAS's products")
    func conformsWithOpenBLAS() throws {
        let target = OpTarget(Device(.cpu(try CPUDevice(prefersOpenBLAS: true))))
        try checkOps(OpSelection(op: "matmul"), on: [target]) { result in
            if let text = OpReport.failureText(result) { Issue.record("\(text)") }
        }
    }

    @Test("every gradient on every backend", arguments: Set(GradientDescription.all.map(\.op)).sorted())
    func gradients(op: String) throws {
        let targets = try TestBackend.available.map { OpTarget(try $0.device()) }
        try checkGradients(OpSelection(op: op), on: targets) { result in
            if let text = OpReport.failureText(result) { Issue.record("\(text)") }
        }
    }

    @Test("a text that no sample contains is no check that passes")
    func nothingChosen() throws {
        let target = OpTarget(try TestBackend.cpu.device())
        for tiny in [false, true] {
            let selection = OpSelection(op: "softmax", sample: "zzz", tiny: tiny)
            let error = thrown(RetortError.self) { try checkOps(selection, on: [target]) { _ in } }
            #expect(error?.exit == .usage && error?.what == "no sample contains 'zzz'", "\(String(describing: error))")
        }
        let gradients = thrown(RetortError.self) {
            try checkGradients(OpSelection(sample: "zzz"), on: [target]) { _ in }
        }
        #expect(gradients?.exit == .usage)
        var count = 0
        let sample = try #require(OpDescription.all[0].samples.first { $0.size != .perf })
        try checkOps(OpSelection(op: OpDescription.all[0].name, sample: sample.text), on: [target]) { _ in count += 1 }
        #expect(count == 1)
    }

    @Test("samples have names of their own")
    func namesAreUnique() {
        for description in OpDescription.all {
            let texts = description.samples.map(\.text)
            #expect(Set(texts).count == texts.count, "\(description.name): \(duplicates(texts))")
            #expect(!texts.isEmpty)
        }
        let gradients = GradientDescription.all.map { "\($0.op) \($0.sample)" }
        #expect(Set(gradients).count == gradients.count, "\(duplicates(gradients))")
    }

    private func duplicates(_ texts: [String]) -> [String] {
        Dictionary(grouping: texts) { $0 }.filter { $0.value.count > 1 }.keys.sorted()
    }

    @Test("every op has a description, with tiny samples")
    func everyOpIsDescribed() throws {
        let declared = try matches(of: #/struct (\w+): Op \{/#, in: "Sources/Kernels/Ops")
        #expect(declared.count >= 30)
        #expect(Set(OpDescription.all.map(\.type)) == declared)
        for description in OpDescription.all {
            #expect(description.samples.contains { $0.size == .tiny }, "\(description.name) has nothing for Oclgrind")
        }
    }

    @Test("every tensor function with a vjp has a gradient check")
    func everyFunctionIsChecked() throws {
        let folder = repository.appendingPathComponent("Sources/Runtime/Tensor")
        var recorded: Set<String> = []
        for file in try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil) {
            var function = ""
            for line in try String(contentsOf: file, encoding: .utf8).split(separator: "\n") {
                if let match = line.firstMatch(of: #/func (\w+)/#) { function = String(match.1) }
                if line.contains("Tensor.recorded(") { recorded.insert(function) }
            }
        }
        // One private function behind softmax and logSoftmax, one behind every fused loss.
        #expect(recorded.remove("fusedLoss") != nil)
        let checked = Set(GradientDescription.all.map(\.op))
        #expect(recorded.isSubset(of: checked), "unchecked: \(recorded.subtracting(checked).sorted())")
        #expect(checked.isSuperset(of: ["crossEntropy", "divergence", "softmax", "logSoftmax"]))
    }

    private var repository: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
    }

    private func matches(of pattern: Regex<(Substring, Substring)>, in folder: String) throws -> Set<String> {
        var found: Set<String> = []
        let url = repository.appendingPathComponent(folder)
        for file in try FileManager.default.contentsOfDirectory(at: url, includingPropertiesForKeys: nil) {
            let text = try String(contentsOf: file, encoding: .utf8)
            found.formUnion(text.matches(of: pattern).map { String($0.1) })
        }
        return found
    }
}

/// The checker itself: each kind of fault must be seen. Faults are made with ops, so they look the same on every backend.
@Suite("The checker sees faults")
struct CheckerTests {
    /// y = 2 x over a pitched y, with `fault` run behind it.
    private func problems(
        on backend: TestBackend, expected: [Float]? = nil, _ fault: @escaping (OperandViews) throws -> Void
    ) throws -> [String] {
        let x: [Float] = [1, -2, 3, 4, 5, 6]
        var c = OpCase()
        c.input("x", x, [2, 3])
        c.output("y", [2, 3], .padded(2))
        c.call { v in
            try run(Scale(2), .init(x: v["x"], y: .write(v["y"])), on: v.device)
            try fault(v)
        }
        return OpCheck(c, expecting: ["y": .exact(expected ?? x.map { 2 * $0 })], on: try backend.device()).problems
    }

    @Test("nothing wrong, nothing reported", arguments: TestBackend.available)
    func sound(backend: TestBackend) throws {
        #expect(try problems(on: backend) { _ in } == [])
    }

    @Test("a wrong number", arguments: TestBackend.available)
    func wrongNumber(backend: TestBackend) throws {
        let found = try problems(on: backend, expected: [2, -4, 6, 8, 10.000001, 12]) { _ in }
        #expect(found.count == 1 && found[0].contains("worst at (1, 1)"), "\(found)")
    }

    @Test("a write into the padding, in front and behind", arguments: TestBackend.available)
    func strayWrite(backend: TestBackend) throws {
        for distance in [3, -1, 8 + 63, -64] {
            let found = try problems(on: backend) { v in
                let stray = View(storage: v["y"].storage, offset: v["y"].offset + distance, shape: [1])
                try run(Fill(7), .init(y: stray), on: v.device)
            }
            #expect(
                found.contains { $0.contains("outside the view, at memory element \(distance)") },
                "\(distance): \(found)")
        }
    }

    @Test("an element that was never written", arguments: TestBackend.available)
    func unwritten(backend: TestBackend) throws {
        var c = OpCase()
        c.output("y", [5])
        c.call { v in try run(Fill(1), .init(y: v["y"].slice(0..<4)), on: v.device) }
        let found = OpCheck(c, expecting: ["y": .exact([Float](repeating: 1, count: 5))], on: try backend.device())
            .problems
        #expect(found.contains { $0.contains("1 of 5 elements were never written") }, "\(found)")
        // Even where NaN is what is wanted.
        let nan = OpCheck(c, expecting: ["y": .exact([1, 1, 1, 1, Float.nan])], on: try backend.device()).problems
        #expect(nan.contains { $0.contains("never written") }, "\(nan)")
    }

    @Test("an input that was changed", arguments: TestBackend.available)
    func changedInput(backend: TestBackend) throws {
        let found = try problems(on: backend) { v in
            try run(Scale(1.5), .init(x: v["y"].slice(0..<1), y: .write(v["x"].slice(1..<2))), on: v.device)
        }
        #expect(found.contains { $0.contains("x: an input was changed, at memory element 3") }, "\(found)")
    }

    @Test("two runs that differ", arguments: TestBackend.available)
    func differingRuns(backend: TestBackend) throws {
        var c = OpCase()
        c.output("y", [1])
        nonisolated(unsafe) var runs: Float = 0
        c.call { v in
            runs += 1
            try run(Fill(1 + runs * 0x1p-23), .init(y: v["y"]), on: v.device)
        }
        let found = OpCheck(c, expecting: ["y": .near([Estimate(1, 1e-6)])], on: try backend.device()).problems
        #expect(found == ["y: two runs differ"])
    }

    @Test("an op that throws")
    func throwing() throws {
        var c = OpCase()
        c.output("y", [1])
        c.call { _ in throw KernelError(.operands, "no") }
        #expect(OpCheck(c, expecting: ["y": .anything], on: try TestBackend.cpu.device()).problems == ["threw: no"])
    }

    @Test("a vjp that forgets half of the gradient, scales it or moves it", arguments: TestBackend.available)
    func brokenGradient(backend: TestBackend) throws {
        func problems(_ tensor: @escaping @Sendable (Tensor) throws -> Tensor) throws -> [String] {
            let description = GradientDescription(
                "square", "5x7", [[5, 7]], tensor: { x, _ in try tensor(x[0]) }, reference: { $0[0].map { $0 * $0 } })
            return GradientCheck(description, seed: 0, on: try backend.device()).problems
        }
        #expect(try problems { try $0 * $0 } == [])
        // The right value and half the gradient: one path is off the tape.
        let half = try problems { try $0 * $0.detached }
        #expect(half.count == 1 && half[0].contains("gradient of input 0"), "\(half)")
        // The right value; the gradient is 1 % too large, or that of the wrong element.
        let scaled = try problems { try $0 * $0 + ($0 * 0.01 - $0.detached * 0.01) }
        #expect(scaled.count == 1 && scaled[0].contains("gradient of input 0"), "\(scaled)")
        let moved = try problems { x in
            let turned = try x.transposed(0, 1).reshaped([5, 7])
            return try x * x + (turned - turned.detached)
        }
        #expect(moved.count == 1 && moved[0].contains("gradient of input 0"), "\(moved)")
    }
}

/// The references themselves, at values known otherwise.
@Suite("References")
struct ReferenceTests {
    @Test("slopes are derivatives of the functions")
    func slopes() {
        for f in UnaryFunction.described {
            for x in [0.3, 0.9, 1.7, 2.4] {
                let numeric = (f.reference(x + 1e-6) - f.reference(x - 1e-6)) / 2e-6
                #expect(abs(numeric - f.referenceSlope(x)) < 1e-8 * max(1, abs(numeric)), "\(f) at \(x)")
            }
        }
    }

    @Test("divergences are 0 between equals, and their slopes are derivatives")
    func divergences() {
        let (p, q) = ([0.2, 0.5, 0.3], [0.6, 0.1, 0.3])
        for kind in DivergenceKind.allCases
        where kind != .forwardCrossEntropy && kind != .skewCrossEntropy && kind != .symmetric {
            let same = p.reduce(0) { $0 + kind.term($1, $1, logP: log($1), logQ: log($1), mix: 0.3).value }
            #expect(abs(same) < 1e-15, "\(kind)")
        }
        for kind in DivergenceKind.allCases {
            for (p, q) in zip(p, q) where p != q {
                func value(_ q: Double) -> Double { kind.term(p, q, logP: log(p), logQ: log(q), mix: 0.3).value }
                let numeric = q * (value(q + 1e-7) - value(q - 1e-7)) / 2e-7
                let slope = kind.term(p, q, logP: log(p), logQ: log(q), mix: 0.3).slope
                #expect(abs(numeric - slope) < 1e-7, "\(kind)")
            }
        }
    }

    @Test("dropout keeps the share it should")
    func keepRate() {
        let philox = Philox(seed: 3, stream: 4)
        let kept = (0..<100_000).count { UInt64(philox.word(UInt64($0))) >= UInt64(0.3 * 0x1p32) }
        // Four standard deviations of a binomial.
        #expect(abs(Double(kept) - 70_000) < 4 * (100_000 * 0.3 * 0.7).squareRoot())
    }

    @Test("random inputs have the spread they claim")
    func randomNumbers() {
        var random = RandomNumbers(seed: 0, "test")
        let x = random.normal(10_000).map(Double.init)
        let mean = x.reduce(0, +) / 10_000
        let variance = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 10_000
        #expect(abs(mean) < 0.05 && abs(variance - 1) < 0.05)
        #expect(Set(random.distinct(500)).count == 500)
        #expect(Set(random.integers(1000, -2...2)) == [-2, -1, 0, 1, 2])
    }
}
