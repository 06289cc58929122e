import Foundation
import RetortData
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortConformance

/// The golden runner must be able to fail: each test breaks a copy of a suite in one place and expects to be told.
@Suite("Golden failures")
struct GoldenFailureTests {
    /// A copy of one suite, to be broken.
    final class Copy {
        private let folder: ScratchFolder
        private let suite: String
        var json: String
        var data: Data?

        init(_ suite: String) throws {
            self.suite = suite
            folder = try ScratchFolder()
            let source = Project.golden(suite)
            json = try String(contentsOfFile: source + ".json", encoding: .utf8)
            data = try? Data(contentsOf: URL(fileURLWithPath: source + ".safetensors"))
            let group = suite.split(separator: "/")[0]
            try FileManager.default.createDirectory(
                atPath: folder.path(String(group)), withIntermediateDirectories: false)
        }

        /// Replaces the first occurrence.
        func replace(_ old: String, _ new: String) throws {
            let range = try #require(json.range(of: old))
            json.replaceSubrange(range, with: new)
        }

        /// Overwrites one element of a float32 tensor.
        func set(_ tensor: String, _ index: Int, _ change: (Float) -> Float) throws {
            let stored = try SafeTensors(path: Project.golden(suite) + ".safetensors").tensor(tensor)
            var bytes = try #require(data)
            let at = stored.fileOffset + 4 * index
            let old = bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: at, as: Float.self) }
            withUnsafeBytes(of: change(old)) { bytes.replaceSubrange(at..<at + 4, with: $0) }
            data = bytes
        }

        func run(_ caseName: String) throws -> GoldenResult {
            try folder.write(json, to: suite + ".json")
            try data?.write(to: URL(fileURLWithPath: folder.path(suite + ".safetensors")))
            let run = try GoldenRun(
                GoldenFolder(folder.path), caseName: caseName, on: [GoldenBackend(try TestBackend.cpu.device())])
            return try #require(try run.run().first)
        }

        /// What is wrong with a case, in words; empty when it passes.
        func failures(_ caseName: String) throws -> String {
            guard case .failed(let failures) = try run(caseName).outcome else { return "" }
            return failures.map(\.description).joined(separator: "\n")
        }
    }

    @Test("an untouched copy passes")
    func untouched() throws {
        #expect(try Copy("ops/linear").failures("2d") == "")
        #expect(try Copy("losses/hinton_kd").failures("T4_a0.9") == "")
        #expect(try Copy("misc/schedules").failures("linear") == "")
    }

    @Test("one wrong expected value is found and named", arguments: ["out/y", "grad/x", "grad/weight", "grad/bias"])
    func wrongValue(_ name: String) throws {
        let copy = try Copy("ops/linear")
        try copy.set("2d/" + name, 2) { $0 + 1e-3 }
        let failures = try copy.failures("2d")
        #expect(failures.hasPrefix(name + ": 1 of "), "\(failures)")
        #expect(failures.contains("worst at [") && failures.contains("tolerance"))
        #expect(try copy.failures("3d") == "")
    }

    @Test("a wrong non-finite value is found", arguments: [Float.nan, .infinity, 0])
    func wrongKind(_ value: Float) throws {
        let copy = try Copy("ops/softmax")
        let tensors = try SafeTensors(path: Project.golden("ops/softmax.safetensors")).floats("T1_masked/out/ly")
        let masked = try #require(tensors.firstIndex(of: -.infinity))
        try copy.set("T1_masked/out/ly", masked) { _ in value }
        #expect(try copy.failures("T1_masked").contains("out/ly: 1 of"))
    }

    @Test("a wrong upstream gradient is found")
    func wrongUpstream() throws {
        let copy = try Copy("ops/linear")
        try copy.set("2d/cot/y", 0) { $0 + 1 }
        #expect(try copy.failures("2d").contains("grad/x"))
    }

    @Test("a wrong scalar is found, even where the stored float32 is right")
    func wrongScalar() throws {
        let copy = try Copy("losses/hinton_kd")
        try copy.replace("\"scalars\": {\n    \"loss\": ", "\"scalars\": {\n    \"loss\": 1")
        #expect(try copy.failures("T0.5_a0.5").contains("scalars/loss"))
    }

    @Test(
        "what the runner does not know fails",
        arguments: [
            (
                "ops/linear", "2d", "\"bias\": true", "\"bias\": true, \"alpha\": 2",
                "the parameter 'alpha' is not known"
            ),
            ("ops/linear", "2d", "\"bias\": true", "\"bias\": false", "the parameter bias is wrong"),
            ("ops/linear", "2d", "\"bias\": {", "\"offset\": {", "the parameter bias is wrong"),
            ("ops/linear", "nobias", "\"name\": \"nobias\"", "\"name\": \"nobias\", \"kind\": 1", "kind"),
            (
                "ops/embedding", "a", "\"padding_idx\": null", "\"padding_idx\": null, \"scale\": true",
                "the parameter 'scale' is not known"
            ),
            ("losses/gjsd", "beta0_T1_lab", "\"batchmean\"", "\"median\"", "a value that is not known"),
            (
                "misc/optimizers", "sgd", "\"optimizer\": \"SGD\"", "\"optimizer\": \"Lion\"",
                "a value that is not known"
            ),
            (
                "misc/optimizers", "sgd", "\"lr\": 0.1", "\"lr\": 0.1, \"maximize\": true",
                "the parameter 'maximize' is not known"
            ),
            (
                "misc/schedules", "linear", "\"kwargs\": {}", "\"kwargs\": {\"floor\": 1}",
                "the parameter 'floor' is not known"
            ),
            ("misc/schedules", "wavy", "\"name\": \"linear\"", "\"name\": \"wavy\"", "a value that is not known"),
        ])
    func unknown(_ suite: String, _ name: String, _ old: String, _ new: String, _ message: String) throws {
        let copy = try Copy(suite)
        try copy.replace(old, new)
        let failures = try copy.failures(name)
        #expect(failures.contains(message), "\(failures)")
    }

    @Test("a result that is not computed fails")
    func missingResults() throws {
        let output = try Copy("ops/linear")
        try output.replace("\"out\": {\n    \"y\"", "\"out\": {\n    \"z\"")
        let failures = try output.failures("2d")
        #expect(
            failures.contains("out/z: was not computed") && failures.contains("out/y: was computed, but"), "\(failures)"
        )

        let input = try Copy("ops/linear")
        try input.replace(
            "\"x\": {\n     \"tensor\": \"2d/in/x\"",
            #""mask": {"tensor": "2d/in/x", "shape": [5, 7], "dtype": "F32"}, "#
                + "\"x\": {\n     \"tensor\": \"2d/in/x\""
        )
        #expect(try input.failures("2d").contains("the input 'mask' is not known"))

        let gradient = try Copy("ops/softmax")
        try gradient.replace("\"grad\": {\n    \"x\"", "\"grad\": {\n    \"w\"")
        #expect(try gradient.failures("T0.5_r5c10") != "")
    }

    @Test("a bound that is missing or a shape that lies fails")
    func missingBounds() throws {
        let bound = try Copy("ops/linear")
        try bound.replace("\"out/y\"", "\"out/q\"")
        #expect(try bound.failures("2d").contains("out/q: has an error bound"))

        let shape = try Copy("ops/linear")
        try shape.replace("      5,\n      7\n", "      7,\n      5\n")
        #expect(try shape.failures("2d").contains("the case says"))
    }

    @Test("a case that compares nothing fails")
    func nothing() throws {
        let copy = try Copy("ops/reductions")
        copy.json = #"""
            {"family": "reductions", "file": "reductions.safetensors", "cases": [{"name": "none", "in": {
             "x": {"tensor": "all/in/x", "shape": [3, 7, 33], "dtype": "F32"}}}]}
            """#
        #expect(try copy.failures("none") == "nothing was compared")
    }

    @Test("a family that is not built is skipped, case by case, and its tensors are not read")
    func notBuilt() throws {
        let folder = try ScratchFolder()
        try FileManager.default.createDirectory(atPath: folder.path("ops"), withIntermediateDirectories: false)
        try folder.write(
            #"{"family": "warp", "file": "absent.safetensors", "cases": [{"name": "a"}, {"name": "b"}]}"#,
            to: "ops/warp.json")
        try folder.write(#"{"doc": "a table"}"#, to: "ops/table.json")
        let results = try GoldenRun(GoldenFolder(folder.path), on: [GoldenBackend(try TestBackend.cpu.device())]).run()
        #expect(results.map(\.name) == ["all", "a", "b"])
        #expect(GoldenReport.closingLine(results) == "0 passed, 0 failed, 3 skipped")
    }

    @Test("the report names case, backend, tensor, place, values, tolerance and the command")
    func report() throws {
        let copy = try Copy("ops/linear")
        try copy.set("2d/out/y", 4) { $0 + 1 }
        let result = try copy.run("2d")
        let text = GoldenReport.text(
            try #require(try GoldenTests.fixtures().suites(named: "linear").first), [result], verbose: false)
        #expect(
            text.hasPrefix(
                "ops/linear: cpu 0 passed, 1 failed, 0 skipped\n  FAILED 2d on cpu\n"
                    + "    out/y: 1 of 15 differ; worst at [1, 1]: "
            ))
        #expect(text.contains("retort test-ops golden --suite ops/linear --case 2d --device cpu"))
        let json = GoldenReport.json(try GoldenTests.fixtures(), [result])
        #expect(json["failed"] == .int(1) && json["passed"] == .int(0))
    }

    @Test("a folder that is not there, a suite or a case of another name")
    func wrongNames() throws {
        let folder = try GoldenTests.fixtures()
        #expect(thrown(RetortError.self) { _ = try GoldenFolder("/nonexistent") }?.exit == .missingInput)
        #expect(
            thrown(RetortError.self) { _ = try GoldenRun(folder, suite: "sofmax", on: []) }?.help.contains("softmax")
                == true)
        #expect(
            thrown(RetortError.self) { _ = try GoldenRun(folder, suite: "linear", caseName: "4d", on: []) }?.exit
                == .usage)
    }

    @Test("a suite may not name a file elsewhere")
    func elsewhere() throws {
        let copy = try Copy("ops/linear")
        try copy.replace("\"file\": \"linear.safetensors\"", "\"file\": \"../linear.safetensors\"")
        #expect(thrown(RetortError.self) { _ = try copy.run("2d") }?.exit == .badData)
    }
}
