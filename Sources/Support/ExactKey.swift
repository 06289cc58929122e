/// A string compared byte by byte.
///
/// Swift's `==` and `Dictionary<String, …>` treat canonically equivalent text ("é" as one or two scalars) as equal.
/// Names in files are different there as soon as their bytes differ: tensor names, JSON keys, vocabulary entries.
public struct ExactKey: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    public let string: String

    public init(_ string: String) {
        self.string = string
    }

    public init(stringLiteral value: String) {
        self.string = value
    }

    public var description: String { string }

    public static func == (left: ExactKey, right: ExactKey) -> Bool {
        left.string.hasSameBytes(as: right.string)
    }

    public func hash(into hasher: inout Hasher) {
        let hashed: Void? = string.utf8.withContiguousStorageIfAvailable {
            hasher.combine(bytes: UnsafeRawBufferPointer($0))
        }
        if hashed == nil {
            for byte in string.utf8 { hasher.combine(byte) }
        }
    }
}

extension String {
    /// True when both strings have the same UTF-8 bytes (stricter than `==`, which compares canonical equivalence).
    public func hasSameBytes(as other: String) -> Bool {
        utf8.count == other.utf8.count && utf8.elementsEqual(other.utf8)
    }
}
