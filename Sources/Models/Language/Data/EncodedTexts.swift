import RetortSupport

/// Texts as an encoder reads them, by number, in 4 bytes a token, 8 where some are pairs: in memory up to 64 MiB, more in a file that only this
/// process sees (`ScratchFile`). Safe to use from several threads.
public struct EncodedTexts: Sendable, Equatable {
    /// Special tokens as −1 − token, others as they are.
    private let marked: SpilledArray<Int32>
    /// Of each token; nil: 0 everywhere.
    private let types: SpilledArray<Int32>?
    /// Of each text where its tokens begin; one more at the end.
    private let offsets: [Int]

    /// Texts.
    public var count: Int { offsets.count - 1 }

    /// Encodes texts one after the other, so that they are never all in memory.
    /// - Parameters:
    ///   - count: how many texts there are.
    ///   - encode: what a text is read as, by its number; nothing of it is padding.
    /// - Throws: `RetortError` 73 and 74 when many tokens find no room in the folder of temporary files; what `encode` throws.
    public init(count: Int, _ encode: (_ number: Int) throws -> Encoding) throws {
        let marked = SpilledArrayWriter<Int32>()
        var types: SpilledArrayWriter<Int32>?
        var offsets = [0]
        offsets.reserveCapacity(count + 1)
        for number in 0..<count {
            let encoding = try encode(number)
            guard encoding.isAttended.allSatisfy({ $0 }) else {
                throw RetortError.internalBug("the text \(number) is kept with padding")
            }
            if types == nil, encoding.typeIDs.contains(where: { $0 != 0 }) {
                types = try Self.zeros(marked.count)
            }
            try marked.append(zip(encoding.ids, encoding.isSpecial).map { $1 ? -1 - $0 : $0 })
            try types?.append(encoding.typeIDs)
            offsets.append(marked.count)
        }
        self.marked = try marked.finish()
        self.types = try types?.finish()
        self.offsets = offsets
    }

    private static func zeros(_ count: Int) throws -> SpilledArrayWriter<Int32> {
        let writer = SpilledArrayWriter<Int32>()
        for start in stride(from: 0, to: count, by: 1 << 20) {
            try writer.append([Int32](repeating: 0, count: min(1 << 20, count - start)))
        }
        return writer
    }

    /// Tokens of a text.
    public func length(of number: Int) -> Int { offsets[number + 1] - offsets[number] }

    /// - Parameter number: from 0 to `count` − 1.
    public subscript(_ number: Int) -> Encoding {
        let range = offsets[number]..<offsets[number + 1]
        let part = marked[range]
        var encoding = Encoding(ids: part.map { $0 < 0 ? -1 - $0 : $0 })
        encoding.isSpecial = part.map { $0 < 0 }
        if let types { encoding.typeIDs = types[range] }
        return encoding
    }

    public static func == (left: EncodedTexts, right: EncodedTexts) -> Bool {
        left.offsets == right.offsets && same(left.marked, right.marked) && same(left.types, right.types)
    }

    private static func same(_ left: SpilledArray<Int32>?, _ right: SpilledArray<Int32>?) -> Bool {
        guard let left, let right else { return (left == nil) == (right == nil) }
        return left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in left.count == right.count && left.elementsEqual(right) }
        }
    }
}
