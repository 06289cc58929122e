import RetortSupport

/// What a tokenizer.model says: SentencePiece's ModelProto, as far as it bears on encoding and decoding. How the model was trained is
/// passed over, as are fields that are not known. (Kudo and Richardson, "SentencePiece", 2018; sentencepiece_model.proto.)
///
/// The file is read here and not by libsentencepiece: that library has no C interface, would parse a file from outside in this
/// process, and would be a second engine beside the one for tokenizer.json.
struct SentencePieceFile {
    enum ModelType: Int { case unigram = 1, bpe, word, char }

    enum PieceType: Int { case normal = 1, unknown, control, userDefined, unused, byte }

    struct Piece {
        var text = ""
        var score: Float = 0
        var type = PieceType.normal
    }

    struct NormalizerSpec {
        /// What characters become; nil when they stay as they are.
        var map: CharacterMap?
        var addsDummyPrefix = true
        var removesExtraSpaces = true
        var escapesSpaces = true
    }

    let file: String
    private(set) var pieces: [Piece] = []
    private(set) var modelType = ModelType.unigram
    private(set) var fallsBackToBytes = false
    private(set) var treatsSpaceAsSuffix = false
    private(set) var normalizer = NormalizerSpec()
    private(set) var denormalizer: NormalizerSpec?
    /// What an unknown piece looks like in a decoded text.
    private(set) var unknownSurface = " \u{2047} "
    /// By role: "unk", "bos", "eos", "pad".
    private(set) var names = ["unk": "<unk>", "bos": "<s>", "eos": "</s>", "pad": "<pad>"]
    /// Pieces by text, the position being the id.
    private(set) var vocabulary = Vocabulary(capacity: 0)
    /// −1 for a model that needs none, having all bytes.
    private(set) var unknown: Int32 = -1

    /// Bytes of one piece. It can be as many merges, and a text takes as many steps a byte.
    static let longestPiece = 512
    /// Bytes of all user-defined pieces: texts are searched for them with a tree of that many nodes.
    private static let mostUserDefinedBytes = 8 << 20
    private var userDefinedBytes = 0

    /// - Throws: `RetortError` 65 with the byte offset for a damaged file or one of another kind, 66 when it is not there.
    init(_ path: String) throws {
        file = path
        let reader = try WireReader(path)
        vocabulary = Vocabulary(capacity: reader.bytes.count / 16)
        // A trainer_spec may follow the pieces that it is about.
        var byteOffsets: [(byte: UInt8, offset: Int)] = []
        try reader.forEachField(in: 0..<reader.bytes.count) { field in
            switch field.number {
            case 1: try addPiece(field, reader, &byteOffsets)
            case 2: try readTrainer(field.range(reader), reader)
            case 3: try Self.read(&normalizer, field.range(reader), reader)
            case 5:
                var spec = denormalizer ?? NormalizerSpec()
                try Self.read(&spec, field.range(reader), reader)
                denormalizer = spec
            default: break
            }
        }
        try check(reader, byteOffsets)
    }

    private mutating func addPiece(
        _ field: WireReader.Field, _ reader: WireReader, _ byteOffsets: inout [(byte: UInt8, offset: Int)]
    ) throws {
        var piece = Piece()
        try reader.forEachField(in: field.range(reader)) { part in
            switch part.number {
            case 1: piece.text = try part.string(reader)
            case 2: piece.score = try part.float(reader)
            case 3:
                guard let type = PieceType(rawValue: try part.int(reader)) else {
                    throw reader.failure(part.offset, "a piece's type must be 1 to 6")
                }
                piece.type = type
            default: break
            }
        }
        let id = pieces.count
        guard !piece.text.isEmpty else { throw reader.failure(field.offset, "piece \(id) is empty") }
        guard piece.text.utf8.count <= Self.longestPiece else {
            throw reader.failure(field.offset, "piece \(id) has more than \(Self.longestPiece) bytes, the limit")
        }
        do throws(Vocabulary.Refusal) {
            try vocabulary.add(piece.text, id: id)
        } catch {
            throw reader.failure(field.offset, "piece \(id): " + VocabularyReader.why(error, id: id))
        }
        if piece.type == .userDefined {
            userDefinedBytes += piece.text.utf8.count
            guard userDefinedBytes <= Self.mostUserDefinedBytes else {
                throw reader.failure(
                    field.offset,
                    "its user-defined pieces have more than \(Self.mostUserDefinedBytes >> 20) MiB together, the limit")
            }
        }
        if piece.type == .unknown {
            guard unknown < 0 else { throw reader.failure(field.offset, "piece \(id) is a second unknown piece") }
            unknown = Int32(id)
        }
        if piece.type == .byte {
            let text = Array(piece.text.utf8)
            guard let byte = ByteFallbackDecoder.byte(text), ByteFallbackDecoder.name(byte) == text else {
                throw reader.failure(field.offset, "\(piece.text.quoted()) is not the name of a byte, <0x00> to <0xFF>")
            }
            byteOffsets.append((byte, field.offset))
        }
        pieces.append(piece)
    }

