import RetortSupport

/// The normalizers a tokenizer.json may name.
enum NormalizerReader {
    static let kinds: [Component<any Normalizer>] =
        UnicodeNormalizer.Form.allCases.map { form in .init(form.rawValue) { _ in UnicodeNormalizer(form: form) } } + [
            .init("Sequence") { cursor in
                try cursor.expectKeys(["type", "normalizers"])
                return NormalizerSequence(parts: try cursor.member("normalizers").elements().map(read))
            },
            .init("Lowercase") { _ in ScalarNormalizer.lowercase },
            .init("StripAccents") { _ in ScalarNormalizer.stripMarks },
            .init("Precompiled") { cursor in try PrecompiledNormalizer(cursor) },
            .init("BertNormalizer") { cursor in
                try cursor.expectKeys(["type", "clean_text", "handle_chinese_chars", "strip_accents", "lowercase"])
                let lowercases = try cursor.member("lowercase").bool()
                return BertNormalizer(
                    cleansText: try cursor.member("clean_text").bool(),
                    separatesIdeographs: try cursor.member("handle_chinese_chars").bool(),
                    stripsAccents: try cursor.optional("strip_accents")?.bool() ?? lowercases, lowercases: lowercases)
            },
            .init("Replace") { cursor in
                try cursor.expectKeys(["type", "pattern", "content"])
                return ReplaceNormalizer(
                    pattern: try TextPattern(cursor.member("pattern")),
                    content: try TokenizerLimit.part(cursor.member("content")))
            },
            .init("Prepend") { cursor in
                try cursor.expectKeys(["type", "prepend"])
                return PrependNormalizer(prefix: try TokenizerLimit.part(cursor.member("prepend")))
            },
            .init("Strip") { cursor in
                try cursor.expectKeys(["type", "strip_left", "strip_right"])
                return StripNormalizer(
                    left: try cursor.member("strip_left").bool(), right: try cursor.member("strip_right").bool())
            },
        ]

    /// - Throws: `RetortError` 65 for an unknown or damaged one.
    static func read(_ cursor: JSONCursor) throws -> any Normalizer {
        try Component.read(cursor, "normalizer", among: kinds)
    }
}
