import Foundation
import RetortSupport
import TestSupport
import Testing

/// `retort generate` as a user types it.
@Suite("retort generate")
struct GenerateTests {
    /// A tiny model with a tokenizer of as many tokens as it has.
    private func model(in folder: ScratchFolder, end: String = "2") throws -> String {
        let config = """
            {"model_type": "llama", "vocab_size": 512, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1,
             "num_attention_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": true, "eos_token_id": \(end)}
            """
        try folder.write(config, to: "config.json")
        let made = try Child.retort(["init", folder.path("model"), "--config", folder.path("config.json")])
        #expect(made.exit == 0, "\(made.stderr)")
        let tokenizer = Project.root + "/Tests/Fixtures/tokenizers/stories260K"
        for name in try FileManager.default.contentsOfDirectory(atPath: tokenizer) {
            try FileManager.default.copyItem(atPath: tokenizer + "/" + name, toPath: folder.path("model/" + name))
        }
        return folder.path("model")
    }

    private func run(_ arguments: [String]) throws -> (exit: Int32, out: String, error: String) {
        let child = try Child.retort(["generate"] + arguments + ["--device", "cpu"])
        return (child.exit, child.stdout, child.stderr)
    }

    @Test("a prompt, the same again, and ends that generation_config.json names")
    func prompt() throws {
        let folder = try ScratchFolder()
        let model = try model(in: folder)
        let free = ["--prompt", "Once", "--max-new-tokens", "12", "--json"]
        let first = try run([model] + free)
        let again = try run([model] + free)
        #expect(first.exit == 0 && first.out == again.out, "\(first.error)")
        let tokens = try JSONCursor(JSON.parse(first.out, file: "stdout"), file: "stdout").member("tokens").elements()
        #expect(tokens.count == 12)
        // What it wrote third ends it from now on.
        let end = try tokens[2].int()
        try folder.write("{\"eos_token_id\": [2, \(end)]}", to: "model/generation_config.json")
        let ended = try JSON.parse(run([model] + free).out, file: "stdout")
        guard case .array(let few) = ended["tokens"] else { Issue.record("no tokens"); return }
        #expect(few.count <= 3 && few.last == .int(end) && ended["finish"] == "stop")
        let full = try run([model, "--prompt", "Once", "--max-new-tokens", "200", "--ignore-end", "--json"])
        let cut = try JSONCursor(JSON.parse(full.out, file: "stdout"), file: "stdout")
        #expect(try cut.member("finish").string() == "context" && cut.member("tokens").elements().count < 65)
        #expect(full.error.contains("64 positions are full"), "\(full.error)")
        let on = try JSON.parse(run([model] + free + ["--ignore-end"]).out, file: "stdout")
        #expect(on["finish"] == "length")
        #expect(on["tokens"] == .array(try tokens.map { .int(try $0.int()) }))
        let small = try run([model] + free + ["--ignore-end", "--dtype", "bf16", "--cache-dtype", "bf16"])
        guard small.exit == 0, case .array(let rounded) = try JSON.parse(small.out, file: "stdout")["tokens"] else {
            Issue.record("\(small.error)")
            return
        }
        #expect(rounded.count == 12)
    }

    /// Values beyond what 32 bits hold were "a bug in retort" (70), or drew from infinite logits.
    @Test("temperatures, shares and penalties that cannot be: 64; a prompt may begin with a dash")
    func sampling() throws {
        let folder = try ScratchFolder()
        let model = try model(in: folder)
        for (flag, value) in [
            ("--temperature", "1e-300"), ("--temperature", "1e-40"), ("--temperature", "1e300"),
            ("--temperature", "-1"),
            ("--temperature", "nan"), ("--repetition-penalty", "1e-300"), ("--repetition-penalty", "1e300"),
            ("--repetition-penalty", "-1"), ("--top-p", "1e-300"), ("--min-p", "-1"), ("--max-new-tokens", "-1"),
        ] {
            let all = [model, "--prompt", "Once", flag, value] + (flag.hasSuffix("-p") ? ["--temperature", "1"] : [])
            let refused = try run(all)
            #expect(refused.exit == 64 && refused.error.contains("Error: \(flag) is "), "\(value): \(refused.error)")
        }
        let least = try run([model, "--prompt", "- Once", "--max-new-tokens", "4", "--temperature", "0.001", "--json"])
        #expect(least.exit == 0 && least.out.contains("\"prompt\":\"- Once\""), "\(least.error)")
    }

    @Test("a file of prompts, once and again")
    func file() throws {
        let folder = try ScratchFolder()
        let model = try model(in: folder)
        let lines = (1...5).map { "{\"question\": \"Once \($0)\"}\n" }
        try folder.write(lines.joined(), to: "asked.jsonl")
        let arguments = [
            model, "--input", folder.path("asked.jsonl"), "--output", folder.path("answers.jsonl"), "--fields",
            "prompt=question", "--max-new-tokens", "5", "--temperature", "1", "--batch", "2",
        ]
        let first = try run(arguments)
        #expect(
            first.exit == 0 && first.out.contains("5 answers") && first.out.contains("5 of them new"), "\(first.error)")
        #expect(try run(arguments).out.contains("0 of them new"))
        let other = try run(arguments + ["--seed", "9"])
        #expect(other.exit == 73 && other.error.contains("another question"))
        let rounded = try run(arguments + ["--cache-dtype", "bf16"])
        #expect(rounded.exit == 73 && rounded.error.contains("its cache differs"), "\(rounded.error)")
    }

    @Test("wrong command lines and models: exit code and word")
    func refusals() throws {
        let folder = try ScratchFolder()
        let model = try model(in: folder)
        func refused(_ exit: Int32, _ words: String, _ arguments: String...) throws {
            let child = try run([model] + arguments)
            #expect(child.exit == exit && child.error.contains(words), "\(child.error)")
        }
        try refused(64, "--prompt or --input")
        try refused(64, "belong together", "--input", "a.jsonl")
        try refused(64, "--fields needs --input", "--prompt", "a", "--fields", "prompt=question")
        try refused(64, "--batch needs --input", "--prompt", "a", "--batch", "2")
        try refused(64, "--samples needs --input", "--prompt", "a", "--samples", "2")
        try refused(64, "would all be the same", "--input", "a.jsonl", "--output", "b.jsonl", "--samples", "2")
        try refused(64, "--samples is 1 to", "--input", "a.jsonl", "--output", "b.jsonl", "--samples", "0")
        try refused(64, "--temperature above 0", "--prompt", "a", "--top-k", "2")
        try refused(64, "--max-new-tokens", "--prompt", "a", "--max-new-tokens=-1")
        try refused(64, "--cache-dtype", "--prompt", "a", "--cache-dtype", "f16")
        try refused(65, "no chat template", "--prompt", "a", "--chat")
        try refused(65, "--template NAME", "--prompt", "a", "--chat")
        try refused(65, "64 positions", "--prompt", String(repeating: "once ", count: 90))
        try refused(66, "nothing.jsonl", "--input", folder.path("nothing.jsonl"), "--output", folder.path("b.jsonl"))
        try folder.write("{\"eos_token_id\": [2, 512]}", to: "model/generation_config.json")
        try refused(65, "the model has 512 tokens", "--prompt", "a")
        try folder.write("{\"eos_token_id\": [2, 511]}", to: "model/generation_config.json")
        #expect(try run([model, "--prompt", "a", "--max-new-tokens", "1"]).exit == 0)
    }
}