    private mutating func readTrainer(_ range: Range<Int>, _ reader: WireReader) throws {
        try reader.forEachField(in: range) { field in
            switch field.number {
            case 3:
                let number = try field.int(reader)
                guard let type = ModelType(rawValue: number) else {
                    throw reader.failure(field.offset, "there is no model_type \(number)")
                }
                guard type == .unigram || type == .bpe else {
                    throw reader.failure(
                        field.offset, "model_type \(type == .word ? "WORD" : "CHAR") is not read; UNIGRAM and BPE are")
                }
                modelType = type
            case 24: treatsSpaceAsSuffix = try field.bool(reader)
            case 35: fallsBackToBytes = try field.bool(reader)
            // Which ids they have follows from the pieces themselves, as in the reference implementation.
            case 40...43: _ = try field.int(reader)
            case 44: unknownSurface = try field.string(reader)
            case 45: names["unk"] = try field.string(reader)
            case 46: names["bos"] = try field.string(reader)
            case 47: names["eos"] = try field.string(reader)
            case 48: names["pad"] = try field.string(reader)
            default: break
            }
        }
    }

    private static func read(_ spec: inout NormalizerSpec, _ range: Range<Int>, _ reader: WireReader) throws {
        try reader.forEachField(in: range) { field in
            switch field.number {
            case 2:
                let map = try field.range(reader)
                do throws(CharacterMap.Refusal) {
                    spec.map = map.isEmpty ? nil : try CharacterMap(reader.bytes[map])
                } catch {
                    throw reader.failure(map.lowerBound + error.offset, "in precompiled_charsmap: \(error.why)")
                }
            case 3: spec.addsDummyPrefix = try field.bool(reader)
            case 4: spec.removesExtraSpaces = try field.bool(reader)
            case 5: spec.escapesSpaces = try field.bool(reader)
            // normalization_rule_tsv, 6: what the map was made from.
            default: break
            }
        }
    }

    private func check(_ reader: WireReader, _ byteOffsets: [(byte: UInt8, offset: Int)]) throws {
        guard unknown >= 0 || fallsBackToBytes else {
            throw reader.failure(
                reader.bytes.count, "it ends without an unknown piece (type 2) and without byte_fallback")
        }
        if let first = byteOffsets.first, !fallsBackToBytes {
            throw reader.failure(first.offset, "there is a byte piece, yet byte_fallback is false")
        }
        if fallsBackToBytes, Set(byteOffsets.map(\.byte)).count != 256 {
            throw reader.failure(
                reader.bytes.count,
                "byte_fallback is true, yet \(Set(byteOffsets.map(\.byte)).count) of the 256 byte pieces are there")
        }
    }

    /// The text of a role's piece; nil when there is none, or it is not set apart from what texts are cut into.
    func name(_ role: String) -> String? {
        guard role != "unk" else { return unknown < 0 ? nil : pieces[Int(unknown)].text }
        guard let name = names[role], let id = vocabulary.find(name), pieces[Int(id)].type == .control else {
            return nil
        }
        return name
    }

    /// The ids of `<0x00>` to `<0xFF>`; empty without byte fallback.
    var byteIDs: [Int32] {
        guard fallsBackToBytes else { return [] }
        return (0...255).map { byte in
            ByteFallbackDecoder.name(UInt8(byte)).withUnsafeBufferPointer { vocabulary.find($0) } ?? unknown
        }
    }

    /// User-defined pieces: found in the text itself, and never cut.
    var userDefined: ByteTrie {
        var trie = ByteTrie()
        for (id, piece) in pieces.enumerated() where piece.type == .userDefined {
            trie.insert(piece.text.utf8, value: Int32(id))
        }
        return trie
    }
}
