import RetortSupport

/// The end of a text.
public enum TextSide: String, Sendable, CaseIterable {
    case left = "Left"
    case right = "Right"

    static func read(_ cursor: JSONCursor?) throws -> TextSide {
        guard let cursor else { return .right }
        guard let side = TextSide(rawValue: try cursor.string()) else {
            throw cursor.failure("it must be Left or Right")
        }
        return side
    }
}

/// Cuts encodings to a length, special tokens included.
public struct Truncation: Sendable, Equatable {
    /// Which text of a pair is cut.
    public enum Strategy: String, Sendable, CaseIterable {
        case longestFirst = "LongestFirst"
        case onlyFirst = "OnlyFirst"
        case onlySecond = "OnlySecond"
    }

    /// Tokens.
    public var length: Int
    public var strategy: Strategy
    /// The side that tokens are taken from.
    public var side: TextSide

    public init(length: Int, strategy: Strategy = .longestFirst, side: TextSide = .right) {
        self.length = length
        self.strategy = strategy
        self.side = side
    }

    /// - Throws: `RetortError` 65.
    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["direction", "max_length", "strategy", "stride"])
        length = try cursor.member("max_length").int(in: 0...Int(Int32.max))
        side = try TextSide.read(cursor.optional("direction"))
        strategy = .longestFirst
        if let name = try cursor.optional("strategy") {
            guard let known = Strategy(rawValue: try name.string()) else {
                throw name.failure("it must be LongestFirst, OnlyFirst or OnlySecond")
            }
            strategy = known
        }
    }

    /// Cuts one or two texts so that with `added` special tokens they have at most `length`.
    /// - Throws: `RetortError` 65 when the text that may be cut is too short for it.
    func apply(to parts: inout [Encoding], added: Int) throws {
        let room = length - added
        guard room >= 0 else {
            throw RetortError.badData(
                "truncating to \(length) tokens leaves no room", why: "there are \(added) special tokens")
        }
        let total = parts.reduce(0) { $0 + $1.count }
        guard total > room else { return }
        switch strategy {
        case .longestFirst where parts.count == 2:
            let lengths = Self.longestFirst(parts[0].count, parts[1].count, room)
            cut(&parts[0], to: lengths.0)
            cut(&parts[1], to: lengths.1)
        case .longestFirst, .onlyFirst: try cut(&parts, 0, by: total - room)
        case .onlySecond: try cut(&parts, 1, by: total - room)
        }
    }

    /// The shorter text stays whole as long as the longer one is not shorter than it.
    private static func longestFirst(_ first: Int, _ second: Int, _ room: Int) -> (Int, Int) {
        var (short, long) = (min(first, second), max(first, second))
        long = short > room ? short : max(short, room - short)
        if short + long > room {
            short = room / 2
            long = short + room % 2
        }
        return first > second ? (long, short) : (short, long)
    }

    private func cut(_ parts: inout [Encoding], _ index: Int, by excess: Int) throws {
        guard index < parts.count, parts[index].count > excess || parts.count == 1 else {
            throw RetortError.badData(
                "truncating to \(length) tokens is not possible",
                why: "text \(index + 1) alone may be cut, and is too short for it")
        }
        cut(&parts[index], to: max(parts[index].count - excess, 0))
    }

    private func cut(_ encoding: inout Encoding, to count: Int) {
        guard count < encoding.count else { return }
        encoding.keep(side == .right ? 0..<count : encoding.count - count..<encoding.count)
    }
}
