import RetortSupport

/// Adds special tokens round one text or two.
protocol PostProcessor: Sendable {
    /// - Parameter parts: one text or two.
    func process(_ parts: [Encoding], addsSpecialTokens: Bool) -> [Encoding]
    /// How many special tokens one text or a pair gets.
    func addedTokens(isPair: Bool) -> Int
    /// The special tokens, to check them against the vocabulary.
    var ids: [Int32] { get }
}

struct PostProcessorSequence: PostProcessor {
    let parts: [any PostProcessor]

    func process(_ encodings: [Encoding], addsSpecialTokens: Bool) -> [Encoding] {
        parts.reduce(encodings) { $1.process($0, addsSpecialTokens: addsSpecialTokens) }
    }

    func addedTokens(isPair: Bool) -> Int { parts.reduce(0) { $0 + $1.addedTokens(isPair: isPair) } }
    var ids: [Int32] { parts.flatMap(\.ids) }
}

/// Adds nothing: what ByteLevel does here concerns offsets only.
struct NoPostProcessing: PostProcessor {
    func process(_ parts: [Encoding], addsSpecialTokens: Bool) -> [Encoding] { parts }
    func addedTokens(isPair: Bool) -> Int { 0 }
    var ids: [Int32] { [] }
}

/// Texts and special tokens in a fixed order, each with a type id.
struct TemplateProcessing: PostProcessor {
    enum Piece: Sendable {
        case text(Int, typeID: Int32)
        case special([Int32], typeID: Int32)
    }

    let single: [Piece]
    let pair: [Piece]

    func process(_ parts: [Encoding], addsSpecialTokens: Bool) -> [Encoding] {
        var result = Encoding()
        for piece in parts.count == 2 ? pair : single {
            switch piece {
            case .text(let index, let typeID):
                guard index < parts.count else { continue }
                var text = parts[index]
                text.setTypeID(typeID)
                result = result + text
            case .special(let ids, let typeID):
                if addsSpecialTokens { result = result + Encoding(ids: ids, typeID: typeID, isSpecial: true) }
            }
        }
        return [result]
    }

    func addedTokens(isPair: Bool) -> Int {
        Self.ids(of: isPair ? pair : single).count
    }

    var ids: [Int32] { Self.ids(of: single + pair) }

    private static func ids(of pieces: [Piece]) -> [Int32] {
        pieces.flatMap { piece -> [Int32] in
            guard case .special(let ids, _) = piece else { return [] }
            return ids
        }
    }

    /// `[CLS] A [SEP]` and `[CLS] A [SEP] B [SEP]`.
    static func bert(cls: Int32, sep: Int32) -> TemplateProcessing {
        let single: [Piece] = [.special([cls], typeID: 0), .text(0, typeID: 0), .special([sep], typeID: 0)]
        return TemplateProcessing(single: single, pair: single + [.text(1, typeID: 1), .special([sep], typeID: 1)])
    }

    /// `<s> A </s>` and `<s> A </s> </s> B </s>`, all of type 0.
    static func roberta(cls: Int32, sep: Int32) -> TemplateProcessing {
        let single: [Piece] = [.special([cls], typeID: 0), .text(0, typeID: 0), .special([sep], typeID: 0)]
        let second: [Piece] = [.special([sep], typeID: 0), .text(1, typeID: 0), .special([sep], typeID: 0)]
        return TemplateProcessing(single: single, pair: single + second)
    }
}
