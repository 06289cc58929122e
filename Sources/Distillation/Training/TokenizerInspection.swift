import Foundation
import RetortModels
import RetortSupport

extension Inspection {
    private static let tokenizerFiles = ["tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt"]

    /// A tokenizer's file, or a directory that has one and no weights.
    static func isTokenizer(_ path: String) -> Bool {
        let files = FileManager.default
        guard Folder.exists(path) else {
            let name = (path as NSString).lastPathComponent
            return files.fileExists(atPath: path) && (tokenizerFiles.contains(name) || name.hasSuffix(".model"))
        }
        return !["model.safetensors", "model.safetensors.index.json", "manifest.json"].contains {
            files.fileExists(atPath: path + "/" + $0)
        }
            && tokenizerFiles.contains { files.fileExists(atPath: path + "/" + $0) }
    }

    /// Kind, size, tokens that have a role or were added, chat template.
    /// - Throws: `RetortError` 65 for a damaged or unknown tokenizer, 69 when it needs PCRE2 and that is missing.
    static func tokenizer(_ path: String) throws -> Inspection {
        let tokenizer = try Tokenizer.load(path)
        let roles = Tokenizer.roles.compactMap { role in
            tokenizer.special(role).map { (role: role, token: $0.token, id: Int($0.id)) }
        }
        let template = try? tokenizer.chatTemplate().name
        var table = Table(columns: [("token", .left), ("id", .right), ("role", .left)])
        for token in tokenizer.addedTokens {
            let role = roles.filter { $0.id == Int(token.id) }.map(\.role).joined(separator: ", ")
            table.add([token.content.displayable, "\(token.id)", role.isEmpty && token.isSpecial ? "special" : role])
        }
        let templateText =
            template ?? (tokenizer.hasChatTemplate ? "not one that this program knows" : "none")
        return Inspection(
            text: "tokenizer: \(tokenizer.kind), \(NumberFormat.grouped(tokenizer.vocabularySize)) tokens, ids below "
                + "\(NumberFormat.grouped(tokenizer.idLimit))\nchat template: \(templateText)\n"
                + (tokenizer.addedTokens.isEmpty ? "" : table.text),
            json: [
                "path": .string(path), "kind": .string(tokenizer.kind), "tokens": .int(tokenizer.vocabularySize),
                "id_limit": .int(tokenizer.idLimit), "chat_template": template.map(JSON.string) ?? .null,
                "roles": .object(
                    roles.map { (key: $0.role, value: ["token": .string($0.token), "id": .int($0.id)]) }),
                "added_tokens": .array(
                    tokenizer.addedTokens.map {
                        [
                            "content": .string($0.content), "id": .int(Int($0.id)), "special": .bool($0.isSpecial),
                        ]
                    }),
            ])
    }
}
