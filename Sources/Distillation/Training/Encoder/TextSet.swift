import RetortModels
import RetortRuntime
import RetortSupport

/// The texts of a recipe by number, each once: a text, or two that are read as a pair.
struct TextSet: Sendable {
    private(set) var texts: [[String]] = []
    private var numbers: [ExactKey: Int32] = [:]

    var count: Int { texts.count }

    /// The number of a text, which is added where it is new.
    mutating func number(of parts: [String]) -> Int32 {
        // A length in front: no two lists of parts look alike.
        let key = ExactKey(parts.map { "\($0.utf8.count):\($0)" }.joined())
        if let known = numbers[key] { return known }
        let number = Int32(texts.count)
        numbers[key] = number
        texts.append(parts)
        return number
    }

    /// SHA-256 of all of them, in their order.
    var digest: String {
        var hash = ContentHash()
        for parts in texts {
            for part in parts { hash.update(Array("\(part.utf8.count):".utf8) + Array(part.utf8)) }
            hash.update([0x0A])
        }
        return hash.hexadecimal
    }

    /// The tokens of each.
    /// - Parameter length: tokens of each at most.
    /// - Throws: `RetortError` 65 for a text of which the tokenizer makes no token.
    func encoded(_ tokenizer: Tokenizer, length: Int) throws -> [Encoding] {
        let cut = Truncation(length: length)
        return try texts.map { parts in
            let encoding =
                parts.count == 2
                ? try tokenizer.encode(parts[0], parts[1], truncation: cut)
                : try tokenizer.encode(parts[0], truncation: cut)
            guard encoding.count > 0 else {
                throw RetortError.badData(
                    "the text \(parts[0].quoted(limit: 60)) has no token",
                    why: "the tokenizer puts no token around a text")
            }
            return encoding
        }
    }
}

extension SentenceEncoder {
    /// Tokens that it reads of a text at most.
    var readLength: Int {
        min(settings.length ?? tokenizer.truncation?.length ?? model.maxPositions, model.maxPositions)
    }
}
