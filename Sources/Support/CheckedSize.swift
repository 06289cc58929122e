/// A number of bytes made with checked arithmetic: the only way code that reads files turns shapes and counts into
/// sizes. A product or sum that does not fit throws instead of trapping or wrapping.
///
/// Every operation names its `subject` ("tensor 'weight'"), so that the error says whose size is impossible.
public struct CheckedSize: Sendable, Hashable, Comparable {
    /// The size in bytes, never negative.
    public let bytes: Int

    /// Zero bytes.
    public static let zero = CheckedSize(unchecked: 0)

    private init(unchecked bytes: Int) {
        self.bytes = bytes
    }

    /// A size that is already a byte count, such as a file's length.
    /// - Throws: exit 65 when `bytes` is negative.
    public init(bytes: Int, of subject: String) throws(RetortError) {
        guard bytes >= 0 else { throw Self.impossible(subject, why: "a size of \(bytes) bytes is negative") }
        self.bytes = bytes
    }

    /// `count` elements of `bitsPerElement` bits each; sub-byte elements must fill whole bytes.
    /// - Throws: exit 65 on a negative count, overflow, or a size that is not a whole number of bytes.
    public init(elements count: Int, bitsPerElement: Int, of subject: String) throws(RetortError) {
        guard count >= 0, bitsPerElement > 0 else {
            throw Self.impossible(subject, why: "\(count) elements of \(bitsPerElement) bits")
        }
        let (bits, overflow) = count.multipliedReportingOverflow(by: bitsPerElement)
        guard !overflow else {
            throw Self.impossible(subject, why: "\(count) elements of \(bitsPerElement) bits do not fit in 64 bits")
        }
        guard bits % 8 == 0 else {
            throw Self.impossible(subject, why: "\(count) elements of \(bitsPerElement) bits are not whole bytes")
        }
        self.bytes = bits / 8
    }

    /// The elements of `shape`, `bitsPerElement` bits each. `[]` is a scalar of one element.
    /// - Throws: exit 65 on a negative dimension, overflow, or a size that is not a whole number of bytes.
    public init(shape: [Int], bitsPerElement: Int, of subject: String) throws(RetortError) {
        let count = try Self.elements(of: shape, of: subject)
        try self.init(elements: count, bitsPerElement: bitsPerElement, of: subject)
    }

    /// The number of elements of `shape`, its checked product; 1 for `[]`.
    /// - Throws: exit 65 on a negative dimension or overflow.
    public static func elements(of shape: [Int], of subject: String) throws(RetortError) -> Int {
        var count = 1
        for dimension in shape {
            guard dimension >= 0 else { throw impossible(subject, why: "shape \(shape) has a negative dimension") }
            let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
            guard !overflow else {
                throw impossible(subject, why: "the element count of shape \(shape) does not fit in 64 bits")
            }
            count = product
        }
        return count
    }

    /// The sum of two sizes.
    /// - Throws: exit 65 on overflow.
    public func adding(_ other: CheckedSize, of subject: String) throws(RetortError) -> CheckedSize {
        let (sum, overflow) = bytes.addingReportingOverflow(other.bytes)
        guard !overflow else {
            throw Self.impossible(subject, why: "\(bytes) + \(other.bytes) bytes do not fit in 64 bits")
        }
        return CheckedSize(unchecked: sum)
    }

    /// `count` times this size.
    /// - Throws: exit 65 on overflow or a negative count.
    public func multiplied(by count: Int, of subject: String) throws(RetortError) -> CheckedSize {
        let (product, overflow) = bytes.multipliedReportingOverflow(by: count)
        guard !overflow, count >= 0 else {
            throw Self.impossible(subject, why: "\(count) × \(bytes) bytes is not a possible size")
        }
        return CheckedSize(unchecked: product)
    }

    /// This size rounded up to a multiple of `alignment` bytes (any positive number).
    /// - Throws: exit 65 on overflow or an alignment below 1.
    public func rounded(upTo alignment: Int, of subject: String) throws(RetortError) -> CheckedSize {
        guard alignment > 0 else { throw Self.impossible(subject, why: "an alignment of \(alignment) bytes") }
        let remainder = bytes % alignment
        guard remainder != 0 else { return self }
        return try adding(CheckedSize(unchecked: alignment - remainder), of: subject)
    }

    public static func < (left: CheckedSize, right: CheckedSize) -> Bool {
        left.bytes < right.bytes
    }

    private static func impossible(_ subject: String, why: String) -> RetortError {
        .badData("the size of \(subject) is impossible", why: why, help: "The file may be damaged or made to mislead.")
    }
}
