/// A text as the model reads it. All arrays have the same length.
public struct Encoding: Sendable, Equatable {
    public var ids: [Int32]
    /// 0, or 1 for the second text of a pair.
    public var typeIDs: [Int32]
    /// True for tokens that the post-processor or padding added.
    public var isSpecial: [Bool]
    /// False for padding.
    public var isAttended: [Bool]

    public var count: Int { ids.count }

    init(ids: [Int32] = [], typeID: Int32 = 0, isSpecial: Bool = false) {
        self.ids = ids
        typeIDs = [Int32](repeating: typeID, count: ids.count)
        self.isSpecial = [Bool](repeating: isSpecial, count: ids.count)
        isAttended = [Bool](repeating: true, count: ids.count)
    }

    static func + (left: Encoding, right: Encoding) -> Encoding {
        var sum = left
        sum.ids += right.ids
        sum.typeIDs += right.typeIDs
        sum.isSpecial += right.isSpecial
        sum.isAttended += right.isAttended
        return sum
    }

    mutating func setTypeID(_ typeID: Int32) {
        typeIDs = [Int32](repeating: typeID, count: count)
    }

    mutating func keep(_ range: Range<Int>) {
        ids = Array(ids[range])
        typeIDs = Array(typeIDs[range])
        isSpecial = Array(isSpecial[range])
        isAttended = Array(isAttended[range])
    }
}
