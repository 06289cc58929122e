/// A JSON value (RFC 8259). Integers that fit in 64 bits stay exact; every other number is a Double.
///
/// Two values are equal when they have the same kind and content; strings compare by bytes, objects with their order.
/// `1` and `1.0` are different values.
public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case array([JSON])
    case object(JSONObject)

    /// An object from pairs, in the given order; of a repeated key the last value stays.
    public static func object(_ members: [(key: String, value: JSON)]) -> JSON {
        var object = JSONObject()
        for member in members { object.set(member.key, member.value) }
        return .object(object)
    }

    /// The member `key` of an object; nil when it is missing or this is no object.
    public subscript(key: String) -> JSON? {
        guard case .object(let object) = self else { return nil }
        return object[key]
    }

    /// "a number", "an object", …: for errors.
    public var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .int: "a whole number"
        case .double: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }

    public static func == (left: JSON, right: JSON) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.int(let a), .int(let b)): a == b
        case (.double(let a), .double(let b)): a == b
        case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)): a == b
        default: false
        }
    }
}

extension JSON: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByStringLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(nilLiteral: ()) { self = .null }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .double(value) }
    public init(stringLiteral value: String) { self = .string(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSON)...) {
        self = .object(elements.map { (key: $0.0, value: $0.1) })
    }
}

/// The members of a JSON object, in order, each key once (by bytes).
public struct JSONObject: Sendable, Equatable {
    public struct Member: Sendable, Equatable {
        public let key: String
        public var value: JSON

        public static func == (left: Member, right: Member) -> Bool {
            left.key.hasSameBytes(as: right.key) && left.value == right.value
        }
    }

    /// The members in order.
    public private(set) var members: [Member] = []
    /// Where each key is. Small objects, by far the most, are searched instead.
    private var index: [ExactKey: Int] = [:]
    private static let searchLimit = 8

    public init() {}

    public var count: Int { members.count }
    public var isEmpty: Bool { members.isEmpty }
    public var keys: [String] { members.map(\.key) }

    /// The value of `key`, nil when it is missing.
    public subscript(key: String) -> JSON? {
        position(of: key).map { members[$0].value }
    }

    /// Replaces the value of `key`, or appends the member.
    public mutating func set(_ key: String, _ value: JSON) {
        if let position = position(of: key) {
            members[position].value = value
        } else {
            append(key, value)
        }
    }

    /// Appends a member whose key is new.
    /// - Returns: false, changing nothing, when the key is there already.
    mutating func appendIfNew(_ key: String, _ value: JSON) -> Bool {
        guard position(of: key) == nil else { return false }
        append(key, value)
        return true
    }

    func position(of key: String) -> Int? {
        guard members.count > Self.searchLimit else { return members.firstIndex { $0.key.hasSameBytes(as: key) } }
        return index[ExactKey(key)]
    }

    private mutating func append(_ key: String, _ value: JSON) {
        members.append(Member(key: key, value: value))
        if members.count == Self.searchLimit + 1 {
            for (position, member) in members.enumerated() { index[ExactKey(member.key)] = position }
        } else if members.count > Self.searchLimit {
            index[ExactKey(key)] = members.count - 1
        }
    }

    public static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.members == right.members
    }
}
