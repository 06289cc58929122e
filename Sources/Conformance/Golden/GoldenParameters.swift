import RetortSupport

/// The hyper-parameters of a case. Remembers which were asked for: one that nobody asked for fails the case.
final class GoldenParameters {
    private let cursor: JSONCursor?
    /// A remark for readers, in any family.
    private var asked: Set<String> = ["note"]
    private var sections: [(name: String, parameters: GoldenParameters)] = []

    init(_ cursor: JSONCursor?) { self.cursor = cursor }

    /// Parameters the case has and no one asked for.
    func unknown() throws -> [String] {
        try (cursor?.members() ?? []).map(\.key).filter { !asked.contains($0) }
            + sections.flatMap { name, section in try section.unknown().map { "\(name).\($0)" } }
    }

    /// nil when it is missing or null.
    private func optional(_ name: String) throws -> JSONCursor? {
        asked.insert(name)
        return try cursor?.optional(name)
    }

    private func required(_ name: String) throws -> JSONCursor {
        guard let value = try optional(name) else { throw RetortError.badData("the parameter \(name) is missing") }
        return value
    }

    func number(_ name: String) throws -> Double { try GoldenNumber.read(required(name)) }
    func number(_ name: String, default value: Double) throws -> Double {
        try optional(name).map(GoldenNumber.read) ?? value
    }
    func numbers(_ name: String) throws -> [Double] { try required(name).elements().map(GoldenNumber.read) }
    /// A list of names, each with a number.
    func pairs(_ name: String) throws -> [(name: String, value: Double)] {
        try required(name).elements().map { pair in
            let parts = try pair.elements()
            guard parts.count == 2 else { throw pair.failure("a pair is needed here") }
            return (try parts[0].string(), try GoldenNumber.read(parts[1]))
        }
    }
    func float(_ name: String) throws -> Float { Float(try number(name)) }
    func float(_ name: String, default value: Double) throws -> Float { Float(try number(name, default: value)) }
    func integer(_ name: String) throws -> Int { try required(name).int() }
    func integer(ifPresent name: String) throws -> Int? { try optional(name)?.int() }
    func flag(_ name: String) throws -> Bool { try required(name).bool() }
    func flag(_ name: String, default value: Bool) throws -> Bool { try optional(name)?.bool() ?? value }
    func word(_ name: String) throws -> String { try required(name).string() }
    func word(_ name: String, default value: String) throws -> String { try optional(name)?.string() ?? value }

    /// Parameters inside a parameter. One of them that nobody asked for fails the case, too.
    func section(ifPresent name: String) throws -> GoldenParameters? {
        guard let cursor = try optional(name) else { return nil }
        let section = GoldenParameters(cursor)
        sections.append((name, section))
        return section
    }

    /// An error about a value that is of the right type but not known.
    static func unknownValue(_ name: String, _ value: String) -> RetortError {
        .badData("the parameter \(name) has a value that is not known: \(value.quoted(limit: 200))")
    }
}
