import Foundation
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("chat templates")
struct ChatTemplateTests {
    private static let golden = Project.golden("tokenizers/chat_templates.json")

    private func messages(_ entry: JSONCursor) throws -> [ChatMessage] {
        try entry.member("messages").elements().map {
            ChatMessage(role: try $0.member("role").string(), content: try $0.member("content").string())
        }
    }

    @Test("ChatML, Qwen2 and Llama 3 as the reference renders them, by name and by their Jinja text")
    func goldens() throws {
        let file = try JSONCursor.read(Self.golden)
        let names = ["chatml": "chatml", "qwen2_default_system": "qwen", "llama3": "llama3"]
        let cases = try file.member("cases").elements()
        try #require(cases.count == 24)
        for (index, entry) in cases.enumerated() {
            let key = try entry.member("template").string()
            let name = try #require(names[key])
            let recognized = try ChatTemplate.recognize(file.member("templates").member(key).string())
            #expect(recognized.name == name)
            for template in [try ChatTemplate.named(name), recognized] {
                let text = try template.render(
                    messages(entry), addGenerationPrompt: entry.member("add_generation_prompt").bool(),
                    bos: "<|begin_of_text|>", eos: "<|eot_id|>")
                _ = expectSame(text, try entry.member("text").string(), "case \(index), \(key)")
            }
        }
    }

    @Test("Llama 2, Zephyr, Alpaca, Vicuna as Jinja renders them; what they cannot write is refused")
    func fixtures() throws {
        let file = try JSONCursor.read(Project.root + "/Tests/Fixtures/chat-templates.json")
        let (bos, eos) = (try file.member("bos").string(), try file.member("eos").string())
        let cases = try file.member("cases").elements()
        try #require(cases.count == 72)
        for (index, entry) in cases.enumerated() {
            let name = try entry.member("template").string()
            let template = try ChatTemplate.named(name)
            let turns = try messages(entry)
            let prompt = try entry.member("add_generation_prompt").bool()
            if let wanted = try entry.optional("text") {
                let text = try template.render(turns, addGenerationPrompt: prompt, bos: bos, eos: eos)
                _ = expectSame(text, try wanted.string(), "case \(index), \(name)")
            } else {
                let error = thrown(RetortError.self) {
                    _ = try template.render(turns, addGenerationPrompt: prompt, bos: bos, eos: eos)
                }
                #expect(error?.exit == .badData, "case \(index), \(name)")
            }
        }
    }

    @Test(
        "a conversation to ids with Qwen2's vocabulary",
        .enabled(if: TokenizerFixtures.data != nil, "RETORT_DATA is not set"))
    func ids() throws {
        let tokenizer = try Tokenizer.load(try #require(TokenizerFixtures.data) + "/tokenizers/qwen2")
        let names = ["chatml": "chatml", "qwen2_default_system": "qwen"]
        var count = 0
        for entry in try JSONCursor.read(Self.golden).member("cases").elements() {
            guard let name = names[try entry.member("template").string()] else { continue }
            let encoding = try tokenizer.encode(
                messages(entry), template: .named(name),
                addGenerationPrompt: entry.member("add_generation_prompt").bool())
            _ = expectSame(encoding.ids, try TokenizerFixtures.ids(entry.member("qwen2_ids")), name)
            count += 1
        }
        #expect(count == 16)
        // Its own template opens the assistant's turn after every user turn.
        let own = try tokenizer.chatTemplate()
        let text = try own.render([ChatMessage(role: "user", content: "Hi")], addGenerationPrompt: false)
        #expect(
            text
                == "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        )
    }

    @Test("the layout of a template does not matter, its words do")
    func shapes() throws {
        let plain = "{% for m in messages %}{{ 'a\\n' + m['role'] }}{% endfor %}"
        let digest = try #require(TemplateShape.digest(plain))
        for same in [
            "{%for m in messages%}{{\"a\\n\"+m[\"role\"]}}{%endfor%}",
            "{%- for m in messages -%}  {{- 'a\\n' + m.role -}}  {%- endfor -%}\n",
            "  {% for m in messages %}\n{{ 'a\\n' + m.role }}{% endfor %}\n{# a note #}",
        ] {
            #expect(TemplateShape.digest(same) == digest, "\(same)")
        }
        for other in [
            "{% for m in messages %}{{ 'a' + m['role'] }}{% endfor %}",
            "{% for m in messages %} {{ 'a\\n' + m['role'] }}{% endfor %}",
            "{% for m in messages %}{{ 'a\\n' + m['role'] }}{% endfor %}.",
            "{% for m in messages %}{{ 'a\\n' + m['role'] }}{% endfor %}{{ x }}",
            "{% for m in messages %}\n\n{{ 'a\\n' + m['role'] }}{% endfor %}",
            "{% for m in messages %}{{ 'a\\n' + m.role() }}{% endfor %}",
        ] {
            #expect(TemplateShape.digest(other) != digest, "\(other)")
        }
        for broken in ["{{ 'a", "{% for", "{{ \"a\\", "{#"] { #expect(TemplateShape.digest(broken) == nil) }
    }

    @Test("an unknown template is an error, never a guess; so is an unknown name")
    func unknown() throws {
        let folder = try ScratchFolder()
        try folder.write(
            try String(contentsOfFile: TokenizerFixtures.folder + "/stories260K/tokenizer.json", encoding: .utf8),
            to: "tokenizer.json")
        let config = try folder.write(
            "{\n  \"chat_template\": \"{% for m in messages %}{{ m['content'] }}{% endfor %}\"\n}\n",
            to: "tokenizer_config.json")
        let tokenizer = try Tokenizer.load(folder.path)
        let error = try #require(thrown(RetortError.self) { _ = try tokenizer.chatTemplate() })
        #expect(error.exit == .badData && error.location == .init(file: config, line: 2, column: 20))
        #expect(error.help.contains("llama3"))
        let bare = try Tokenizer.load(TokenizerFixtures.folder + "/stories260K")
        #expect(thrown(RetortError.self) { _ = try bare.chatTemplate() }?.what == "the tokenizer has no chat template")
        let name = try #require(thrown(RetortError.self) { _ = try ChatTemplate.named("lama3") })
        #expect(name.exit == .usage && name.help.contains("'llama"))
    }

    @Test("published templates by their shape")
    func published() throws {
        let turns = [ChatMessage(role: "user", content: " Hi\n"), ChatMessage(role: "assistant", content: "Yes")]
        let wanted = [
            "chatml": "<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\nYes<|im_end|>\n",
            "llama2": "<s>[INST] Hi [/INST] Yes </s>", "zephyr": "<|user|>\n Hi\n</s>\n<|assistant|>\nYes</s>\n",
        ]
        var seen = Set<String>()
        for template in KnownTemplates.byShape.values {
            seen.insert(template.name)
            let text = try template.render(turns, addGenerationPrompt: false, bos: "<s>", eos: "</s>")
            if let wanted = wanted[template.name] { #expect(text == wanted) }
        }
        #expect(seen.isSuperset(of: ["chatml", "qwen", "llama2", "llama3", "zephyr"]))
    }
}
