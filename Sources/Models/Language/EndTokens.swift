import Foundation
import RetortSupport

/// Tokens after which a model writes nothing: what its files name between them. A chat model's config.json often knows the end of a text
/// alone, and generation_config.json the end of a turn.
public enum EndTokens {
    /// - `tokenizer`: its end token counts too.
    /// - `vocabulary`: tokens that the model has.
    /// - Throws: `RetortError` 65 for what is none of their ids: it would end nothing, in silence.
    public static func of(_ folder: String, _ tokenizer: Tokenizer, vocabulary: Int) throws -> Set<Int32> {
        var ends = Set([tokenizer.special("eos")?.id].compactMap { $0 })
        for name in ["config.json", "generation_config.json"] {
            let file = folder + "/" + name
            guard FileManager.default.fileExists(atPath: file) else { continue }
            ends.formUnion(try named(in: JSONCursor.read(file), below: vocabulary))
        }
        return ends
    }

    /// Those that a config.json names: one, several or none.
    /// - `vocabulary`: tokens that the model has; nil: ids are not compared with it.
    /// - Throws: `RetortError` 65 for what is no token id.
    public static func named(in config: JSONCursor, below vocabulary: Int? = nil) throws -> Set<Int32> {
        guard let end = try config.optional("eos_token_id"), end.value != .null else { return [] }
        let all: [JSONCursor] = if case .array = end.value { try end.elements() } else { [end] }
        return Set(
            try all.map { cursor in
                let id = try cursor.int(in: 0...Int(Int32.max))
                if let vocabulary, id >= vocabulary {
                    throw cursor.failure("the model has \(vocabulary) tokens, counted from 0")
                }
                return Int32(id)
            })
    }
}
