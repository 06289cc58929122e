import RetortSupport
import Yams

extension JSON {
    /// A value of YAML as a reader takes it that knows no recipes (YAML 1.2's core schema): a plain `3` is a number there and `true` a flag,
    /// where a recipe's reader sees letters and asks its schema. Hexadecimal numbers, `.inf` and `.nan`, which recipes refuse, stay text.
    init(plain node: Node) {
        switch node {
        case .scalar(let scalar):
            self = scalar.style == .plain ? JSON(plainWord: scalar.string) : .string(scalar.string)
        case .sequence(let sequence):
            var elements: [JSON] = []
            for element in sequence { elements.append(JSON(plain: element)) }
            self = .array(elements)
        case .mapping(let mapping):
            var object = JSONObject()
            for (key, value) in mapping { object.set(key.string ?? "", JSON(plain: value)) }
            self = .object(object)
        // An alias: texts with one are refused before.
        default: self = .null
        }
    }

    /// The same of a scalar that stands without quotes.
    init(plainWord word: String) {
        switch word {
        case "", "~", "null", "Null", "NULL": self = .null
        case "true", "True", "TRUE": self = .bool(true)
        case "false", "False", "FALSE": self = .bool(false)
        default:
            if let whole = Int(word) {
                self = .int(whole)
            } else if let number = DecimalText.double(word), number.isFinite {
                self = .double(number)
            } else {
                self = .string(word)
            }
        }
    }
}
