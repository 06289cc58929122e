import RetortSupport

/// The recipe's schema as a JSON schema (draft 2020-12) for editors, made from the same object that reads recipes: it cannot drift from what
/// is accepted. It says what each value may be by itself; what several values together make impossible is for `retort validate`.
public enum RecipeJSONSchema {
    public static let json: JSON = {
        var builder = JSONSchemaBuilder()
        // Of all families at once: an unknown kind is then one message, and no family's keys are missed.
        let data = builder.schema(of: .variant(key: "kind", DataSchema.sections), called: "data")
        var families: [JSON] = []
        for family in RecipeFamily.allCases { families.append(builder.branch(of: family)) }
        return [
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Recipe of Retort",
            "description": .string(RecipeSection.recipe.summary),
            "type": "object",
            "required": ["data"],
            "properties": ["data": data],
            "allOf": .array(families),
            "$defs": .object(builder.definitions),
        ]
    }()
}

/// Makes JSON schemas of recipe types. Each section stands once, under `$defs`, however often it is used.
struct JSONSchemaBuilder {
    private(set) var definitions = JSONObject()

    /// As `ByteCount` reads it, with a unit.
    private static let size = "^([0-9]+([.][0-9]*)?|[.][0-9]+) ?[KMGT]iB$"
    /// Letters of any script: those beyond ASCII are not told apart here.
    private static let names = "^[-0-9A-Z_a-z\\u0080-\\uFFFF]+$"

    /// - Parameters:
    ///   - type: what a value may be.
    ///   - name: the key it stands under, for variants, which have no name of their own.
    mutating func schema(of type: RecipeType, called name: String) -> JSON {
        switch type {
        // A column may be called 3, or true: what stands where a text is wanted is one.
        case .text where name == "path": return ["type": ["string", "number", "boolean"], "pattern": "."]
        case .text: return ["type": ["string", "number", "boolean"]]
        case .flag: return ["type": "boolean"]
        case .integer(let range):
            return ["type": "integer", "minimum": .int(range.lowerBound), "maximum": .int(range.upperBound)]
        case .number(let range):
            let (least, most) = (Self.number(range.lowerBound), Self.number(range.upperBound))
            return ["type": "number", "minimum": least, "maximum": most]
        case .bytes: return ["type": ["integer", "string"], "minimum": 0, "pattern": .string(Self.size)]
        case .choice(let words): return ["enum": .array(words.flatMap(Self.spellings))]
        case .list(let element, let count):
            let items = schema(of: element, called: name)
            return [
                "type": "array", "items": items, "minItems": .int(count.lowerBound), "maxItems": .int(count.upperBound),
            ]
        case .named(let inner):
            let value = schema(of: inner, called: name)
            return [
                "type": "object", "minProperties": 1,
                "propertyNames": ["pattern": .string(Self.names), "maxLength": 64, "not": ["const": "teacher"]],
                "additionalProperties": value,
            ]
        case .section(let section):
            // One schema of two types, not a choice between two schemas: a mistake inside is then told as such.
            let kinds: JSON =
                section.shorthand == nil ? .string("object") : .array([.string("object"), .string("string")])
            return define(
                section.name, closed(["type": kinds, "description": .string(section.summary)], section.fields))
        case .variant(let key, let sections): return variant(key, sections, called: name)
        }
    }

    /// A section that depends on the word under `key`: a condition for each word, so that an editor speaks of the section that is meant. With
    /// a choice between schemas it would have to guess which one was.
    private mutating func variant(_ key: String, _ sections: [RecipeSection], called name: String) -> JSON {
        var branches: [JSON] = []
        for section in sections {
            let body = closed(["description": .string(section.summary)], section.fields, known: key)
            branches.append([
                // Without `required` a section that lacks the key would be of all kinds at once.
                "if": ["required": [.string(key)], "properties": [key: ["const": .string(section.name)]]],
                "then": define("\(name).\(section.name)", body),
            ])
        }
        let words = sections.map { JSON.string($0.name) }
        return define(
            name,
            [
                "type": "object", "required": [.string(key)],
                "properties": [key: ["enum": .array(words), "description": "which kind"]], "allOf": .array(branches),
            ])
    }

    /// What else holds for a recipe whose data are of a family's kinds. A recipe without any has no family, and lacks `data` alone.
    mutating func branch(of family: RecipeFamily) -> JSON {
        let kinds = family.dataKinds.map { JSON.string($0) }
        let data: JSON = ["type": "object", "required": ["kind"], "properties": ["kind": ["enum": .array(kinds)]]]
        let recipe = closed(["title": .string("A \(family.rawValue) recipe")], family.schema.fields, known: "data")
        return [
            "if": ["required": ["data"], "properties": ["data": data]], "then": define(family.rawValue, recipe),
        ]
    }

    /// The schema of a section with these keys and no others.
    /// - Parameters:
    ///   - start: what the schema says besides.
    ///   - fields: the keys.
    ///   - known: a key that is looked at elsewhere, and may stand here.
    private mutating func closed(_ start: JSON, _ fields: [RecipeField], known: String? = nil) -> JSON {
        var properties = JSONObject()
        if let known { properties.set(known, .bool(true)) }
        var required: [JSON] = []
        for field in fields where field.key != known {
            properties.set(field.key, property(field))
            if case .required = field.presence { required.append(.string(field.key)) }
        }
        var schema = start
        if !required.isEmpty { schema = schema.adding("required", .array(required)) }
        return schema.adding("properties", .object(properties)).adding("additionalProperties", .bool(false))
    }

    private mutating func property(_ field: RecipeField) -> JSON {
        let schema = schema(of: field.type, called: field.key).adding("description", .string(field.summary))
        guard case .defaulted(let text) = field.presence,
            let value = try? RecipeReader.plainValues(text, file: field.key)
        else { return schema }
        return schema.adding("default", value)
    }

    /// Puts a schema under `$defs`, where the same one may stand already.
    /// - Parameters:
    ///   - name: what it is called; a number is added when another one is called so.
    ///   - schema: what it says.
    /// - Returns: a reference to it.
    private mutating func define(_ name: String, _ schema: JSON) -> JSON {
        var (key, count) = (name, 1)
        while let known = definitions[key], known != schema {
            count += 1
            key = "\(name)-\(count)"
        }
        definitions.set(key, schema)
        return ["$ref": .string("#/$defs/" + key)]
    }

    /// A word of a choice, and what becomes of it where it stands without quotes: `channels: 3`.
    private static func spellings(_ word: String) -> [JSON] {
        let (quoted, plain) = (JSON.string(word), JSON(plainWord: word))
        return quoted == plain ? [quoted] : [quoted, plain]
    }

    private static func number(_ value: Double) -> JSON { Int(exactly: value).map(JSON.int) ?? .double(value) }
}

extension JSON {
    /// The object with one more member.
    fileprivate func adding(_ key: String, _ value: JSON) -> JSON {
        guard case .object(var object) = self else { return self }
        object.set(key, value)
        return .object(object)
    }
}
