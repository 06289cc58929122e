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

    /// A format of the fixture: how conversations are written in it, and how it is come by.
    struct Written: Sendable, CustomTestStringConvertible {
        let name: String
        let template: String?
        let jinja: String
        let shape: String
        let cases: [JSONCursor]
        /// Published templates that write it: shape and name.
        let published: [(shape: String, template: String)]

        var testDescription: String { name }

        /// Every way to come by the format.
        func templates() throws -> [ChatTemplate] {
            try (template.map { [try ChatTemplate.named($0)] } ?? [])
                + published.map { try #require(KnownTemplates.byShape[$0.shape], "\(name), \($0.shape)") }
        }
    }

    private static let fixture = Result { try JSONCursor.read(Project.root + "/Tests/Fixtures/chat-templates.json") }

    static func formats() throws -> [Written] {
        let file = try fixture.get()
        let published = try file.member("published").elements().map {
            (
                format: try $0.member("format").string(), shape: try $0.member("shape").string(),
                template: try $0.member("template").string()
            )
        }
        return try file.member("formats").elements().map { entry in
            let name = try entry.member("format").string()
            return Written(
                name: name, template: try entry.optional("template")?.string(),
                jinja: try entry.member("jinja").string(), shape: try entry.member("shape").string(),
                cases: try entry.member("cases").elements(),
                published: published.filter { $0.format == name }.map { ($0.shape, $0.template) })
        }
    }

    @Test(
        "a format as Jinja renders it, and where the answers are; what it cannot write is refused",
        arguments: try formats())
    func fixtures(_ format: Written) throws {
        let file = try Self.fixture.get()
        let (bos, eos) = (try file.member("bos").string(), try file.member("eos").string())
        let conversations = try file.member("conversations").elements()
        let templates = try format.templates()
        try #require(!templates.isEmpty && format.cases.count == 2 * conversations.count)
        for entry in format.cases {
            let number = try entry.member("conversation").int()
            let place = "\(format.name), conversation \(number)"
            let turns = try conversations[number].elements().map {
                ChatMessage(role: try $0.member("role").string(), content: try $0.member("content").string())
            }
            let prompt = try entry.member("prompt").bool()
            for template in templates {
                guard let wanted = try entry.optional("text") else {
                    let error = thrown(RetortError.self) {
                        _ = try template.render(turns, addGenerationPrompt: prompt, bos: bos, eos: eos)
                    }
                    #expect(error?.exit == .badData, "\(place)")
                    continue
                }
                let chat = try template.format.write(turns, prompt, bos: bos, eos: eos)
                _ = expectSame(chat.text, try wanted.string(), place)
                let answers = try entry.member("answers").elements().map { range in
                    let bounds = try range.elements().map { try $0.int() }
                    return bounds[0]..<bounds[1]
                }
                #expect(chat.answers == answers, "\(place)")
                #expect(answers.count == turns.count { $0.role == "assistant" }, "\(place)")
            }
        }
    }

    @Test("the fixture has every name and every published template")
    func coverage() throws {
        let formats = try Self.formats()
        #expect(formats.count == 29 && formats.map(\.cases.count).reduce(0, +) == 1102)
        #expect(formats.compactMap(\.template).sorted() == ChatTemplate.names.sorted())
        let published = formats.flatMap(\.published)
        #expect(published.count == 42 && Set(published.map(\.shape)) == Set(KnownTemplates.byShape.keys))
        for entry in published { #expect(KnownTemplates.byShape[entry.shape]?.name == entry.template) }
        // A template shows a name that can be given.
        for template in KnownTemplates.byShape.values { #expect(ChatTemplate.names.contains(template.name)) }
        // Refused, and with nothing in them but what is fixed: neither may be all there is.
        for format in formats {
            let texts = try Set(format.cases.compactMap { try $0.optional("text")?.string() })
            #expect(texts.count >= 7, "\(format.name)")
        }
    }

    @Test("the shape of a text is the one that the fixture's script takes", arguments: try formats())
    func shape(_ format: Written) throws { #expect(TemplateShape.digest(format.jinja) == format.shape) }

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
        let none = thrown(RetortError.self) { _ = try bare.chatTemplate() }
        #expect(none?.what == "the tokenizer has no chat template")
        for help in [none?.help, error.help] {
            #expect(help?.contains("--template NAME") == true && help?.contains("data.template") == true)
        }
        let name = try #require(thrown(RetortError.self) { _ = try ChatTemplate.named("lama3") })
        #expect(name.exit == .usage && name.help.contains("'llama"))
    }
}
