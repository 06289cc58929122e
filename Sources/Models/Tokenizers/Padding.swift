import RetortSupport

/// Fills encodings up to one length.
public struct Padding: Sendable, Equatable {
    public enum Length: Sendable, Equatable {
        /// The longest of the batch.
        case longest
        case fixed(Int)
    }

    public var length: Length
    public var side: TextSide
    /// Lengths are rounded up to a multiple of it.
    public var multiple: Int
    public var id: Int32
    public var typeID: Int32

    public init(
        length: Length = .longest, side: TextSide = .right, multiple: Int = 1, id: Int32, typeID: Int32 = 0
    ) {
        self.length = length
        self.side = side
        self.multiple = multiple
        self.id = id
        self.typeID = typeID
    }

    /// Tokens that padding may make of one text.
    private static let longest = 1 << 24

    /// - Throws: `RetortError` 65.
    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["strategy", "direction", "pad_to_multiple_of", "pad_id", "pad_type_id", "pad_token"])
        let strategy = try cursor.member("strategy")
        if case .string(let name) = strategy.value {
            guard name == "BatchLongest" else {
                throw strategy.failure("it must be \"BatchLongest\" or {\"Fixed\": length}")
            }
            length = .longest
        } else {
            length = .fixed(try strategy.member("Fixed").int(in: 0...Self.longest))
        }
        side = try TextSide.read(cursor.optional("direction"))
        multiple = try cursor.optional("pad_to_multiple_of")?.int(in: 0...Self.longest) ?? 1
        id = Int32(try cursor.member("pad_id").int(in: 0...Vocabulary.Limit.size - 1))
        typeID = Int32(try cursor.member("pad_type_id").int(in: 0...Int(Int32.max)))
    }

    func apply(to encodings: inout [Encoding]) {
        var target: Int
        switch length {
        case .longest: target = encodings.reduce(0) { max($0, $1.count) }
        case .fixed(let count): target = count
        }
        if multiple > 1, target % multiple > 0 { target += multiple - target % multiple }
        for index in encodings.indices where encodings[index].count < target {
            let count = target - encodings[index].count
            var pad = Encoding(ids: [Int32](repeating: id, count: count), typeID: typeID, isSpecial: true)
            pad.isAttended = [Bool](repeating: false, count: count)
            encodings[index] = side == .right ? encodings[index] + pad : pad + encodings[index]
        }
    }
}
