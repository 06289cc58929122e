import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Several texts side by side are the texts one by one.
@Suite("Generation in batches")
struct GenerationTests {
    private static let prompts: [[Int32]] = [[5, 9, 2, 7], [3], [11, 4], [6, 1, 8, 2, 9, 10, 3], [2, 2]]

    @Test(
        "prompts of different lengths: greedy and drawn, with ends that come at different times",
        arguments: TestBackend.fast, ["llama_gqa_untied", "mistral_swa", "gemma2", "gpt2"])
    func ragged(_ backend: TestBackend, _ name: String) throws {
        let model = try LanguageModelDirectory.load(Project.golden("models/\(name)"), on: backend.device()).model
        let samplings = [
            TokenSampling(), TokenSampling(temperature: 1, seed: 3),
            TokenSampling(temperature: 0.8, topK: 20, repetitionPenalty: 1.2, seed: 4),
        ]
        for sampling in samplings {
            let free = try model.generate(Self.prompts, WritingOptions(count: 12, sampling: sampling))
            #expect(free.allSatisfy { $0.count == 12 } && Set(free).count > 1)
            // What some of them wrote ends them: rows leave one after the other.
            let ends = Set([free[0][3], free[2][6]])
            for options in [
                WritingOptions(count: 12, sampling: sampling),
                WritingOptions(count: 12, sampling: sampling, ends: ends),
                WritingOptions(count: 12, sampling: sampling, ends: ends, cacheType: .bf16),
            ] {
                let together = try model.generate(Self.prompts, options)
                for (text, prompt) in Self.prompts.enumerated() {
                    let alone = try model.generate([prompt], options, texts: [text])[0]
                    #expect(together[text] == alone, "\(name) text \(text)")
                    // Rounded keys may lead elsewhere.
                    guard options.cacheType == nil else { continue }
                    let whole = free[text]
                    let stop = whole.firstIndex(where: options.ends.contains).map { $0 + 1 } ?? whole.count
                    #expect(alone == Array(whole.prefix(stop)))
                }
            }
        }
        #expect(try model.generate([[Int32]](), WritingOptions(count: 3)).isEmpty)
        #expect(try model.generate(Self.prompts, WritingOptions(count: 0)) == [[], [], [], [], []])
    }

    @Test("a text ends where the model has no position left, its neighbours go on")
    func positions() throws {
        let model = try LanguageModelDirectory.load(
            Project.golden("models/llama_gqa_untied"), on: TestBackend.cpu.device()
        ).model
        let long = (0..<(model.maxPositions - 2)).map { Int32($0 % 40) }
        let written = try model.generate([long, [1, 2]], WritingOptions(count: 8))
        #expect(written.map(\.count) == [3, 8])
    }
}

/// What a token of a decoder asks of its device.
@Suite("Launches of a token")
struct TokenLaunchTests {
    @Test("norms, their products and the gate take one each where tokens are few", arguments: TestBackend.available)
    func fused(_ backend: TestBackend) throws {
        let plan = PlannedDevice(like: try backend.device().compute)
        let config: JSON = [
            "model_type": "llama", "vocab_size": 512, "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": 3, "num_attention_heads": 2, "max_position_embeddings": 96,
            "tie_word_embeddings": true,
        ]
        let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
        _ = try model.materialize(on: Device(.planned(plan)), seed: nil, trains: false)
        let cache = KeyValueCache(layers: model.layerCount)
        /// How often each op runs while these tokens are read.
        func counts(_ tokens: Int) throws -> [String: Int] {
            let first = plan.operationCount
            _ = try Autograd.withoutGradients {
                try model.forward(
                    TokenBatch([Int32](repeating: 1, count: tokens), rows: 1), cache: cache, capturing: [])
            }
            return plan.operations.dropFirst(first).reduce(into: [:]) { $0[$1.name, default: 0] += 1 }
        }
        let prompt = try counts(9)
        #expect(prompt["rms_norm"] == 7 && prompt["swiglu"] == 3 && prompt["normed_product"] == nil)
        let token = try counts(1)
        #expect(token["normed_product"] == 6 && token["rotary_append"] == 3)
        // The last norm; two products of a layer, and the head.
        #expect(token["rms_norm"] == 1 && token["matmul"] == 7 && token["swiglu"] == nil)
    }
}

