import RetortSupport

/// The post-processors a tokenizer.json may name.
enum PostProcessorReader {
    /// Special tokens of one template.
    private static let mostPieces = 1024

    static let kinds: [Component<any PostProcessor>] = [
        .init("Sequence") { cursor in
            try cursor.expectKeys(["type", "processors"])
            return PostProcessorSequence(parts: try cursor.member("processors").elements().map(read))
        },
        .init("ByteLevel") { _ in NoPostProcessing() },
        .init("TemplateProcessing") { cursor in
            try cursor.expectKeys(["type", "single", "pair", "special_tokens"])
            let tokens = try cursor.member("special_tokens")
            return TemplateProcessing(
                single: try pieces(cursor.member("single"), tokens, mostTexts: 1),
                pair: try pieces(cursor.member("pair"), tokens, mostTexts: 2))
        },
        .init("BertProcessing") { cursor in
            try cursor.expectKeys(["type", "sep", "cls"])
            return TemplateProcessing.bert(
                cls: try tokenAndID(cursor.member("cls")), sep: try tokenAndID(cursor.member("sep")))
        },
        .init("RobertaProcessing") { cursor in
            try cursor.expectKeys(["type", "sep", "cls", "trim_offsets", "add_prefix_space"])
            return TemplateProcessing.roberta(
                cls: try tokenAndID(cursor.member("cls")), sep: try tokenAndID(cursor.member("sep")))
        },
    ]

    /// - Throws: `RetortError` 65 for an unknown or damaged one.
    static func read(_ cursor: JSONCursor) throws -> any PostProcessor {
        try Component.read(cursor, "post-processor", among: kinds)
    }

    private static func pieces(
        _ cursor: JSONCursor, _ tokens: JSONCursor, mostTexts: Int
    ) throws -> [TemplateProcessing.Piece] {
        let elements = try cursor.elements()
        guard elements.count <= mostPieces else {
            throw cursor.failure("it has more than \(mostPieces) pieces, the limit")
        }
        return try elements.map { element in
            try element.expectKeys(["Sequence", "SpecialToken"])
            if let text = try element.optional("Sequence") {
                let name = try text.member("id")
                guard let index = ["A", "B"].prefix(mostTexts).firstIndex(of: try name.string()) else {
                    throw name.failure(mostTexts == 1 ? "it must be A" : "it must be A or B")
                }
                return .text(index, typeID: try typeID(text))
            }
            let special = try element.member("SpecialToken")
            let ids = try tokens.member(special.member("id").string()).member("ids").elements()
            guard ids.count <= mostPieces else {
                throw special.failure("it has more than \(mostPieces) ids, the limit")
            }
            return .special(try ids.map(id), typeID: try typeID(special))
        }
    }

    private static func typeID(_ cursor: JSONCursor) throws -> Int32 {
        Int32(try cursor.member("type_id").int(in: 0...Int(Int32.max)))
    }

    private static func id(_ cursor: JSONCursor) throws -> Int32 {
        Int32(try cursor.int(in: 0...Vocabulary.Limit.size - 1))
    }

    /// `["[CLS]", 101]`
    private static func tokenAndID(_ cursor: JSONCursor) throws -> Int32 {
        let pair = try cursor.elements()
        guard pair.count == 2 else { throw cursor.failure("it must be a token and its id") }
        return try id(pair[1])
    }
}
