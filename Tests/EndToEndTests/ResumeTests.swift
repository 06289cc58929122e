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
        try SampleTokens.write(to: folder)
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
        try Self.trainInPieces("goes on from step", on: "cpu", in: folder)
    }

    @Test("classifiers of rows: losses with memories, peers, generations and averages", arguments: devices)
    func rows(_ device: String) throws {
        let folder = try ScratchFolder()
        let rows = (0..<60).map { "\($0 * 7 % 11),\($0 * 5 % 13),\($0 * 3 % 17),\($0 * 7 % 11 > 5 ? 1 : 0)" }
        try folder.write((["a,b,c,kind"] + rows).joined(separator: "\n") + "\n", to: "rows.csv")
        try folder.write(
            """
            data: {kind: csv, path: rows.csv, label: kind, scale: 0.0625, test: {every: 4}}
            teacher: {model: {kind: mlp, layers: [3, 8, 2]}}
            student: {model: {kind: mlp, layers: [3, 4, 2]}, save-dtype: bf16}
            arms:
              contrast: {objective: [{loss: cross-entropy}, {loss: crd, negatives: 10}], balance: {kind: dynamic-average}}
              parts: {objective: [{loss: hinton}, {loss: rkd}], balance: {kind: uncertainty}, train: {micro-batch: 3}}
              peers: {scheme: {kind: mutual, refresh: 3}, objective: [{loss: cross-entropy}, {loss: forward-kl}]}
              again: {scheme: {kind: born-again, generations: 3}, objective: [{loss: hinton}]}
              average: {scheme: {kind: moving-average, hidden: 0.2}, objective: [{loss: cross-entropy}, {loss: forward-kl}]}
              clients: {scheme: {kind: federated, method: fedavg, clients: 4, rounds: 30}, objective: [{loss: cross-entropy}]}
            train: {epochs: \(device == "cpu" ? 300 : 40), batch: 8, optimizer: {kind: adam, lr: 0.01}, schedule: {kind: cosine}}
            checkpoint: {steps: 100}
            """, to: "r.yaml")
        try Self.trainInPieces("goes on from epoch", on: device, in: folder)
    }

    @Test("classifiers of pictures: running statistics, augmentation, pictures that stay on disk", arguments: devices)
    func pictures(_ device: String) throws {
        let folder = try ScratchFolder()
        try SamplePictures(channels: 3, height: 10, width: 8).writeFolder(folder, "data", train: 40, test: 12)
        try folder.write(
            """
            data: {kind: images, path: data, height: 10, width: 8, augment: {crop: 1, flip: 0.5}, strong-augment: {crop: 1, rand-augment: {cutout: 0.5}}, memory: 0}
            teacher: {model: {kind: resnet, depth: 8}}
            student: {model: {kind: resnet, depth: 8}}
            arms:
              exits: {objective: [{loss: be-your-own-teacher}]}
              maps: {objective: [{loss: at}, {loss: hinton, view: strong}], train: {micro-batch: 5}}
            train: {epochs: \(device == "cpu" ? 30 : 12), batch: 16, optimizer: {kind: sgd, lr: 0.02, momentum: 0.9}}
            """, to: "r.yaml")
        try Self.trainInPieces("goes on from epoch", on: device, in: folder)
    }

    @Test("recommenders", arguments: devices)
    func recommenders(_ device: String) throws {
        let folder = try ScratchFolder()
        let synth = try Child.retort(
            ["synth", "interactions", "ratings.csv", "--users", "60", "--items", "80", "--per-user", "16"],
            in: folder.path)
        #expect(synth.exit == 0, "\(synth.stderr)")
        try folder.write(
            """
            data: {kind: interactions, path: ratings.csv, user: userId, item: movieId, rating: rating, timestamp: timestamp, threshold: 3, test: {split: every, n: 4}}
            teacher: {model: {kind: matrix-factorization, dimension: 16, bias: item}}
            student: {model: {kind: matrix-factorization, dimension: 3}}
            arms: {student: {objective: [{loss: bpr}, {loss: preference-consistent, top: 20, experts: 2, rank-by: student, refresh: 4}]}}
            train: {epochs: \(device == "cpu" ? 80 : 20), batch: 64, optimizer: {kind: adam, lr: 0.02}}
            """, to: "r.yaml")
        try Self.trainInPieces("goes on from epoch", on: device, in: folder)
    }

    @Test("encoders", arguments: devices)
    func encoders(_ device: String) throws {
        let folder = try ScratchFolder()
        let letters = try folder.writeLetterTeacher()
        let rows = (0..<40).map { row in
            (0..<4).map { letters[(row * 5 + $0 * 7) % 26] }.joined() + "\t\(row % 2 == 0 ? "even" : "odd")\n"
        }
        try folder.write("text\tclass\n" + rows.joined(), to: "rows.tsv")
        try folder.write(
            """
            data: {kind: labelled-texts, path: rows.tsv, label: class, test: {every: 4}}
            teacher: {path: teacher, train: {steps: \(device == "cpu" ? 300 : 60)}}
            student: {model: {kind: bert, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 32}, save-dtype: bf16}
            arms:
              student: {objective: [{loss: hinton}, {loss: embedding-mse}]}
              half: {objective: [{loss: hinton}], train: {steps: \(device == "cpu" ? 400 : 80), dtype: bf16}}
            train: {steps: \(device == "cpu" ? 800 : 150), batch: 8, optimizer: {kind: adamw, lr: 0.003}}
            """, to: "r.yaml")
        try Self.trainInPieces("goes on from step", on: device, in: folder)
    }

    @Test("a student that writes to prompts without answers", arguments: devices)
    func prompts(_ device: String) throws {
        let folder = try ScratchFolder()
        let tokenizer = Project.root + "/Tests/Fixtures/tokenizers/stories260K"
        try folder.write((1...20).map { "How many after \($0)?\n" }.joined(), to: "prompts.txt")
        let sizes = "{kind: llama, hidden: 16, intermediate: 32, layers: 1, heads: 2, positions: 64}"
        try folder.write(
            """
            data: {kind: text, path: prompts.txt, format: lines, test: {every: 5}, tokenizer: \(tokenizer)}
            student: {model: \(sizes)}
            arms: {a: {objective: [{loss: cross-entropy}]}}
            train: {steps: 20, batch: 4, optimizer: {kind: adamw, lr: 0.01}}
            """, to: "teacher.yaml")
        let teacher = try Child.retort(["train", "teacher.yaml", "--device", "cpu", "--output", "t"], in: folder.path)
        #expect(teacher.exit == 0, "\(teacher.stderr)")
        try folder.write(
            """
            data: {kind: text, path: prompts.txt, format: prompt-lines, test: {every: 5}, tokenizer: \(tokenizer)}
            teacher: {path: t/a/seed-0/final}
            student: {model: \(sizes)}
            arms:
              texts: {objective: [{loss: cross-entropy}], rollouts: {kind: teacher, max-new-tokens: 6}}
              minillm: {objective: [{loss: minillm}], rollouts: {kind: mixed, collect: 8, epochs: 2, max-new-tokens: 6}}
            train: {steps: \(device == "cpu" ? 200 : 40), batch: 4, optimizer: {kind: adamw, lr: 0.01}}
            answers: {max-new-tokens: 6}
            """, to: "r.yaml")
        try Self.trainInPieces("goes on from step", on: device, in: folder)
    }

    /// Stops a training again and again, and compares it with one that nobody stopped.
    /// - Parameter words: what is said where it goes on.
    private static func trainInPieces(_ words: String, on device: String, in folder: ScratchFolder) throws {
        let run = try Child.retort(["train", "r.yaml", "--device", device, "--output", "whole"], in: folder.path)
        #expect(run.exit == 0, "\(run.stderr.suffix(2000))")
        // Each piece is a little longer than the last, so that the end comes however slow the machine is.
        let child = try Child.shell(
            """
            for i in $(seq 1 60); do
              timeout --foreground --preserve-status -s INT $(awk "BEGIN {print 0.2 + 0.1 * $i}") "$RETORT" train r.yaml --device \(device) --output parts 2> piece.txt
              code=$?
              cat piece.txt >&2
              # 130: the signal came before the program listened. 69: PoCL's compiler removes its files when one comes while it works.
              [ $code -eq 75 ] || [ $code -eq 130 ] || { [ $code -eq 69 ] && grep -q "rename temporary" piece.txt; } || break
            done
            echo "$i pieces"; exit $code
            """, in: folder.path)
        #expect(child.exit == 0, "\(child.stderr.suffix(2000))")
        #expect(child.stderr.contains(words), "\(child.stdout)")
        let (whole, parts) = (try kept("whole", in: folder), try kept("parts", in: folder))
        #expect(Set(parts.keys) == Set(whole.keys), "no state is left: \(parts.keys)")
        for (name, data) in whole { #expect(parts[name] == data, "\(name)") }
    }

    @Test("a language model's training goes on from the step it was stopped after, bit for bit", arguments: devices)
    func languageModel(_ device: String) throws {
        let folder = try ScratchFolder()
        try SampleTokens.write(to: folder)
        try folder.write(
            """
            data: {kind: tokens, path: rows.safetensors}
            teacher: {model: {kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16}, train: {steps: 20}}
            student: {model: {kind: llama, hidden: 8, intermediate: 16, layers: 1, heads: 2, positions: 16}}
            arms: {student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}}
            train: {steps: 900, batch: 8, optimizer: {kind: adamw, lr: 0.01}}
            """, to: "r.yaml")
        _ = try Self.stopOnce(on: device, in: folder)
    }

    @Test("and so do adapters beside frozen weights, with the files that are saved of them", arguments: devices)
    func adapters(_ device: String) throws {
        let folder = try ScratchFolder()
        try SampleTokens.write(to: folder)
        let sizes = "kind: llama, hidden: 16, intermediate: 32, layers: 2, heads: 2, vocabulary: 24, positions: 16"
        try folder.write(
            """
            data: {kind: tokens, path: rows.safetensors}
            student: {model: {\(sizes)}}
            arms: {a: {objective: [{loss: cross-entropy}]}}
            train: {steps: 20, batch: 8, optimizer: {kind: adamw, lr: 0.01}}
            """, to: "base.yaml")
        let base = try Child.retort(["train", "base.yaml", "--device", "cpu", "--output", "base"], in: folder.path)
        #expect(base.exit == 0, "\(base.stderr)")
        try folder.write(
            """
            data: {kind: tokens, path: rows.safetensors}
            teacher: {model: {\(sizes)}, train: {steps: 20}}
            student: {path: base/a/seed-0/final, lora: {rank: 4, dropout: 0.1}, save-dtype: f16}
            arms: {student: {objective: [{loss: hinton, temperature: 2, alpha: 0.5}]}}
            train: {steps: 500, batch: 8, optimizer: {kind: adamw, lr: 0.01}}
            """, to: "r.yaml")
        let kept = try Self.stopOnce(on: device, in: folder)
        #expect(
            ["adapter/adapter_model.safetensors", "final/model.safetensors"].allSatisfy {
                kept.contains("student/seed-0/" + $0)
            }, "\(kept)")
        func config(_ run: String) throws -> Data? {
            try contents(of: folder.path(run))["student/seed-0/adapter/adapter_config.json"]
        }
        #expect(try config("parts") == config("whole") && config("whole") != nil)
    }

    /// Stops a training once, while the student learns, and compares it with one that nobody stopped.
    /// - Returns: the files that are the same.
    private static func stopOnce(on device: String, in folder: ScratchFolder) throws -> Set<String> {
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

        let (whole, parts) = (try kept("whole", in: folder), try kept("parts", in: folder))
        #expect(Set(parts.keys) == Set(whole.keys), "no state is left: \(parts.keys)")
        for (name, data) in whole { #expect(parts[name] == data, "\(name)") }
        return Set(whole.keys)
    }

    /// Models and metrics of a run.
    private static func kept(_ run: String, in folder: ScratchFolder) throws -> [String: Data] {
        try contents(of: folder.path(run)).filter { $0.key.hasSuffix(".safetensors") || $0.key == "metrics.jsonl" }
    }
}