@Suite("Files of answers")
struct AnswerFileTests {
    private struct Setting {
        let folder: ScratchFolder
        let writer: TextGenerator

        init() throws {
            folder = try ScratchFolder()
            let config: JSON = [
                "model_type": "llama", "vocab_size": 512, "hidden_size": 16, "intermediate_size": 32,
                "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 96,
                "initializer_range": 0.3, "tie_word_embeddings": true,
            ]
            let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
            _ = try model.materialize(on: TestBackend.cpu.device(), seed: 5)
            writer = try TextGenerator(
                model, try Tokenizer.load(Project.root + "/Tests/Fixtures/tokenizers/stories260K"), from: folder.path)
            let lines = (1...7).map { "{\"prompt\": \"Once \($0)\", \"level\": \($0)}\n" }
            try folder.write(lines.joined(), to: "prompts.jsonl")
        }

        func write(
            _ output: String, seed: UInt64 = 1, batch: Int = 3, samples: Int = 1, cacheType: DType? = nil,
            input: String = "prompts.jsonl", onBad: BadLinePolicy = .error, progress: (Int) -> Void = { _ in }
        ) throws -> Int {
            let source = try TextSource.open([folder.path(input)], TextOptions(keep: ["level"], onBadLine: onBad))
            let options = WritingOptions(
                count: 6, sampling: TokenSampling(temperature: 1, seed: seed), ends: writer.ends,
                cacheType: cacheType)
            let answers = try AnswerFile(
                writer, source, samples: samples, options: options, model: "m", onBadPrompt: onBad)
            return try answers.write(to: folder.path(output), batch: batch, onProgress: progress)
        }

        func text(_ name: String) throws -> String { try String(contentsOfFile: folder.path(name), encoding: .utf8) }
    }

    @Test("answers in the prompts' order, in the form that training reads; the batch does not matter")
    func form() throws {
        let setting = try Setting()
        var seen: [Int] = []
        #expect(try setting.write("a.jsonl") { seen.append($0) } == 0)
        #expect(seen == [3, 6, 7])
        #expect(try setting.write("b.jsonl", batch: 1) == 0)
        #expect(try setting.text("a.jsonl") == setting.text("b.jsonl"))
        let lines = try setting.text("a.jsonl").split(separator: "\n").map { try JSON.parse(String($0), file: "a") }
        #expect(lines.count == 7 && lines.map { $0["level"] } == (1...7).map { .int($0) })
        #expect(lines.allSatisfy { $0["finish"] == "length" } && lines[2]["prompt"] == "Once 3")
        let source = try TextSource.open([setting.folder.path("a.jsonl")])
        #expect(source.format == .completion && source.count == 7)
    }

    @Test(
        "several answers to each prompt: one behind the other, each its own, whatever the batch; a stopped file goes on"
    )
    func samples() throws {
        let setting = try Setting()
        #expect(try setting.write("three.jsonl", batch: 4, samples: 3) == 0)
        let text = try setting.text("three.jsonl")
        let lines = text.split(separator: "\n").map(String.init)
        let levels = try lines.map { try JSON.parse($0, file: "a")["level"] }
        #expect(levels == (0..<21).map { .int($0 / 3 + 1) } && Set(lines).count > 14)
        // Cut in the middle of the fourth prompt's answers.
        try setting.folder.write(lines[..<10].map { $0 + "\n" }.joined(), to: "cut.jsonl")
        try FileManager.default.copyItem(
            atPath: setting.folder.path("three.jsonl.state.json"), toPath: setting.folder.path("cut.jsonl.state.json"))
        #expect(try setting.write("cut.jsonl", batch: 2, samples: 3) == 10)
        #expect(try setting.text("cut.jsonl") == text)
        let other = thrown(RetortError.self) { _ = try setting.write("three.jsonl", samples: 2) }
        #expect(other?.exit == .cannotCreate && other?.why.contains("samples") == true, "\(String(describing: other))")
    }

