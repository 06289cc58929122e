import RetortSupport

/// The pre-tokenizers a tokenizer.json may name.
enum PreTokenizerReader {
    static let kinds: [Component<any PreTokenizer>] = [
        .init("Sequence") { cursor in
            try cursor.expectKeys(["type", "pretokenizers"])
            return PreTokenizerSequence(parts: try cursor.member("pretokenizers").elements().map(read))
        },
        .init("ByteLevel") { cursor in
            try cursor.expectKeys(["type", "add_prefix_space", "trim_offsets", "use_regex"])
            let usesPattern = try cursor.optional("use_regex")?.bool() ?? true
            return ByteLevelPreTokenizer(
                addsPrefixSpace: try cursor.member("add_prefix_space").bool(),
                pattern: usesPattern ? try Pattern(ByteLevelPreTokenizer.words, at: nil) : nil)
        },
        .init("Split") { cursor in
            try cursor.expectKeys(["type", "pattern", "behavior", "invert"])
            let behavior = try SplitBehavior.read(cursor.member("behavior"))
            let inverted = try cursor.optional("invert")?.bool() ?? false
            switch try TextPattern(cursor.member("pattern")) {
            case .string(let string):
                return MatchSplit(matcher: StringMatcher(string: string), behavior: behavior, inverted: inverted)
            case .pattern(let pattern): return MatchSplit(matcher: pattern, behavior: behavior, inverted: inverted)
            }
        },
        .init("Whitespace") { _ in WhitespaceSplit() },
        .init("WhitespaceSplit") { _ in characters(.removed) { $0.isSpace } },
        .init("BertPreTokenizer") { _ in BertSplit() },
        .init("Metaspace") { cursor in try Metaspace(cursor) },
        .init("Digits") { cursor in
            try cursor.expectKeys(["type", "individual_digits"])
            let isIndividual = try cursor.optional("individual_digits")?.bool() ?? false
            return characters(isIndividual ? .isolated : .contiguous) { $0.isNumber }
        },
        .init("Punctuation") { cursor in
            try cursor.expectKeys(["type", "behavior"])
            let behavior = try cursor.optional("behavior").map(SplitBehavior.read) ?? .isolated
            return characters(behavior) { $0.isPunctuation }
        },
        .init("CharDelimiterSplit") { cursor in
            try cursor.expectKeys(["type", "delimiter"])
            let scalars = try cursor.member("delimiter").string().unicodeScalars
            guard let delimiter = scalars.first, scalars.count == 1 else {
                throw try cursor.member("delimiter").failure("it must be one character")
            }
            return characters(.removed) { $0 == delimiter }
        },
    ]

    private static func characters(
        _ behavior: SplitBehavior, _ isMatch: @escaping @Sendable (Unicode.Scalar) -> Bool
    ) -> any PreTokenizer {
        MatchSplit(matcher: CharacterMatcher(isMatch: isMatch), behavior: behavior)
    }

    /// - Throws: `RetortError` 65 for an unknown or damaged one.
    static func read(_ cursor: JSONCursor) throws -> any PreTokenizer {
        try Component.read(cursor, "pre-tokenizer", among: kinds)
    }
}
