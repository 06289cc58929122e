import RetortSupport

/// One turn of a conversation.
public struct ChatMessage: Sendable, Equatable {
    /// "system", "user", "assistant".
    public var role: String
    public var content: String

    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }
}

/// How a conversation is written for a model. Known by name, or recognized from a model's files; the Jinja programs in those files
/// are never run.
public struct ChatTemplate: Sendable, Equatable {
    /// A name to choose it by.
    public let name: String
    let format: ChatFormat

    private static let all: [ChatTemplate] = [
        .init(name: "chatml", format: .chatML(defaultSystem: nil)),
        .init(name: "llama2", format: .llama2),
        .init(name: "llama3", format: .llama3(begin: ChatFormat.llama3Begin, alwaysPrompts: false)),
        .init(name: "llama3.1", format: .llama31),
        .init(name: "mistral", format: .labelled(.mistral)),
        .init(name: "mistral-v0.3", format: .labelled(.mistral3)),
        .init(name: "mistral-nemo", format: .labelled(.mistralNemo)),
        .init(name: "qwen", format: .chatML(defaultSystem: ChatFormat.qwenSystem)),
        .init(name: "qwen2.5", format: .qwen25(defaultSystem: ChatFormat.qwen25System)),
        .init(name: "qwen3", format: .qwen3(opensReasoning: false)),
        .init(name: "qwen3-instruct", format: .qwen25(defaultSystem: nil)),
        .init(name: "qwen3-thinking", format: .qwen3(opensReasoning: true)),
        .init(name: "smollm2", format: .chatML(defaultSystem: ChatFormat.smolLM2System)),
        .init(name: "deepseek-r1", format: .deepSeekR1(opensReasoning: true)),
        .init(name: "gemma", format: .labelled(.gemma)),
        .init(name: "zephyr", format: .zephyr),
        .init(name: "alpaca", format: .labelled(.alpaca)),
        .init(name: "vicuna", format: .labelled(.vicuna)),
    ]

    public static let names = all.map(\.name)
    /// How a user says which.
    static let naming = "by `--template NAME` or a recipe's `data.template`"

    /// - Throws: `RetortError` 64 for a name that is not known.
    public static func named(_ name: String) throws -> ChatTemplate {
        guard let template = all.first(where: { $0.name == name }) else {
            throw RetortError.usage(
                "there is no chat template \(name.quoted())", help: EditDistance.suggestion(for: name, among: names))
        }
        return template
    }

    /// The template that a Jinja text is, by its shape.
    /// - `place`: the file it stands in, for the error.
    /// - Throws: `RetortError` 65 when it is none of those known.
    public static func recognize(_ jinja: String, in place: JSONCursor? = nil) throws -> ChatTemplate {
        let digest = TemplateShape.digest(jinja)
        guard let template = digest.flatMap({ KnownTemplates.byShape[$0] }) else {
            let location = try place.flatMap { try $0.optional("chat_template")?.location ?? $0.location }
            throw RetortError.badData(
                "the tokenizer's chat template is not one that this program knows", at: location,
                why: "templates are programs, which are recognized and never run"
                    + (digest.map { " (shape \($0.prefix(16)))" } ?? ""),
                help: "name the format it stands for, \(naming): \(names.joined(separator: ", "))")
        }
        return template
    }

    /// The conversation as the model reads it. Encode it with `addSpecialTokens: false`: what it begins with is in it.
    /// - `addGenerationPrompt`: end with what comes before the assistant's answer.
    /// - `bos`: the model's token for a beginning, empty when it has none; `eos`: that for an end.
    /// - Throws: `RetortError` 65 for turns that the format has no way to write.
    public func render(
        _ messages: [ChatMessage], addGenerationPrompt: Bool, bos: String = "", eos: String = ""
    ) throws -> String {
        try format.write(messages, addGenerationPrompt, bos: bos, eos: eos).text
    }
}

extension Tokenizer {
    /// The ids of a conversation.
    /// - `template`: the model's own when nil.
    /// - Throws: `RetortError` 65 when the model's own is not known, or cannot write these turns.
    public func encode(
        _ messages: [ChatMessage], template: ChatTemplate? = nil, addGenerationPrompt: Bool,
        truncation: Truncation? = nil
    ) throws -> Encoding {
        let text = try (template ?? chatTemplate()).render(
            messages, addGenerationPrompt: addGenerationPrompt, bos: special("bos")?.token ?? "",
            eos: special("eos")?.token ?? "")
        return try encode(text, addSpecialTokens: false, truncation: truncation)
    }
}