    @Test("a prompt that the model cannot read ends it before anything is written, or is left out")
    func longPrompts() throws {
        let setting = try Setting()
        let whole = try {
            _ = try setting.write("all.jsonl")
            return try setting.text("all.jsonl").split(separator: "\n").map(String.init)
        }()
        let prompts = try setting.text("prompts.jsonl").split(separator: "\n").map(String.init)
        let long = "{\"prompt\": \"\(String(repeating: "word ", count: 900))\", \"level\": 0}"
        try setting.folder.write(
            (prompts[..<3] + [long, "no JSON"] + prompts[3...]).joined(separator: "\n"), to: "long.jsonl")
        let refused = thrown(RetortError.self) { _ = try setting.write("a.jsonl", input: "long.jsonl") }
        #expect(refused?.exit == .badData && refused?.location?.line == 5, "\(String(describing: refused))")
        try setting.folder.write((prompts[..<3] + [long] + prompts[3...]).joined(separator: "\n"), to: "one.jsonl")
        let error = thrown(RetortError.self) { _ = try setting.write("a.jsonl", input: "one.jsonl") }
        #expect(error?.location?.line == 4 && error?.help.contains("skip") == true, "\(String(describing: error))")
        #expect(!FileManager.default.fileExists(atPath: setting.folder.path("a.jsonl")))
        #expect(try setting.write("a.jsonl", input: "long.jsonl", onBad: .skip) == 0)
        let lines = try setting.text("a.jsonl").split(separator: "\n").map(String.init)
        // The numbers of the records draw: those behind the long one write something else.
        #expect(lines.count == 7 && lines[..<3] == whole[..<3])
        try (lines[..<5].joined(separator: "\n") + "\n").write(
            toFile: setting.folder.path("a.jsonl"), atomically: true, encoding: .utf8)
        #expect(try setting.write("a.jsonl", input: "long.jsonl", onBad: .skip) == 5)
        #expect(try setting.text("a.jsonl").split(separator: "\n").map(String.init) == lines)
    }

    @Test("a file that another program writes is refused, and the answers of the first are whole")
    func twoAtOnce() throws {
        let setting = try Setting()
        _ = try setting.write("alone.jsonl")
        var refused: [RetortError?] = []
        _ = try setting.write("a.jsonl") { _ in
            refused.append(thrown(RetortError.self) { _ = try setting.write("a.jsonl") })
        }
        #expect(refused.count == 3)
        #expect(refused.allSatisfy { $0?.exit == .cannotCreate && $0?.what.contains("in use") == true }, "\(refused)")
        #expect(try setting.text("a.jsonl") == setting.text("alone.jsonl"))
        // Where the answers are gone nothing says that they are there.
        try FileManager.default.removeItem(atPath: setting.folder.path("a.jsonl"))
        let gone = thrown(RetortError.self) { _ = try setting.write("a.jsonl", seed: 2) }
        #expect(gone?.what.contains("a.jsonl.state.json") == true && gone?.why.contains("seed") == true)
        #expect(gone?.help.contains("remove") == true, "\(String(describing: gone))")
        try FileManager.default.removeItem(atPath: setting.folder.path("a.jsonl.state.json"))
        #expect(try setting.write("a.jsonl", seed: 2) == 0)
    }

