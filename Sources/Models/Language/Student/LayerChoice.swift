import RetortSupport

/// Which blocks of a teacher a student begins with, in the teacher's order.
public enum LayerChoice: Sendable, Equatable {
    case all
    /// The first, and each n-th from there: 0, n, 2n, …
    case every(Int)
    /// By number, counted from 0.
    case these([Int])

    /// - Parameter count: blocks of the teacher.
    /// - Returns: their numbers, ascending.
    /// - Throws: `RetortError` 64 for blocks that are not there, or in another order.
    func numbers(of count: Int) throws -> [Int] {
        switch self {
        case .all: return Array(0..<count)
        case .every(let step):
            guard step >= 1, step <= count else {
                throw RetortError.usage(
                    "every \(step): the teacher has \(count) layers",
                    help: "give a number from 1 to \(count)")
            }
            return Array(stride(from: 0, to: count, by: step))
        case .these(let numbers):
            guard !numbers.isEmpty else { throw RetortError.usage("no layer is chosen") }
            if let missing = numbers.first(where: { !(0..<count).contains($0) }) {
                throw RetortError.usage(
                    "layer \(missing) is not there", why: "the teacher has \(count) layers",
                    help: "they are counted from 0 to \(count - 1)")
            }
            guard zip(numbers, numbers.dropFirst()).allSatisfy({ $0 < $1 }) else {
                throw RetortError.usage("layers are chosen once each, in ascending order")
            }
            return numbers
        }
    }

    /// What config.json says of the chosen blocks: how many, and what each is.
    /// - Parameter numbers: the chosen ones.
    static func describe(_ numbers: [Int], in config: JSONCursor, _ keys: SizeKeys, _ json: inout JSONObject) throws {
        let count = try config.member(keys.layers).int()
        guard numbers.count < count else { return }
        json.set(keys.layers, .int(numbers.count))
        if case .array(let types) = json["layer_types"], types.count == count {
            json.set("layer_types", .array(numbers.map { types[$0] }))
        } else if try config.optional("layer_types") == nil, try config.member("model_type").string() == "gemma2" {
            // Every second layer has a window where nothing is said of them.
            json.set(
                "layer_types",
                .array(numbers.map { .string(GemmaTraits.slides($0) ? "sliding_attention" : "full_attention") }))
        }
        // Of Qwen: the first block with a window. Where the key is absent, transformers means 28.
        let isWindowed = try config.optional("use_sliding_window")?.bool() ?? false
        guard let first = try config.optional("max_window_layers")?.int() ?? (isWindowed ? 28 : nil), first < count
        else { return }
        json.set("max_window_layers", .int(numbers.count { $0 < first }))
    }
}
