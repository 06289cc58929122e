import RetortSupport

/// What becomes of the matches when a text is split at them.
enum SplitBehavior: String, CaseIterable, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"

    /// - Throws: `RetortError` 65 for another word.
    static func read(_ cursor: JSONCursor) throws -> SplitBehavior {
        let name = try cursor.string()
        guard let behavior = SplitBehavior(rawValue: name) else {
            throw cursor.failure(
                "there is no behavior \(name.quoted())",
                help: EditDistance.suggestion(for: name, among: allCases.map(\.rawValue)))
        }
        return behavior
    }

    /// Splits `text` into the matches of `matcher` and what is between them, and hands on the pieces that are not empty.
    /// - Parameter inverted: what is between the matches counts as match.
    func split(
        _ text: TextSlice, at matcher: some TextMatcher, inverted: Bool = false, _ emit: (TextSlice) throws -> Void
    ) throws {
        var pieces = Pieces(behavior: self)
        var end = 0
        try matcher.forEachMatch(in: text.bytes) { match in
            if end < match.lowerBound, let piece = pieces.add(end..<match.lowerBound, isMatch: inverted) {
                try emit(text[piece])
            }
            if !match.isEmpty, let piece = pieces.add(match, isMatch: !inverted) { try emit(text[piece]) }
            end = match.upperBound
        }
        if end < text.bytes.count, let piece = pieces.add(end..<text.bytes.count, isMatch: inverted) {
            try emit(text[piece])
        }
        if let piece = pieces.finish() { try emit(text[piece]) }
    }
}

/// Finds stretches of a text.
protocol TextMatcher: Sendable {
    /// Calls `body` with each match, from left to right, not overlapping.
    func forEachMatch(in text: Bytes, _ body: (Range<Int>) throws -> Void) throws
}

extension Pattern: TextMatcher {}

/// The occurrences of a string; an empty one occurs nowhere.
struct StringMatcher: TextMatcher {
    let string: [UInt8]

    func forEachMatch(in text: Bytes, _ body: (Range<Int>) throws -> Void) throws {
        guard let first = string.first else { return }
        var position = 0
        while position + string.count <= text.count {
            if text[position] == first, text[position..<position + string.count].elementsEqual(string) {
                try body(position..<position + string.count)
                position += string.count
            } else {
                position += 1
            }
        }
    }
}

/// Single characters of one kind.
struct CharacterMatcher: TextMatcher {
    let isMatch: @Sendable (Unicode.Scalar) -> Bool

    func forEachMatch(in text: Bytes, _ body: (Range<Int>) throws -> Void) throws {
        var position = 0
        while position < text.count {
            let (scalar, length) = text.scalar(at: position)
            if isMatch(scalar) { try body(position..<position + length) }
            position += length
        }
    }
}

/// Puts stretches of text, alternately matches and gaps, together to pieces: one stretch in, at most one finished piece out.
private struct Pieces {
    let behavior: SplitBehavior
    private var open: Range<Int>?
    private var wasMatch = false

    init(behavior: SplitBehavior) { self.behavior = behavior }

    mutating func add(_ range: Range<Int>, isMatch: Bool) -> Range<Int>? {
        switch behavior {
        case .isolated: return range
        case .removed: return isMatch ? nil : range
        case .mergedWithPrevious:
            // A match joins what was before it, unless that was a match too.
            let joins = isMatch && !wasMatch
            wasMatch = isMatch
            return put(range, joins: joins)
        case .mergedWithNext:
            // What follows a match joins it, unless it is a match too.
            let joins = wasMatch && !isMatch
            wasMatch = isMatch
            return put(range, joins: joins)
        case .contiguous:
            let joins = isMatch == wasMatch
            wasMatch = isMatch
            return put(range, joins: joins)
        }
    }

    mutating func finish() -> Range<Int>? {
        defer { open = nil }
        return open
    }

    private mutating func put(_ range: Range<Int>, joins: Bool) -> Range<Int>? {
        if joins, let start = open?.lowerBound {
            open = start..<range.upperBound
            return nil
        }
        defer { open = range }
        return open
    }
}
