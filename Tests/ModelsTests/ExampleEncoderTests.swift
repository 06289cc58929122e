import Foundation
import RetortData
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("records as examples")
struct ExampleEncoderTests {
    private static let turns = [
        TextMessage(.system, "Be brief."), TextMessage(.user, "2+2?"), TextMessage(.assistant, "4"),
        TextMessage(.user, "3*3?"), TextMessage(.assistant, "It is 9."),
    ]

    /// The stretches of tokens that are learned, as text.
    private static func learned(_ example: TokenizedExample, _ tokenizer: Tokenizer) throws -> [String] {
        var runs: [[Int32]] = []
        for (index, token) in example.tokens.enumerated() where example.isTarget[index] {
            if index > 0, example.isTarget[index - 1] {
                runs[runs.count - 1].append(token)
            } else {
                runs.append([token])
            }
        }
        return try runs.map { try tokenizer.decode($0) }
    }

    private static func example(_ outcome: ExampleEncoder.Outcome) throws -> TokenizedExample {
        guard case .example(let example, _) = outcome else { throw RetortError.badData("no example: \(outcome)") }
        return example
    }

    @Test(
        "assistant-only: content and end of turn, nothing else",
        arguments: [
            ("chatml", ["4<|im_end|>", "It is 9.<|im_end|>"]), ("qwen", ["4<|im_end|>", "It is 9.<|im_end|>"]),
            ("llama2", [" 4 </s>", " It is 9. </s>"]), ("llama3", ["4<|eot_id|>", "It is 9.<|eot_id|>"]),
            ("zephyr", ["4</s>", "It is 9.</s>"]), ("alpaca", ["4</s>", "It is 9.</s>"]),
            ("vicuna", [" 4</s>", " It is 9.</s>"]), ("llama3.1", ["4<|eot_id|>", "It is 9.<|eot_id|>"]),
            ("mistral", [" 4</s>", " It is 9.</s>"]), ("qwen2.5", ["4<|im_end|>", "It is 9.<|im_end|>"]),
            ("qwen3", ["4<|im_end|>", "<think>\n\n</think>\n\nIt is 9.<|im_end|>"]),
            ("qwen3-instruct", ["4<|im_end|>", "It is 9.<|im_end|>"]),
            ("smollm2", ["4<|im_end|>", "It is 9.<|im_end|>"]),
        ])
    func assistantOnly(_ name: String, _ wanted: [String]) throws {
        let tokenizer = try TinyTokenizer.make(merges: [("i", "s"), ("Ġ", "is"), ("Ċ", "Ċ")])
        let template = try ChatTemplate.named(name)
        let encoder = try ExampleEncoder(tokenizer, template: template)
        let example = try Self.example(encoder.encode(TextRecord(.conversation(Self.turns))))
        #expect(try Self.learned(example, tokenizer) == wanted)
        let text = try template.render(
            Self.turns.map { ChatMessage(role: $0.role.rawValue, content: $0.content) }, addGenerationPrompt: false,
            bos: "<s>", eos: "</s>")
        #expect(try tokenizer.decode(example.tokens) == text)
        #expect(try tokenizer.encode(text, addSpecialTokens: false).ids == example.tokens)

        // What is learned begins where the prompt for it ends.
        let prompt = try encoder.prompt(TextRecord(.conversation(Self.turns)))
        #expect(Array(example.tokens.prefix(prompt.count)) == prompt)
        #expect(example.isTarget[prompt.count] && !example.isTarget[prompt.count - 1])

        let last = try ExampleEncoder(tokenizer, template: template, options: .init(targets: .lastAnswer))
        #expect(
            try Self.learned(Self.example(last.encode(TextRecord(.conversation(Self.turns)))), tokenizer) == [wanted[1]]
        )
        var weighed = Self.turns
        weighed[4].isLearned = false
        #expect(
            try Self.learned(Self.example(encoder.encode(TextRecord(.conversation(weighed)))), tokenizer) == [wanted[0]]
        )
        let all = try ExampleEncoder(tokenizer, template: template, options: .init(targets: .everything))
        let everything = try Self.example(all.encode(TextRecord(.conversation(Self.turns))))
        #expect(everything.isTarget == [false] + [Bool](repeating: true, count: example.count - 1))
    }

    @Test("reasoning of earlier turns is neither read nor learned; that of the last turn is")
    func reasoning() throws {
        let tokenizer = try TinyTokenizer.make()
        let turns = [
            TextMessage(.user, "2+2?"), TextMessage(.assistant, "<think>\nTwo.\n</think>\n\n4"),
            TextMessage(.user, "3*3?"), TextMessage(.assistant, "<think>\nThree.\n</think>\n\n9"),
        ]
        for (name, wanted) in [
            ("qwen3", ["4<|im_end|>", "<think>\nThree.\n</think>\n\n9<|im_end|>"]),
            ("qwen3-thinking", ["4<|im_end|>", "Three.\n</think>\n\n9<|im_end|>"]),
            ("deepseek-r1", ["\n\n4<｜end▁of▁sentence｜>", "\n\n9<｜end▁of▁sentence｜>"]),
            ("qwen3-instruct", turns.filter { $0.role == .assistant }.map { $0.content + "<|im_end|>" }),
        ] {
            let encoder = try ExampleEncoder(tokenizer, template: .named(name))
            let example = try Self.example(encoder.encode(TextRecord(.conversation(turns))))
            #expect(try Self.learned(example, tokenizer) == wanted, "\(name)")
            #expect(try tokenizer.decode(example.tokens).contains("Two.") == (name == "qwen3-instruct"), "\(name)")
        }
    }

    @Test("tokens and targets of one turn, written out")
    func byHand() throws {
        let tokenizer = try TinyTokenizer.make()
        let encoder = try ExampleEncoder(tokenizer, template: .named("chatml"))
        let record = TextRecord(.conversation([TextMessage(.user, "a"), TextMessage(.assistant, "bc")]))
        let example = try Self.example(encoder.encode(record))
        let user: [Int32] = [300] + "user\na".utf8.map(Int32.init) + [301, 10]
        let assistant: [Int32] = [300] + "assistant\n".utf8.map(Int32.init)
        #expect(example.tokens == user + assistant + [98, 99, 301, 10])
        #expect(example.isTarget == [Bool](repeating: false, count: 20) + [true, true, true, false])
        #expect(example.targetCount == 3)
    }

    @Test("a token across the beginning of an answer is context")
    func straddled() throws {
        let tokenizer = try TinyTokenizer.make(merges: [("Ċ", "Ċ")])
        let encoder = try ExampleEncoder(tokenizer, template: .named("chatml"))
        let record = TextRecord(.conversation([TextMessage(.user, "a"), TextMessage(.assistant, "\nb\n\n")]))
        #expect(try Self.learned(Self.example(encoder.encode(record)), tokenizer) == ["b\n\n<|im_end|>"])
        let plain = try ExampleEncoder(tokenizer)
        let joined = try Self.example(plain.encode(TextRecord(.completion(prompt: "a\n", completion: "\nb"))))
        #expect(joined.tokens == [97, 256, 98, 303] && joined.isTarget == [false, false, true, true])
        // A model that is asked is given the prompt alone, also by way of a corpus and behind a cut.
        #expect(joined.seam == .init(shared: 1, prompt: [97, 10]))
        #expect(try Self.example(plain.encode(TextRecord(.completion(prompt: "a", completion: "b")))).seam == nil)
        let asked = try Self.example(encoder.encode(record))
        #expect(asked.seam == .init(shared: 1, prompt: try encoder.prompt(record)))
        let corpus = try TokenizedCorpus([joined, .init(tokens: [1, 2], isTarget: [false, true]), asked])
        #expect((0..<3).map { corpus.example($0).seam } == [joined.seam, nil, asked.seam])
        #expect(joined.cut(to: 3, from: .left).seam == .init(shared: 1, prompt: [10]))
        // Encoded by two threads.
        let builder = CorpusBuilder()
        for (number, example) in [corpus.example(1), joined].enumerated() {
            var block = CorpusBlock()
            block.add(.example(example, isCut: false), record: number)
            try builder.add(block)
        }
        let both = try TokenizedCorpus(builder)
        #expect(both.example(0).seam == nil && both.example(1).seam == joined.seam)
    }

    @Test("prompt and completion, text, preference")
    func plain() throws {
        let tokenizer = try TinyTokenizer.make()
        let encoder = try ExampleEncoder(tokenizer, options: .init(separator: "="))
        let record = TextRecord(.completion(prompt: "2+2", completion: "4"))
        let completion = try Self.example(encoder.encode(record))
        #expect(completion.tokens == "2+2=4".utf8.map(Int32.init) + [303])
        #expect(completion.isTarget == [false, false, false, false, true, true])
        #expect(try encoder.prompt(record) == "2+2=".utf8.map(Int32.init))
        #expect(try encoder.prompt(TextRecord(.prompt("2"))) == "2=".utf8.map(Int32.init))
        let text = try Self.example(encoder.encode(TextRecord(.text("abc"))))
        #expect(text.tokens == [97, 98, 99, 303] && text.isTarget == [false, true, true, true])
        let open = try ExampleEncoder(tokenizer, options: .init(appendsEnd: false))
        #expect(try Self.example(open.encode(TextRecord(.text("abc")))).tokens == [97, 98, 99])
        // As a conversation, where a template is named.
        let chat = try ExampleEncoder(tokenizer, template: .named("zephyr"))
        #expect(try Self.learned(Self.example(chat.encode(record)), tokenizer) == ["4</s>"])

        let preference = TextRecord(
            .preference(
                prompt: Array(Self.turns[..<4]), chosen: [TextMessage(.assistant, "9")],
                rejected: [TextMessage(.assistant, "6")]))
        let pair = try chat.pair(preference)
        #expect(try Self.learned(Self.example(pair.chosen), tokenizer) == ["9</s>"])
        #expect(try Self.learned(Self.example(pair.rejected), tokenizer) == ["6</s>"])
        #expect(thrown(RetortError.self) { _ = try chat.encode(preference) }?.exit == .badData)
        #expect(thrown(RetortError.self) { _ = try chat.pair(record) }?.exit == .badData)
    }

    @Test("the tokenizer's own special tokens round a completion", arguments: ["stories260K"])
    func special(_ name: String) throws {
        let tokenizer = try Tokenizer.load("\(TokenizerFixtures.folder)/\(name)")
        let encoder = try ExampleEncoder(tokenizer)
        let (prompt, completion) = ("Once upon a time", ", there was a cat.")
        let example = try Self.example(encoder.encode(TextRecord(.completion(prompt: prompt, completion: completion))))
        let head = try tokenizer.encode(prompt).ids
        #expect(head.first == tokenizer.special("bos")?.id)
        #expect(
            example.tokens == (try tokenizer.encode(prompt + completion).ids) + [tokenizer.special("eos")?.id ?? -1])
        #expect(Array(example.tokens.prefix(head.count)) == head)
        #expect(example.isTarget == example.tokens.indices.map { $0 >= head.count })
    }

    @Test("too long, and nothing to learn")
    func lengths() throws {
        let tokenizer = try TinyTokenizer.make()
        func outcome(_ length: Int, _ policy: LongExamplePolicy, _ prompt: String = "abcd") throws
            -> ExampleEncoder.Outcome
        {
            try ExampleEncoder(tokenizer, options: .init(maxLength: length, truncation: policy)).encode(
                TextRecord(.completion(prompt: prompt, completion: "ef")))
        }
        #expect(try Self.example(outcome(7, .drop)).count == 7)
        #expect(try outcome(6, .drop) == .tooLong(tokens: 7))
        guard case .example(let right, true) = try outcome(5, .right) else {
            Issue.record("not cut")
            return
        }
        #expect(right.tokens == "abcde".utf8.map(Int32.init) && right.targetCount == 1)
        #expect(try outcome(4, .right) == .withoutTarget)
        let left = try Self.example(outcome(3, .left))
        #expect(left.tokens == [101, 102, 303] && left.isTarget == [false, true, true])
        let encoder = try ExampleEncoder(tokenizer, template: .named("chatml"))
        #expect(try encoder.encode(TextRecord(.conversation([TextMessage(.user, "a")]))) == .withoutTarget)
        #expect(try encoder.encode(TextRecord(.prompt("a"))) == .withoutTarget)
        #expect(
            thrown(RetortError.self) { _ = try ExampleEncoder(tokenizer, options: .init(maxLength: 1)) }?.exit
                == .recipe)
    }

    @Test("without a template, a role or an end token: errors that say so, with the record's place")
    func refused() throws {
        let tokenizer = try TinyTokenizer.make()
        let place = TextRecord.Place(file: "data.jsonl", line: 7, column: 1)
        let none = thrown(RetortError.self) {
            _ = try ExampleEncoder(tokenizer).encode(TextRecord(.conversation(Self.turns), place: place))
        }
        #expect(none?.what.contains("no chat template") == true && none?.help.contains("chatml") == true)
        let role = thrown(RetortError.self) {
            _ = try ExampleEncoder(tokenizer, template: .named("zephyr")).encode(
                TextRecord(.conversation([TextMessage(.tool, "a")]), place: place))
        }
        #expect(role?.location == place.location && role?.exit == .badData)
        let endless = try TinyTokenizer.make(settings: ["bos_token": "<s>"])
        #expect(thrown(RetortError.self) { _ = try ExampleEncoder(endless) }?.exit == .recipe)
        #expect(throws: Never.self) { try ExampleEncoder(endless, options: .init(appendsEnd: false)) }
    }

    @Test(
        "Qwen2's vocabulary: the reference's ids, and the answers in them",
        .enabled(if: TokenizerFixtures.data != nil, "RETORT_DATA is not set"))
    func qwen() throws {
        let tokenizer = try Tokenizer.load((try #require(TokenizerFixtures.data)) + "/tokenizers/qwen2")
        let file = try JSONCursor.read(Project.golden("tokenizers/chat_templates.json"))
        var answers = 0
        for entry in try file.member("cases").elements() where try !entry.member("add_generation_prompt").bool() {
            // Llama 3's special tokens are none of this vocabulary: no ids are stored.
            guard let ids = try entry.optional("qwen2_ids") else { continue }
            let key = try entry.member("template").string()
            let turns = try entry.member("messages").elements().map {
                TextMessage(
                    try #require(TextMessage.Role(rawValue: $0.member("role").string())),
                    try $0.member("content").string())
            }
            let template = try ChatTemplate.recognize(file.member("templates").member(key).string())
            let encoder = try ExampleEncoder(tokenizer, template: template)
            let record = TextRecord(.conversation(turns))
            guard case .example(let example, _) = try encoder.encode(record) else { continue }
            #expect(example.tokens == (try TokenizerFixtures.ids(ids)))
            let wanted = turns.filter { $0.role == .assistant }.map { $0.content + "<|im_end|>" }
            #expect(try Self.learned(example, tokenizer) == wanted)
            answers += wanted.count
        }
        #expect(answers > 3)
    }
}
