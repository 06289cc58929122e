/// The recipe's keys in words, made from the schema itself: it cannot drift from what is accepted.
public enum RecipeHelp {
    public static var text: String {
        func keys(_ section: RecipeSection) -> String {
            lines(section.fields.filter { $0.key != "seeds" }, indent: 1).joined(separator: "\n")
        }
        return "RECIPE KEYS\n" + lines(RecipeSection.recipe.fields, indent: 1).joined(separator: "\n")
            + "\n\nRECIPE KEYS OF A RECOMMENDER (data.kind: interactions)\n" + keys(.recommender)
            + "\n\nRECIPE KEYS OF A LANGUAGE MODEL (data.kind: tokens, text)\n" + keys(.language)
            + "\n\nRECIPE KEYS OF AN ENCODER (data.kind: \(MaskedSource.section.name))\n" + keys(.masked)
            + EncoderRecipe.tasks.map {
                "\n\nRECIPE KEYS OF AN ENCODER (data.kind: \($0.section.name))\n" + keys(EncoderRecipe.schema($0))
            }.joined()
    }

    private static func lines(_ fields: [RecipeField], indent: Int) -> [String] {
        let pad = String(repeating: "  ", count: indent)
        return fields.flatMap { field -> [String] in
            var presence = ""
            switch field.presence {
            case .required: presence = ""
            case .optional: presence = " (optional)"
            case .defaulted(let value): presence = " (default \(value))"
            }
            return ["\(pad)\(field.key)\(presence): \(field.summary)"] + inner(field.type, indent + 1)
        }
    }

    private static func inner(_ type: RecipeType, _ indent: Int) -> [String] {
        let pad = String(repeating: "  ", count: indent)
        switch type {
        case .section(let section): return lines(section.fields, indent: indent)
        case .named(let type): return ["\(pad)<name>:"] + inner(type, indent + 1)
        case .list(let element, _): return inner(element, indent)
        case .variant(let key, let sections):
            return sections.flatMap {
                ["\(pad)\(key): \($0.name) — \($0.summary)"] + lines($0.fields, indent: indent + 1)
            }
        case .choice(let words): return ["\(pad)one of " + words.joined(separator: ", ")]
        case .text, .flag, .integer, .number, .bytes: return []
        }
    }
}
