/// A JSON value together with where it stands in its file: typed access whose errors name the key path.
///
///     let config = try JSONCursor.read(path)
///     let layers = try config.member("num_hidden_layers").int(in: 1...1024)
///     let theta = try config.optional("rope_theta")?.double() ?? 10_000
///
/// Every error is exit 65, with line and column when the cursor was made by `read`.
public struct JSONCursor: Sendable {
    public let value: JSON
    /// The file, for errors.
    public let file: String
    private let steps: [JSONSource.Step]
    private let source: JSONSource?
    /// Errors show the line: of records, of which one in thousands is wrong.
    private let showsExcerpt: Bool

    /// The root of a parsed text.
    public init(_ value: JSON, file: String) {
        self.init(value: value, file: file, steps: [], source: nil, showsExcerpt: false)
    }

    /// Reads and parses a file, and keeps its text for errors as long as a cursor is in use.
    /// - Throws: exit 66 when it is not there, 65 when it is too large or not JSON, 74 on I/O errors.
    public static func read(_ path: String, limits: JSON.Limits = .init()) throws(RetortError) -> JSONCursor {
        let bytes = try InputFile.read(path, limit: limits.bytes)
        let value = try JSON.parse(bytes, file: path, limits: limits)
        return JSONCursor(value: value, file: path, steps: [], source: JSONSource(bytes), showsExcerpt: false)
    }

    /// Parses a part of a file that begins at `origin`. Errors, also those of the cursor, come with an excerpt.
    /// - Throws: exit 65 when it is too large or not JSON.
    public static func parse(
        _ bytes: [UInt8], file: String, limits: JSON.Limits = .init(), origin: SourceOrigin
    ) throws(RetortError) -> JSONCursor {
        let value = try JSON.parse(bytes, file: file, limits: limits, origin: origin)
        return JSONCursor(
            value: value, file: file, steps: [], source: JSONSource(bytes, origin: origin), showsExcerpt: true)
    }

    private init(value: JSON, file: String, steps: [JSONSource.Step], source: JSONSource?, showsExcerpt: Bool) {
        self.value = value
        self.file = file
        self.steps = steps
        self.source = source
        self.showsExcerpt = showsExcerpt
    }

    /// "rope.theta", "layers[3].name"; empty for the whole text.
    public var path: String {
        var path = ""
        for step in steps {
            switch step {
            case .key(let key): path += path.isEmpty ? key : "." + key
            case .index(let index): path += "[\(index)]"
            }
        }
        return path
    }

    /// Where the value stands.
    public var location: RetortError.Location {
        source?.position(of: steps).location(in: file) ?? RetortError.Location(file: file)
    }

    public var isNull: Bool { value == .null }

    /// The member `key`.
    /// - Throws: exit 65 when this is no object or has no such key; names the nearest key.
    public func member(_ key: String) throws(RetortError) -> JSONCursor {
        let object = try object()
        guard let value = object[key] else {
            let name = path.isEmpty ? key : path + "." + key
            throw .badData(
                "the key \(name.quoted(limit: 200)) is missing", at: location, why: withExcerpt(""),
                help: EditDistance.suggestion(for: key, among: object.keys))
        }
        return child(key, value)
    }

    /// The member `key`; nil when it is missing or null.
    /// - Throws: exit 65 when this is no object.
    public func optional(_ key: String) throws(RetortError) -> JSONCursor? {
        guard let value = try object()[key], value != .null else { return nil }
        return child(key, value)
    }

    /// Whether this is an object with such a key, null or not.
    public func holds(_ key: String) -> Bool { (try? object())?[key] != nil }

    /// The members in order.
    /// - Throws: exit 65 when this is no object.
    public func members() throws(RetortError) -> [(key: String, value: JSONCursor)] {
        try object().members.map { ($0.key, child($0.key, $0.value)) }
    }

    /// The elements in order.
    /// - Throws: exit 65 when this is no array.
    public func elements() throws(RetortError) -> [JSONCursor] {
        guard case .array(let elements) = value else { throw wrongKind("an array") }
        return elements.enumerated().map { index, element in
            child(.index(index), element)
        }
    }

