import Foundation
import RetortData
import RetortSupport
import TestSupport
import Testing

/// A run that a signal stopped in the middle of a training.
@Suite("Resume")
struct ResumeTests {
    private static let devices = ["cpu"] + (TestBackend.available.contains(.vector) ? ["opencl:0"] : [])

    @Test("stopped again and again, while it writes, learns and is measured, a training ends as one that was not")
    func often() throws {
        let folder = try ScratchFolder()
        try Self.writeRows(to: folder)
        try folder.write(
            """
            data: {kind: tokens, path: rows.safetensors}
            teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}, train: {steps: 20}}
            student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 16}}
            answers: {max-new-tokens: 8, prompt-tokens: 2}
            arms:
              replay: {objective: [{loss: skew-kl}], rollouts: {kind: replay, capacity: 12, threshold: 0.6, check-every: 3, held-out: 5, max-new-tokens: 8, prompt-tokens: 3}}
              pairs: {objective: [{loss: distillm2}], rollouts: {kind: pairs, collect: 16, epochs: 2, max-new-tokens: 8, prompt-tokens: 3}}
            train: {steps: 2000, batch: 8, optimizer: {kind: adamw, lr: 0.001}}
            """, to: "r.yaml")
        #expect(
            try Child.retort(["train", "r.yaml", "--device", "cpu", "--output", "whole"], in: folder.path).exit == 0)
        // Each piece is a little longer than the last, so that the end comes however slow the machine is.
        let child = try Child.shell(
            """
            for i in $(seq 1 60); do
              timeout --foreground --preserve-status -s INT $(awk "BEGIN {print 0.2 + 0.1 * $i}") "$RETORT" train r.yaml --device cpu --output parts
              code=$?
              # 130: the signal came before the program listened.
              [ $code -eq 75 ] || [ $code -eq 130 ] || break
            done
            echo "$i pieces"; exit $code
            """, in: folder.path)
        #expect(child.exit == 0, "\(child.stderr.suffix(2000))")
        #expect(child.stderr.contains("goes on from step"), "\(child.stdout)")
        let (whole, parts) = (try Self.kept("whole", in: folder), try Self.kept("parts", in: folder))
        #expect(Set(parts.keys) == Set(whole.keys))
        for (name, data) in whole { #expect(parts[name] == data, "\(name)") }
    }

    @Test("a language model's training goes on from the step it was stopped after, bit for bit", arguments: devices)
    func languageModel(_ device: String) throws {
        let folder = try ScratchFolder()
        try Self.writeRows(to: folder)
        try folder.write(
            """
            data: {kind: tokens, path: rows.safetensors}
            teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}, train: {steps: 20}}
            student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 16}}
            arms: {student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}}
            train: {steps: 900, batch: 8, optimizer: {kind: adamw, lr: 0.01}}
            """, to: "r.yaml")
        func train(_ output: String, stopAfter: String? = nil) throws -> Child {
            try Child.retort(
                ["train", "r.yaml", "--device", device, "--output", output], in: folder.path, stopAfter: stopAfter)
        }
        #expect(try train("whole").exit == 0)
        let stopped = try train("parts", stopAfter: "teacher seed 0: perplexity")
        #expect(stopped.exit == ExitCode.stopped.rawValue && stopped.stderr.contains("after step"), "\(stopped.stderr)")
        let states = try contents(of: folder.path("parts")).keys.filter { $0.contains("checkpoints/step-") }
        #expect(states.count == 1, "\(states)")
        let again = try train("parts")
        #expect(again.exit == 0 && again.stderr.contains("goes on from step"), "\(again.stderr)")

        let (whole, parts) = (try Self.kept("whole", in: folder), try Self.kept("parts", in: folder))
        #expect(Set(parts.keys) == Set(whole.keys), "no state is left: \(parts.keys)")
        for (name, data) in whole { #expect(parts[name] == data, "\(name)") }
    }

    private static func writeRows(to folder: ScratchFolder) throws {
        func rows(_ numbers: Range<Int>) -> [Int16] {
            numbers.flatMap { row in (0..<10).map { Int16((row * 7 + $0 * (1 + row % 5)) % 24) } }
        }
        try SafeTensorsWriter.write(
            path: folder.path("rows.safetensors"),
            tensors: [("train", rows(0..<40)), ("test", rows(40..<56))].map { name, values in
                (
                    declaration: .init(name: name, type: .int16, shape: [values.count / 10, 10]),
                    bytes: values.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
                )
            })
    }

    /// Models and metrics of a run.
    private static func kept(_ run: String, in folder: ScratchFolder) throws -> [String: Data] {
        try contents(of: folder.path(run)).filter { $0.key.hasSuffix(".safetensors") || $0.key == "metrics.jsonl" }
    }
}
