import Foundation
import RetortSupport

/// What tokenizer_config.json says beside the tokenizer itself.
struct TokenizerSettings: Sendable {
    /// "GPT2Tokenizer", …: what older vocabulary files are meant for.
    var tokenizerClass: String?
    /// Of each role (`bos`, `eos`, `unk`, `pad`, `cls`, `sep`, `mask`) the token's text.
    var specialTokens: [String: String] = [:]
    /// Tokens that are looked for in the text, by `added_tokens_decoder`.
    var addedTokens: [AddedToken] = []
    /// The Jinja text of the chat template.
    var chatTemplate: String?
    var lowercases = true
    var stripsAccents: Bool?
    var separatesIdeographs = true
    var addsPrefixSpace = false
    /// Where `tokenizer_class` and others stand, for errors; nil when there is no file.
    var cursor: JSONCursor?

    static let roles = ["bos", "eos", "unk", "pad", "cls", "sep", "mask"]

    init() {}

    /// Reads the settings in a directory; defaults when it has none.
    /// - Throws: `RetortError` 65 for damaged files.
    init(in directory: String) throws {
        let path = directory + "/tokenizer_config.json"
        if FileManager.default.fileExists(atPath: path) {
            let cursor = try JSONCursor.read(
                path, limits: .init(bytes: TokenizerLimit.configBytes, depth: 32, values: 1_000_000))
            self.cursor = cursor
            try read(cursor)
        }
        let template = directory + "/chat_template.jinja"
        if FileManager.default.fileExists(atPath: template) {
            let bytes = try InputFile.read(template, limit: TokenizerLimit.configBytes)
            chatTemplate = String(decoding: bytes, as: UTF8.self)
        }
    }

    /// Takes the roles that tokenizer_config.json leaves open from special_tokens_map.json, when there is one.
    /// - Throws: `RetortError` 65 for a damaged file.
    mutating func readSpecialTokensMap(in directory: String) throws {
        let path = directory + "/special_tokens_map.json"
        guard FileManager.default.fileExists(atPath: path) else { return }
        let cursor = try JSONCursor.read(
            path, limits: .init(bytes: TokenizerLimit.configBytes, depth: 32, values: 1_000_000))
        for role in Self.roles where specialTokens[role] == nil {
            if let token = try cursor.optional(role + "_token") { specialTokens[role] = try Self.content(token) }
        }
    }

    private mutating func read(_ cursor: JSONCursor) throws {
        tokenizerClass = try cursor.optional("tokenizer_class")?.string()
        for role in Self.roles {
            if let token = try cursor.optional(role + "_token") { specialTokens[role] = try Self.content(token) }
        }
        for (key, token) in try cursor.optional("added_tokens_decoder")?.members() ?? [] {
            guard let id = Int(key), (0..<Vocabulary.Limit.size).contains(id) else {
                throw token.failure("its key must be an id, 0 to \(Vocabulary.Limit.size - 1)")
            }
            addedTokens.append(try AddedTokenReader.read(token, id: Int32(id)))
        }
        if let template = try cursor.optional("chat_template") {
            // Either the text, or several by name, of which "default" counts.
            if case .array = template.value {
                let named = try template.elements().first { try $0.member("name").string() == "default" }
                chatTemplate = try named?.member("template").string()
            } else {
                chatTemplate = try template.string()
            }
        }
        lowercases = try cursor.optional("do_lower_case")?.bool() ?? true
        stripsAccents = try cursor.optional("strip_accents")?.bool()
        separatesIdeographs = try cursor.optional("tokenize_chinese_chars")?.bool() ?? true
        addsPrefixSpace = try cursor.optional("add_prefix_space")?.bool() ?? false
    }

    /// A token is written as its text, or as an object with `content`.
    private static func content(_ cursor: JSONCursor) throws -> String {
        if case .object = cursor.value { return try cursor.member("content").string() }
        return try cursor.string()
    }
}

/// Reads `{"content": …, "lstrip": …, …}`.
enum AddedTokenReader {
    /// - Throws: `RetortError` 65.
    static func read(_ cursor: JSONCursor, id: Int32) throws -> AddedToken {
        let content = try cursor.member("content")
        let text = try content.string()
        guard text.utf8.count <= AddedToken.longest else {
            throw content.failure("it has more than \(AddedToken.longest) bytes, the limit")
        }
        func flag(_ key: String) throws -> Bool { try cursor.optional(key)?.bool() ?? false }
        let isSpecial = try flag("special")
        return AddedToken(
            id: id, content: text, isSingleWord: try flag("single_word"), stripsLeft: try flag("lstrip"),
            stripsRight: try flag("rstrip"), isNormalized: try cursor.optional("normalized")?.bool() ?? !isSpecial,
            isSpecial: isSpecial)
    }
}