    /// The element `index`, to say where it stands: for long arrays that are read without a cursor for each element.
    /// - Throws: exit 65 when this is no array or has no such element.
    public func element(_ index: Int) throws(RetortError) -> JSONCursor {
        guard case .array(let elements) = value else { throw wrongKind("an array") }
        guard elements.indices.contains(index) else { throw failure("it has \(elements.count) elements") }
        return child(.index(index), elements[index])
    }

    /// - Throws: exit 65 when this is no object.
    public func object() throws(RetortError) -> JSONObject {
        guard case .object(let object) = value else { throw wrongKind("an object") }
        return object
    }

    /// - Throws: exit 65 when this is no string.
    public func string() throws(RetortError) -> String {
        guard case .string(let string) = value else { throw wrongKind("a string") }
        return string
    }

    /// - Throws: exit 65 when this is not true or false.
    public func bool() throws(RetortError) -> Bool {
        guard case .bool(let flag) = value else { throw wrongKind("true or false") }
        return flag
    }

    /// A whole number written without point or exponent.
    /// - Throws: exit 65 when this is none or outside `range`.
    public func int(in range: ClosedRange<Int> = Int.min...Int.max) throws(RetortError) -> Int {
        guard case .int(let number) = value else {
            if case .double(let number) = value { throw wrongKind("a whole number", found: "\(number)") }
            throw wrongKind("a whole number")
        }
        guard range.contains(number) else { throw outside("\(number)", "\(range.lowerBound)", "\(range.upperBound)") }
        return number
    }

    /// A finite number; whole numbers are numbers too.
    /// - Parameter allowingNonFinite: also reads the strings "NaN", "Infinity", "-Infinity" that our writer makes.
    /// - Throws: exit 65 when this is none.
    public func double(allowingNonFinite: Bool = false) throws(RetortError) -> Double {
        switch value {
        case .int(let number): return Double(number)
        case .double(let number): return number
        case .string("NaN") where allowingNonFinite: return .nan
        case .string("Infinity") where allowingNonFinite: return .infinity
        case .string("-Infinity") where allowingNonFinite: return -.infinity
        default: throw wrongKind("a number")
        }
    }

    /// A finite number in `range`; whole numbers are numbers too.
    /// - Throws: exit 65 when this is none or outside.
    public func double(in range: ClosedRange<Double>) throws(RetortError) -> Double {
        let number = try double()
        guard range.contains(number) else {
            let (lower, upper) = (NumberFormat.plain(range.lowerBound), NumberFormat.plain(range.upperBound))
            throw outside("\(number)", lower, upper)
        }
        return number
    }

    /// Refuses keys other than `allowed`.
    /// - Throws: exit 65 when this is no object or has another key; names the nearest allowed one.
    public func expectKeys(_ allowed: [String]) throws(RetortError) {
        let known = Set(allowed.map { ExactKey($0) })
        for key in try object().keys where !known.contains(ExactKey(key)) {
            let name = path.isEmpty ? key : path + "." + key
            throw .badData(
                "the key \(name.quoted(limit: 200)) is not known", at: child(key, .null).location,
                help: EditDistance.suggestion(for: key, among: allowed))
        }
    }

    /// An error about this value, for checks beyond its type.
    public func failure(_ why: String, help: String = "") -> RetortError {
        .badData("\(name) is wrong", at: location, why: withExcerpt(why), help: help)
    }

    private func withExcerpt(_ why: String) -> String {
        guard showsExcerpt, let source else { return why }
        let excerpt = source.position(of: steps).excerpt
        return why.isEmpty ? excerpt : why + "\n" + excerpt
    }

    private var name: String {
        path.isEmpty ? "the JSON text" : "the value of \(path.quoted(limit: 200))"
    }

    private func child(_ key: String, _ value: JSON) -> JSONCursor { child(.key(key), value) }

    private func child(_ step: JSONSource.Step, _ value: JSON) -> JSONCursor {
        JSONCursor(value: value, file: file, steps: steps + [step], source: source, showsExcerpt: showsExcerpt)
    }

    private func wrongKind(_ wanted: String, found: String? = nil) -> RetortError {
        failure("it must be \(wanted); found \(found ?? value.kind)")
    }

    private func outside(_ number: String, _ lower: String, _ upper: String) -> RetortError {
        failure("\(number) is outside the allowed range, \(lower) to \(upper)")
    }
}
