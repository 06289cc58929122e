import RetortSupport

/// The decoders a tokenizer.json may name.
enum DecoderReader {
    static let kinds: [Component<any TokenDecoder>] = [
        .init("Sequence") { cursor in
            try cursor.expectKeys(["type", "decoders"])
            return DecoderSequence(parts: try cursor.member("decoders").elements().map(read))
        },
        .init("ByteLevel") { _ in ByteLevelDecoder() },
        .init("WordPiece") { cursor in
            try cursor.expectKeys(["type", "prefix", "cleanup"])
            return WordPieceDecoder(
                prefix: Array(try cursor.member("prefix").string().utf8), cleansUp: try cursor.member("cleanup").bool())
        },
        .init("Metaspace") { cursor in MetaspaceDecoder(metaspace: try Metaspace(cursor)) },
        .init("ByteFallback") { _ in ByteFallbackDecoder() },
        .init("Fuse") { _ in FuseDecoder() },
        .init("Strip") { cursor in
            try cursor.expectKeys(["type", "content", "start", "stop"])
            let content = try cursor.member("content")
            guard try content.string().unicodeScalars.count == 1 else {
                throw content.failure("it must be one character")
            }
            return StripDecoder(
                content: Array(try content.string().utf8), start: try cursor.member("start").int(in: 0...Int.max),
                stop: try cursor.member("stop").int(in: 0...Int.max))
        },
        .init("Replace") { cursor in
            try cursor.expectKeys(["type", "pattern", "content"])
            return ReplaceDecoder(
                pattern: try TextPattern(cursor.member("pattern")),
                content: try TokenizerLimit.part(cursor.member("content")))
        },
        .init("BPEDecoder") { cursor in
            try cursor.expectKeys(["type", "suffix"])
            return SuffixDecoder(suffix: Array(try cursor.member("suffix").string().utf8))
        },
    ]

    /// - Throws: `RetortError` 65 for an unknown or damaged one.
    static func read(_ cursor: JSONCursor) throws -> any TokenDecoder {
        try Component.read(cursor, "decoder", among: kinds)
    }
}
