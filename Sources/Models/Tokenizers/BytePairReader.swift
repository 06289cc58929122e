import RetortSupport

/// Reads byte-pair encodings: the `model` of a tokenizer.json, or vocab.json with merges.txt.
enum BytePairReader {
    /// Merges of one file.
    private static let mostMerges = 1 << 22

    /// - Parameter readsBytes: the last pre-tokenizer spells text in the byte alphabet; the model then reads the bytes themselves.
    /// - Throws: `RetortError` 65.
    static func read(_ cursor: JSONCursor, spelledInBytes: Bool) throws -> (model: BytePairModel, readsBytes: Bool) {
        try cursor.expectKeys([
            "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
            "byte_fallback",
            "ignore_merges", "vocab", "merges",
        ])
        if let dropout = try cursor.optional("dropout"), try dropout.double() != 0 {
            throw dropout.failure("merges dropped at random make the ids of a text change from call to call")
        }
        let vocabulary = try VocabularyReader.read(cursor.member("vocab"))
        let prefix = try cursor.optional("continuing_subword_prefix").map(part) ?? ""
        let suffix = try cursor.optional("end_of_word_suffix").map(part) ?? ""
        let merges = try cursor.member("merges")
        guard case .array(let list) = merges.value else {
            throw merges.failure("it must be an array; found \(merges.value.kind)")
        }
        guard list.count <= mostMerges else { throw merges.failure("it has more than \(mostMerges) merges, the limit") }
        var table = MergeTable(capacity: list.count)
        for (rank, merge) in list.enumerated() {
            guard let (left, right) = pair(merge) else {
                throw try merges.element(rank).failure("a merge is two tokens: [\"a\", \"b\"] or \"a b\"")
            }
            do throws(MergeRefusal) {
                try add(left, right, rank: rank, prefix: prefix, vocabulary, to: &table)
            } catch {
                throw try merges.element(rank).failure(error.why)
            }
        }
        let unknown = try cursor.optional("unk_token").map { try token($0, vocabulary) }
        let fallsBack = try cursor.optional("byte_fallback")?.bool() ?? false
        let readsBytes = spelledInBytes && prefix.isEmpty && suffix.isEmpty && !fallsBack
        let model = BytePairModel(
            vocabulary: vocabulary, merges: table, rankCount: list.count,
            alphabet: readsBytes
                ? byteAlphabet(vocabulary)
                : scalarAlphabet(vocabulary, prefix: prefix, suffix: suffix, fallsBack: fallsBack),
            unknown: unknown, fusesUnknown: try cursor.optional("fuse_unk")?.bool() ?? false,
            ignoresMerges: try cursor.optional("ignore_merges")?.bool() ?? false)
        return (model, readsBytes)
    }

    /// vocab.json and merges.txt, in GPT-2's byte alphabet.
    /// - Throws: `RetortError` 65, 66.
    static func read(vocabulary path: String, merges mergesPath: String) throws -> BytePairModel {
        let vocabulary = try VocabularyReader.read(
            JSONCursor.read(path, limits: .init(bytes: TokenizerLimit.fileBytes)))
        let file = try TextLines(mergesPath)
        var table = MergeTable(capacity: min(file.count, mostMerges))
        var rank = 0
        for index in 0..<file.count {
            let line = file.text(index)
            if line.isEmpty || index == 0 && line.hasPrefix("#version") { continue }
            guard rank < mostMerges else {
                throw file.failure(index, "the file has more than \(mostMerges) merges, the limit")
            }
            guard let (left, right) = pair(.string(line)) else {
                throw file.failure(index, "a merge is two tokens with a space between them")
            }
            do throws(MergeRefusal) {
                try add(left, right, rank: rank, prefix: "", vocabulary, to: &table)
            } catch {
                throw file.failure(index, error.why)
            }
            rank += 1
        }
        return BytePairModel(
            vocabulary: vocabulary, merges: table, rankCount: rank, alphabet: byteAlphabet(vocabulary), unknown: nil,
            fusesUnknown: false, ignoresMerges: false)
    }

    private struct MergeRefusal: Error {
        let why: String
    }

    private static func pair(_ merge: JSON) -> (String, String)? {
        switch merge {
        case .array(let parts):
            guard parts.count == 2, case .string(let left) = parts[0], case .string(let right) = parts[1] else {
                return nil
            }
            return (left, right)
        case .string(let text):
            let parts = text.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
            guard parts.count == 2, let left = String(parts[0]), let right = String(parts[1]) else { return nil }
            return (left, right)
        default: return nil
        }
    }

    private static func add(
        _ left: String, _ right: String, rank: Int, prefix: String, _ vocabulary: Vocabulary, to table: inout MergeTable
    ) throws(MergeRefusal) {
        guard let leftID = vocabulary.find(left) else { throw notThere(left) }
        guard let rightID = vocabulary.find(right) else { throw notThere(right) }
        let rest = Array(right.utf8)
        let hasPrefix = !prefix.isEmpty && rest.starts(with: prefix.utf8)
        let whole = Array(left.utf8) + rest.dropFirst(hasPrefix ? prefix.utf8.count : 0)
        guard let result = whole.withUnsafeBufferPointer({ vocabulary.find($0) }) else {
            throw notThere(String(decoding: whole, as: UTF8.self))
        }
        // What a merge makes must be new, or merging would not end.
        guard result != leftID, result != rightID else { throw MergeRefusal(why: "it makes no new token") }
        table.add(leftID, rightID, rank: UInt32(rank), result: result)
    }

    private static func notThere(_ token: String) -> MergeRefusal {
        MergeRefusal(why: "the token \(token.quoted()) is not in the vocabulary")
    }

    private static func part(_ cursor: JSONCursor) throws -> String {
        String(decoding: try TokenizerLimit.part(cursor), as: UTF8.self)
    }

    private static func token(_ cursor: JSONCursor, _ vocabulary: Vocabulary) throws -> Int32 {
        let name = try cursor.string()
        guard let id = vocabulary.find(name) else { throw cursor.failure("\(name.quoted()) is not in the vocabulary") }
        return id
    }

    private static func byteAlphabet(_ vocabulary: Vocabulary) -> BytePairModel.Alphabet {
        .bytes(ByteAlphabet.scalars.map { vocabulary.find(String(String.UnicodeScalarView([$0]))) ?? -1 })
    }

    private static func scalarAlphabet(
        _ vocabulary: Vocabulary, prefix: String, suffix: String, fallsBack: Bool
    ) -> BytePairModel.Alphabet {
        var alphabet = BytePairModel.ScalarAlphabet()
        (alphabet.prefix, alphabet.suffix) = (Array(prefix.utf8), Array(suffix.utf8))
        for id in 0..<Int32(vocabulary.idLimit) {
            guard let token = vocabulary.bytes(id), let first = token.first else { continue }
            let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
            guard token.count == length else { continue }
            let scalar = Array(token).withUnsafeBufferPointer { $0.scalar(at: 0).scalar }
            if scalar.value < 0x80 {
                alphabet.ascii[Int(scalar.value)] = id
            } else {
                alphabet.others[scalar.value] = id
            }
        }
        if fallsBack {
            alphabet.byteFallback = (0...255).map { byte in
                ByteFallbackDecoder.name(UInt8(byte)).withUnsafeBufferPointer { vocabulary.find($0) }
            }
        }
        return .scalars(alphabet)
    }
}
