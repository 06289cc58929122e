import Foundation
import RetortSupport

/// Checks values against a JSON schema, by the keywords that the schema of recipes has. Any other keyword is a problem of its own, so that
/// nothing counts as checked that was not looked at.
public struct JSONSchemaCheck: Sendable {
    private let root: JSON

    public init(_ root: JSON) { self.root = root }

    /// What is wrong with a value, each with its place: "train.batch is below 1"; empty for one that fits.
    public func problems(of value: JSON) -> [String] { problems(of: value, against: root) }

    /// The same against a part of the schema.
    public func problems(of value: JSON, against schema: JSON) -> [String] { check(value, schema, at: []) }

    private func check(_ value: JSON, _ schema: JSON, at path: [String]) -> [String] {
        switch schema {
        case .bool(true): return []
        case .bool(false): return Self.problem("is not allowed", path)
        case .object(let keywords):
            return keywords.members.flatMap { apply($0.key, $0.value, beside: keywords, to: value, at: path) }
        default: return Self.problem("has no schema but \(schema.kind)", path)
        }
    }

    private func apply(
        _ keyword: String, _ argument: JSON, beside keywords: JSONObject, to value: JSON, at path: [String]
    ) -> [String] {
        switch keyword {
        case "$schema", "$defs", "title", "description", "default", "then": return []
        case "$ref": return follow(argument, value, path)
        case "if":
            guard let then = keywords["then"], check(value, argument, at: path).isEmpty else { return [] }
            return check(value, then, at: path)
        case "allOf": return Self.elements(argument).flatMap { check(value, $0, at: path) }
        case "not":
            return check(value, argument, at: path).isEmpty
                ? Self.problem("is \(argument.text()), which it must not be", path) : []
        case "type", "enum", "const": return Self.identity(keyword, argument, value, path)
        case "minimum", "maximum", "minItems", "maxItems", "minProperties", "maxLength":
            return Self.size(keyword, argument, value, path)
        case "pattern": return Self.pattern(argument, value, path)
        case "items":
            return Self.elements(value).enumerated().flatMap {
                check($0.element, argument, at: path + [String($0.offset)])
            }
        case "properties", "additionalProperties", "propertyNames", "required":
            guard case .object(let object) = value else { return [] }
            return members(keyword, argument, beside: keywords, of: object, at: path)
        default: return Self.problem("has a schema with the unknown keyword \(keyword)", path)
        }
    }

    private func follow(_ reference: JSON, _ value: JSON, _ path: [String]) -> [String] {
        let prefix = "#/$defs/"
        guard case .string(let text) = reference, text.hasPrefix(prefix),
            let schema = root["$defs"]?[String(text.dropFirst(prefix.count))]
        else { return Self.problem("has a schema with the reference \(reference.text()), which leads nowhere", path) }
        return check(value, schema, at: path)
    }

    private func members(
        _ keyword: String, _ argument: JSON, beside keywords: JSONObject, of object: JSONObject, at path: [String]
    ) -> [String] {
        switch keyword {
        case "required":
            let missing = Self.elements(argument).filter { key in !object.keys.contains { JSON.string($0) == key } }
            return missing.flatMap { Self.problem("lacks \($0.text())", path) }
        case "propertyNames":
            return object.keys.flatMap { check(.string($0), argument, at: path + [$0]) }
        case "properties":
            return object.members.flatMap { member -> [String] in
                guard let schema = argument[member.key] else { return [] }
                return check(member.value, schema, at: path + [member.key])
            }
        default:
            let known = keywords["properties"]
            return object.members.filter { known?[$0.key] == nil }.flatMap {
                check($0.value, argument, at: path + [$0.key])
            }
        }
    }

    private static func identity(_ keyword: String, _ argument: JSON, _ value: JSON, _ path: [String]) -> [String] {
        switch keyword {
        case "const": return value == argument ? [] : problem("is not \(argument.text())", path)
        case "enum": return elements(argument).contains(value) ? [] : problem("is none of \(argument.text())", path)
        default:
            let types = if case .array(let types) = argument { types } else { [argument] }
            return types.contains { isOf($0, value) } ? [] : problem("is \(value.kind), not \(argument.text())", path)
        }
    }

    private static func isOf(_ type: JSON, _ value: JSON) -> Bool {
        guard case .string(let name) = type else { return false }
        switch value {
        case .null: return name == "null"
        case .bool: return name == "boolean"
        case .int: return name == "integer" || name == "number"
        case .double(let number): return name == "number" || name == "integer" && number == number.rounded()
        case .string: return name == "string"
        case .array: return name == "array"
        case .object: return name == "object"
        }
    }

    /// Limits of numbers and of counts; what a keyword is not about fits it.
    private static func size(_ keyword: String, _ argument: JSON, _ value: JSON, _ path: [String]) -> [String] {
        let size: Double
        switch (keyword, value) {
        case ("minimum", .int(let number)), ("maximum", .int(let number)): size = Double(number)
        case ("minimum", .double(let number)), ("maximum", .double(let number)): size = number
        case ("minItems", .array(let elements)), ("maxItems", .array(let elements)): size = Double(elements.count)
        case ("minProperties", .object(let object)): size = Double(object.count)
        case ("maxLength", .string(let text)): size = Double(text.unicodeScalars.count)
        default: return []
        }
        let limit: Double
        switch argument {
        case .int(let number): limit = Double(number)
        case .double(let number): limit = number
        default: return problem("has a schema with a \(keyword) that is no number", path)
        }
        let fits = keyword.hasPrefix("min") ? size >= limit : size <= limit
        return fits ? [] : problem("is beyond the \(keyword) of \(argument.text())", path)
    }

    private static func pattern(_ argument: JSON, _ value: JSON, _ path: [String]) -> [String] {
        guard case .string(let text) = value else { return [] }
        guard case .string(let pattern) = argument, let expression = try? NSRegularExpression(pattern: pattern) else {
            return problem("has a schema with the pattern \(argument.text()), which is none", path)
        }
        let whole = NSRange(text.startIndex..<text.endIndex, in: text)
        let isFound = expression.firstMatch(in: text, range: whole) != nil
        return isFound ? [] : problem("does not match \(argument.text())", path)
    }

    private static func elements(_ value: JSON) -> [JSON] {
        if case .array(let elements) = value { elements } else { [] }
    }

    private static func problem(_ what: String, _ path: [String]) -> [String] {
        [(path.isEmpty ? "the recipe" : path.joined(separator: ".")) + " " + what]
    }
}