    @Test("a file that was cut off goes on to the same bytes; another question is refused")
    func resume() throws {
        let setting = try Setting()
        _ = try setting.write("a.jsonl")
        let whole = try setting.text("a.jsonl")
        let lines = whole.split(separator: "\n", omittingEmptySubsequences: false)
        try (lines.prefix(4).joined(separator: "\n") + "\n" + lines[4].prefix(9)).write(
            toFile: setting.folder.path("a.jsonl"), atomically: true, encoding: .utf8)
        #expect(try setting.write("a.jsonl") == 4)
        #expect(try setting.text("a.jsonl") == whole)
        #expect(try setting.write("a.jsonl") == 7, "nothing is left to do")
        let other = thrown(RetortError.self) { _ = try setting.write("a.jsonl", seed: 2) }
        #expect(other?.exit == .cannotCreate && other?.why.contains("seed") == true)
        let rounded = thrown(RetortError.self) { _ = try setting.write("a.jsonl", cacheType: .bf16) }
        #expect(rounded?.exit == .cannotCreate && rounded?.why.contains("cache") == true)
        // Files from before caches had a type are of f32.
        let state = setting.folder.path("a.jsonl.state.json")
        let known = try String(contentsOfFile: state, encoding: .utf8)
        #expect(known.contains("\"cache\": null"))
        try known.replacingOccurrences(of: "\"cache\": null", with: "\"x\": 1").write(
            toFile: state, atomically: true, encoding: .utf8)
        #expect(try setting.write("a.jsonl", cacheType: .f32) == 7)
        #expect(try setting.text("a.jsonl") == whole)
        try setting.folder.write("mine", to: "c.jsonl")
        #expect(thrown(RetortError.self) { _ = try setting.write("c.jsonl") }?.exit == .cannotCreate)
        #expect(try setting.text("c.jsonl") == "mine")
    }

    @Test("a file whose lines are not the prompts' answers is not gone on with")
    func damaged() throws {
        let setting = try Setting()
        _ = try setting.write("a.jsonl")
        let lines = try setting.text("a.jsonl").split(separator: "\n").map(String.init)
        func error(_ lines: [String]) throws -> RetortError? {
            try setting.folder.write(lines.joined(separator: "\n") + "\n", to: "a.jsonl")
            let error = thrown(RetortError.self) { _ = try setting.write("a.jsonl") }
            #expect(try setting.text("a.jsonl") == lines.joined(separator: "\n") + "\n", "nothing was changed")
            #expect(error?.exit == .badData && error?.help.contains("Remove this line") == true)
            return error
        }
        #expect(try error(Array(lines.prefix(4)) + ["junk"])?.location?.line == 5)
        #expect(try error(lines + [lines[6]])?.location?.line == 8)
        #expect(try error([lines[0]] + lines.dropFirst(2))?.location?.line == 2)
        #expect(try error([lines[0].replacing("Once 1", with: "Once 9")])?.location?.line == 1)
        #expect(try error([lines[0].replacing("completion", with: "answer")])?.location?.line == 1)
    }

    @Test("a model whose logits are not numbers writes nothing")
    func notFinite() throws {
        let setting = try Setting()
        let norm = try #require(setting.writer.model.parameters.first { $0.shape.count == 1 })
        try norm.assign([Float](repeating: 3e38, count: norm.count))
        #expect(thrown(RetortError.self) { _ = try setting.write("a.jsonl") }?.exit == .diverged)
        try norm.assign([Float](repeating: .nan, count: norm.count))
        #expect(thrown(RetortError.self) { _ = try setting.write("b.jsonl") }?.exit == .diverged)
    }

    @Test("a prompt that does not fit: its place")
    func tooLong() throws {
        let setting = try Setting()
        let long = String(repeating: "once upon a time ", count: 60)
        let lines = ["Once", long].map { "{\"prompt\": \"\($0)\", \"level\": 1}\n" }
        try setting.folder.write(lines.joined(), to: "prompts.jsonl")
        let error = thrown(RetortError.self) { _ = try setting.write("d.jsonl") }
        #expect(error?.exit == .badData && error?.location?.line == 2, "\(String(describing: error))")
        #expect(error?.help == "--on-bad-line skip leaves such records out")
    }
}
