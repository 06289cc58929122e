/// Sizes or strides of a view, one number a dimension, at most eight. They lie in the view itself: views are made and copied several
/// times an op, and arrays would touch the heap and a reference count each time. Otherwise like an array.
public struct Dimensions: Sendable, Hashable, RandomAccessCollection, MutableCollection, RangeReplaceableCollection {
    public static let most = 8

    @usableFromInline var values: InlineArray<8, Int>
    @usableFromInline var used: Int

    @inlinable public init() {
        values = InlineArray(repeating: 0)
        used = 0
    }

    @inlinable public init(repeating value: Int, count: Int) {
        precondition(count >= 0 && count <= 8, "at most eight dimensions")
        values = InlineArray(repeating: value)
        used = count
    }

    @inlinable public init(_ elements: some Sequence<Int>) {
        self.init()
        for element in elements { append(element) }
    }

    @inlinable public var count: Int { used }
    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { used }

    @inlinable public subscript(i: Int) -> Int {
        get {
            precondition(i >= 0 && i < used, "no such dimension")
            return values[i]
        }
        set {
            precondition(i >= 0 && i < used, "no such dimension")
            values[i] = newValue
        }
    }

    @inlinable public mutating func append(_ value: Int) {
        precondition(used < 8, "at most eight dimensions")
        values[used] = value
        used += 1
    }

    @inlinable public mutating func replaceSubrange(_ range: Range<Int>, with new: some Collection<Int>) {
        var result = Dimensions()
        for i in 0..<range.lowerBound { result.append(self[i]) }
        for value in new { result.append(value) }
        for i in range.upperBound..<used { result.append(self[i]) }
        self = result
    }

    @inlinable public func prefix(_ count: Int) -> Dimensions { part(0..<Swift.min(count, used)) }
    @inlinable public func suffix(_ count: Int) -> Dimensions { part(Swift.max(0, used - count)..<used) }
    @inlinable public func dropFirst(_ count: Int = 1) -> Dimensions { part(Swift.min(count, used)..<used) }
    @inlinable public func dropLast(_ count: Int = 1) -> Dimensions { part(0..<Swift.max(0, used - count)) }

    @usableFromInline func part(_ range: Range<Int>) -> Dimensions {
        var part = Dimensions()
        for i in range { part.append(values[i]) }
        return part
    }

    /// Of sizes: the number of elements; 1 without dimensions.
    @inlinable public var product: Int {
        var product = 1
        for i in 0..<used { product *= values[i] }
        return product
    }

    @inlinable public static func == (a: Dimensions, b: Dimensions) -> Bool {
        guard a.used == b.used else { return false }
        for i in 0..<a.used where a.values[i] != b.values[i] { return false }
        return true
    }

    @inlinable public func hash(into hasher: inout Hasher) {
        hasher.combine(used)
        for i in 0..<used { hasher.combine(values[i]) }
    }
}

extension Dimensions: ExpressibleByArrayLiteral {
    @inlinable public init(arrayLiteral elements: Int...) { self.init(elements) }
}

extension Dimensions: CustomStringConvertible {
    public var description: String { Array(self).description }
}
