import Foundation
import RetortModels
import RetortSupport

/// The tokenizers that benchmarks use where the user names none, learned from `BenchText` and written as the files of the models that they
/// are like.
enum MadeTokenizer: String, CaseIterable {
    /// GPT-2: vocab.json and merges.txt over an alphabet of bytes, words split by a pattern.
    case byteLevelBPE = "byte_level_bpe"
    /// Llama 2: `▁` for spaces, characters and bytes where there is no character, the whole text one word.
    case sentencePieceBPE = "sentencepiece_bpe"
    /// BERT: vocab.txt, lower case, the longest piece first.
    case wordPiece = "wordpiece"

    /// What all of them are made of.
    static func learn(from bytes: Int = 1 << 20, words: Int = 5000, merges: Int = 2000) -> LearnedMerges {
        let text = BenchText.prose(bytes)
        var learned = LearnedMerges(Array(BenchText.words(of: text).prefix(words)), count: merges)
        // Runs of a letter, as GPT-2's vocabulary has them: a long run then is merged again and again.
        var run = Int(UInt8(ascii: "a"))
        for _ in 0..<3 { run = learned.merge(.init(left: run, right: run)) }
        return learned
    }

    /// Writes its files into a temporary folder and reads them.
    /// - Throws: exit 69 when text is split by a pattern and PCRE2 is not installed; 73 and 74 for the folder.
    func make(_ learned: LearnedMerges) throws -> Tokenizer {
        let folder = FileManager.default.temporaryDirectory.path + "/retort-bench-\(UUID().uuidString)"
        try Folder.createWithParents(folder)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        for (name, content) in files(learned) { try AtomicFile.write(content, to: folder + "/" + name) }
        return try Tokenizer.load(folder)
    }

    /// Whether a text's ids stand for the text: no byte lost, none added.
    func isRight(_ tokenizer: Tokenizer, _ text: String) throws -> Bool {
        let ids = try tokenizer.encode(text, addSpecialTokens: false).ids
        guard self == .wordPiece else { return try tokenizer.decode(ids) == text }
        // Its decoder puts spaces where none were: the pieces one after the other are the text without spaces.
        let pieces = ids.map { id -> Substring in
            let piece = tokenizer.token(id) ?? "[UNK]"
            return piece.hasPrefix("##") ? piece.dropFirst(2) : piece[...]
        }
        return pieces.joined(separator: "") == text.lowercased().filter { !$0.isWhitespace }
    }

    private func files(_ learned: LearnedMerges) -> [(name: String, content: String)] {
        switch self {
        case .byteLevelBPE:
            let spell = Self.byteLevelSpelling
            let merges = learned.merges.map {
                spell(learned.tokens[$0.left]) + " " + spell(learned.tokens[$0.right])
            }
            return [
                ("vocab.json", Self.vocabulary(learned.tokens.map(spell)).text()),
                ("merges.txt", "#version: 0.2\n" + merges.joined(separator: "\n") + "\n"),
            ]
        case .sentencePieceBPE: return [("tokenizer.json", Self.llama(learned).text())]
        case .wordPiece: return [("vocab.txt", Self.pieces(learned).joined(separator: "\n") + "\n")]
        }
    }

    /// Tokens by their place; a text that comes twice keeps its first.
    private static func vocabulary(_ tokens: [String]) -> JSON {
        var seen: Set<String> = []
        let unique = tokens.filter { seen.insert($0).inserted }
        return .object(unique.enumerated().map { (key: $1, value: JSON.int($0)) })
    }

    // MARK: Byte-level BPE

    /// Bytes in GPT-2's alphabet: itself where it is printable Latin-1, else the next character from U+0100 on.
    private static func byteLevelSpelling(_ bytes: [UInt8]) -> String {
        var text = ""
        for byte in bytes { text.unicodeScalars.append(alphabet[Int(byte)]) }
        return text
    }

    private static let alphabet: [Unicode.Scalar] = {
        var next: UInt32 = 0x100
        return (0..<256).map { (byte: UInt32) -> Unicode.Scalar in
            let isPrintable =
                (0x21...0x7E).contains(byte) || (0xA1...0xAC).contains(byte) || (0xAE...0xFF).contains(byte)
            defer { if !isPrintable { next += 1 } }
            return Unicode.Scalar(isPrintable ? byte : next) ?? "\u{FFFD}"
        }
    }()

    // MARK: SentencePiece

    private static func llama(_ learned: LearnedMerges) -> JSON {
        func spell(_ bytes: [UInt8]) -> String {
            String(decoding: bytes, as: UTF8.self).replacing(" ", with: "▁")
        }
        var tokens = ["<unk>", "<s>", "</s>"]
        for byte in 0...255 {
            let digits = String(byte, radix: 16, uppercase: true)
            tokens.append("<0x\(digits.count < 2 ? "0" : "")\(digits)>")
        }
        tokens += (0x20...0x7E).map { spell([UInt8($0)]) }
        tokens += learned.tokens.dropFirst(256).map(spell)
        let merges: [JSON] = learned.merges.map {
            .array([.string(spell(learned.tokens[$0.left])), .string(spell(learned.tokens[$0.right]))])
        }
        let model: JSON = [
            "type": "BPE", "dropout": nil, "unk_token": "<unk>", "continuing_subword_prefix": nil,
            "end_of_word_suffix": nil, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocabulary(tokens), "merges": .array(merges),
        ]
        let space: JSON = ["String": " "]
        let mark: JSON = ["String": "▁"]
        let normalizers: [JSON] = [
            ["type": "Prepend", "prepend": "▁"], ["type": "Replace", "pattern": space, "content": "▁"],
        ]
        let decoders: [JSON] = [
            ["type": "Replace", "pattern": mark, "content": " "], ["type": "ByteFallback"], ["type": "Fuse"],
            ["type": "Strip", "content": " ", "start": 1, "stop": 0],
        ]
        return [
            "version": "1.0", "normalizer": ["type": "Sequence", "normalizers": .array(normalizers)],
            "decoder": ["type": "Sequence", "decoders": .array(decoders)], "model": model,
        ]
    }

    // MARK: WordPiece

    /// What begins a word as it is, the rest behind `##`; every character both ways, so that no word is unknown.
    private static func pieces(_ learned: LearnedMerges) -> [String] {
        let characters = (0x21...0x7E).filter { !(0x41...0x5A).contains($0) }.flatMap { code -> [String] in
            let character = String(decoding: [UInt8(code)], as: UTF8.self)
            return [character, "##" + character]
        }
        let tokens = learned.tokens.dropFirst(256).map { token -> String in
            let text = String(decoding: token, as: UTF8.self)
            return text.hasPrefix(" ") ? String(text.dropFirst()) : "##" + text
        }
        var seen: Set<String> = []
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return (special + characters + tokens).filter { seen.insert($0).inserted }
    }
}
