import RetortSupport

/// SentencePiece's precompiled_charsmap: what strings of characters become, in a Darts double array and the texts that it leads to.
/// (Aoe, "An efficient digital search algorithm by using a double-array structure", 1989; `Normalizer::DecodePrecompiledCharsMap`.)
///
/// Layout: the array's size in bytes (u32), the array (u32 units, little-endian), texts that each end with a zero byte. A unit is either a value
/// (bit 31; the place of a text) or a node: bits 0–7 the byte that leads to it, bit 8 whether a key ends there, the rest how far its
/// children are. All that can be reached is checked here, once: it has an end, is inside of the array, and its values are texts.
struct CharacterMap: Sendable {
    /// Why it cannot be used, and where in it.
    struct Refusal: Error {
        let offset: Int
        let why: String
    }

    private let units: [UInt32]
    private let texts: [UInt8]

    /// Bytes of a key. A text takes as many steps a byte.
    private static let longestKey = 256

    init(_ blob: ArraySlice<UInt8>) throws(Refusal) {
        func word(_ offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(blob[blob.startIndex + offset + $1]) << UInt32(8 * $1) }
        }
        guard blob.count > 4 else { throw Refusal(offset: 0, why: "it has \(blob.count) bytes, too few for its size") }
        let size = Int(word(0))
        guard size > 0, size % 4 == 0, size < blob.count - 4 else {
            throw Refusal(offset: 0, why: "its array is to have \(size) bytes, of \(blob.count - 4) that are left")
        }
        units = (0..<size / 4).map { word(4 + 4 * $0) }
        texts = Array(blob[(blob.startIndex + 4 + size)...])
        try check()
    }

    @inline(__always)
    private static func base(_ node: Int, _ unit: UInt32) -> Int { node ^ Int((unit >> 10) << ((unit & 1 << 9) >> 6)) }

    @inline(__always)
    private static func isLabelled(_ unit: UInt32, _ byte: UInt8) -> Bool { unit & 0x8000_00FF == UInt32(byte) }

    private static func value(_ unit: UInt32) -> Int { Int(unit & 0x7FFF_FFFF) }

    private func check() throws(Refusal) {
        if let place = UTF8Check.firstInvalidOffset(in: texts) {
            throw Refusal(offset: 4 + 4 * units.count + place, why: "its texts are not valid UTF-8 here")
        }
        guard texts.last == 0 else {
            throw Refusal(offset: 4 + 4 * units.count + texts.count, why: "its last text has no end")
        }
        // Of each base the nodes that would be its children: those whose own byte leads from there to them.
        var firstChild = [Int32](repeating: -1, count: units.count)
        var nextChild = firstChild
        for (node, unit) in units.enumerated() where unit >> 31 == 0 && unit & 0xFF != 0 {
            let base = node ^ Int(unit & 0xFF)
            guard base < units.count else { continue }
            nextChild[node] = firstChild[base]
            firstChild[base] = Int32(node)
        }
        // Depth first. Ends of keys are shared, so of each base it is noted how far below it goes; an open one met again is a circle.
        var depths = [Int](repeating: Self.unseen, count: units.count)
        var open: [(base: Int, child: Int32, depth: Int)] = []
        func enter(_ node: Int) throws(Refusal) -> Int {
            let base = Self.base(node, units[node])
            guard base < units.count else {
                throw Refusal(offset: 4 + 4 * node, why: "a node's children are outside of the array")
            }
            guard node > 0, units[node] & 1 << 8 != 0 else { return base }
            let unit = units[base]
            guard unit >> 31 == 1, Self.value(unit) < texts.count, texts[Self.value(unit)] & 0xC0 != 0x80 else {
                throw Refusal(offset: 4 + 4 * base, why: "a key leads to no text")
            }
            return base
        }
        let root = try enter(0)
        depths[root] = Self.open
        open.append((root, firstChild[root], 0))
        while let (base, child, depth) = open.last {
            let last = open.count - 1
            guard child >= 0 else {
                depths[base] = depth
                open.removeLast()
                if last > 0 { open[last - 1].depth = max(open[last - 1].depth, depth + 1) }
                continue
            }
            open[last].child = nextChild[Int(child)]
            let below = try enter(Int(child))
            guard depths[below] != Self.open else {
                throw Refusal(offset: 4 + 4 * Int(child), why: "a node is below itself")
            }
            guard open.count + max(depths[below], 0) < Self.longestKey else {
                throw Refusal(
                    offset: 4 + 4 * Int(child), why: "a key has more than \(Self.longestKey) bytes, the limit")
            }
            if depths[below] == Self.unseen {
                depths[below] = Self.open
                open.append((below, firstChild[below], 0))
            } else {
                open[last].depth = max(depth, depths[below] + 1)
            }
        }
    }

    private static let unseen = -1
    private static let open = -2

    /// A key that a text goes on with.
    struct Match {
        /// Where in the text it ends.
        let end: Int
        /// Where its replacement is.
        fileprivate let value: Int
    }

    /// The shortest key that begins at `start` and ends at `end` or before.
    @inline(__always)
    func shortestMatch(in text: Bytes, from start: Int, to end: Int) -> Match? {
        var found: Match?
        forEachMatch(in: text, from: start, to: end) { match in
            found = match
            return false
        }
        return found
    }

    /// The longest key that begins at `start`; it ends between two characters.
    @inline(__always)
    func longestMatch(in text: Bytes, from start: Int) -> Match? {
        var found: Match?
        forEachMatch(in: text, from: start, to: text.count) { match in
            // A key that ends inside of a character is none that any training makes.
            if match.end == text.count || text[match.end] & 0xC0 != 0x80 { found = match }
            return true
        }
        return found
    }

    @inline(__always)
    private func forEachMatch(in text: Bytes, from start: Int, to end: Int, _ goesOn: (Match) -> Bool) {
        units.withUnsafeBufferPointer { units in
            var base = Self.base(0, units[0])
            var position = start
            while position < end {
                let byte = text[position]
                let node = base ^ Int(byte)
                guard byte != 0, node < units.count, Self.isLabelled(units[node], byte) else { return }
                base = Self.base(node, units[node])
                position += 1
                if units[node] & 1 << 8 != 0 {
                    guard goesOn(Match(end: position, value: Self.value(units[base]))) else { return }
                }
            }
        }
    }

    /// Lends `body` what a key becomes.
    @inline(__always)
    func withReplacement<Result>(_ match: Match, _ body: (Bytes) -> Result) -> Result {
        texts.withUnsafeBufferPointer { texts in
            var end = match.value
            while end < texts.count, texts[end] != 0 { end += 1 }
            return body(Bytes(rebasing: texts[match.value..<end]))
        }
    }
}
