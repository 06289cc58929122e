import Foundation
import RetortSupport

/// Tokens after which a model writes nothing: what its files name between them. A chat model's config.json often knows the end of a text
/// alone, and generation_config.json the end of a turn.
public enum EndTokens {
    /// - `tokenizer`: its end token counts too.
    /// - Throws: `RetortError` 65 for what is no token id.
    public static func of(_ folder: String, _ tokenizer: Tokenizer) throws -> Set<Int32> {
        var ends = Set([tokenizer.special("eos")?.id].compactMap { $0 })
        for name in ["config.json", "generation_config.json"] {
            let file = folder + "/" + name
            if FileManager.default.fileExists(atPath: file) { ends.formUnion(try named(in: JSONCursor.read(file))) }
        }
        return ends
    }

    /// Those that a config.json names: one, several or none.
    /// - Throws: `RetortError` 65 for what is no token id.
    public static func named(in config: JSONCursor) throws -> Set<Int32> {
        guard let end = try config.optional("eos_token_id"), end.value != .null else { return [] }
        let all: [JSONCursor] = if case .array = end.value { try end.elements() } else { [end] }
        return Set(try all.map { Int32(try $0.int(in: 0...Int(Int32.max))) })
    }
}
