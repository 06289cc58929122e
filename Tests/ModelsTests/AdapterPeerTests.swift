import Foundation
import RetortData
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Adapters that Retort saved, read by the library they are meant for: the same numbers as Retort's adapted model.
@Suite(
    "Adapters through PEFT",
    .enabled(if: getenv("RETORT_PYTHON") != nil, "RETORT_PYTHON names no Python with torch, transformers and peft"))
struct AdapterPeerTests {
    @Test("each kind of layer")
    func adapters() throws {
        let device = try TestBackend.cpu.device()
        let folder = try ScratchFolder()
        let cases: [(name: String, model: String, adaptation: LowRankAdaptation)] = [
            ("gpt2", "gpt2", .init(rank: 3, alpha: 1.5)),
            ("llama", "llama_gqa_untied", .init()),
            ("llama-two", "llama_gqa_untied", .init(rank: 2, alpha: 5, targets: ["q_proj", "v_proj"])),
            ("qwen2", "qwen2", .init(rank: 4)),
        ]
        for (name, source, adaptation) in cases {
            let (model, _, _) = try LowRankAdaptationTests.trained(source, adaptation, device)
            let ids = LowRankAdaptationTests.ids
            let output = try Autograd.withoutGradients { try model.forward(TokenBatch(ids, rows: 2)).logits }
            let target = folder.path(name)
            try AdapterDirectory.save(
                adaptation, of: model, base: Project.golden("models/\(source)"), to: target + "/adapter")
            try SafeTensorsWriter.write(
                path: target + "/expected.safetensors",
                tensors: [
                    (
                        .init(name: "input_ids", type: .int64, shape: [2, ids.count / 2]),
                        ids.map(Int64.init).withUnsafeBytes { Array($0) }
                    ),
                    (
                        .init(name: "output", type: .float32, shape: Array(output.shape)),
                        try output.values().withUnsafeBytes { Array($0) }
                    ),
                ])
        }
        let run = try Child.shell(
            "\"$RETORT_PYTHON\" scripts/transformers/adapters.py \"$FOLDER\"", environment: ["FOLDER": folder.path])
        #expect(run.exit == 0, "\(run.stderr.suffix(2000))")
        let lines = run.stdout.split(separator: "\n")
        #expect(lines.count == cases.count, "\(run.stdout)")
        for (line, expected) in zip(lines, cases) {
            let result = JSONCursor(try JSON.parse(Array(line.utf8), file: expected.name), file: expected.name)
            #expect(try result.member("case").string() == expected.name)
            #expect(try result.member("unused").value == .array([]) && result.member("missing").value == .array([]))
            let largest = try result.member("max_abs").double()
            #expect(try result.member("max_abs_err").double() < 2e-5 * max(1, largest), "\(line)")
            // The adapter does something there.
            #expect(try result.member("max_abs_change").double() > 1e-3 * largest, "\(line)")
        }
    }
}
