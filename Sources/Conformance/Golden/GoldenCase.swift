import RetortData
import RetortKernels
import RetortSupport

/// One case of a suite, as its JSON describes it: which tensors go in, which come out, and how exactly.
struct GoldenCase {
    /// A tensor of the suite's safetensors file, with what the JSON says of it.
    struct Entry {
        let tensor: String
        let shape: Dimensions
        let type: String

        init(_ cursor: JSONCursor) throws {
            try cursor.expectKeys(["tensor", "shape", "dtype"])
            tensor = try cursor.member("tensor").string()
            let sizes = try cursor.member("shape")
            let elements = try sizes.elements()
            guard elements.count <= Dimensions.most else {
                throw sizes.failure("\(elements.count) dimensions; at most \(Dimensions.most) are supported")
            }
            shape = Dimensions(try elements.map { try $0.int(in: 0...Int.max) })
            type = try cursor.member("dtype").string()
        }
    }

    let name: String
    let parameters: JSONCursor?
    let inputs: [String: Entry]
    /// Upstream gradients of the outputs, where the result is not a scalar loss.
    let upstream: [String: Entry]
    let outputs: [String: Entry]
    let gradients: [String: Entry]
    /// Results without dimensions, with all digits of a float64.
    let scalars: [String: Double]
    /// How far a result may be off, by "out/y" or "grad/x".
    let tolerances: [String: GoldenTolerance]

    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys([
            "name", "params", "in", "cot", "out", "grad", "scalars", "f32_err", "source", "peer_check", "note",
        ])
        name = try cursor.member("name").string()
        parameters = try cursor.optional("params")
        inputs = try Self.entries(cursor, "in")
        upstream = try Self.entries(cursor, "cot")
        outputs = try Self.entries(cursor, "out")
        gradients = try Self.entries(cursor, "grad")
        scalars = Dictionary(
            uniqueKeysWithValues: try (cursor.optional("scalars")?.members() ?? []).map {
                ($0.key, try GoldenNumber.read($0.value))
            })
        tolerances = Dictionary(
            uniqueKeysWithValues: try (cursor.optional("f32_err")?.members() ?? []).map {
                ($0.key, try GoldenTolerance($0.value))
            })
    }

    private static func entries(_ cursor: JSONCursor, _ key: String) throws -> [String: Entry] {
        let members = try cursor.optional(key)?.members() ?? []
        return Dictionary(uniqueKeysWithValues: try members.map { ($0.key, try Entry($0.value)) })
    }

    /// Everything that must be computed and compared: "out/y", "grad/x", "scalars/loss".
    var expected: Set<String> {
        Set(
            outputs.keys.map { "out/" + $0 } + gradients.keys.map { "grad/" + $0 }
                + scalars.keys.map { "scalars/" + $0 })
    }
}

/// Numbers as goldens write them: plain, or the words "inf", "-inf", "nan".
enum GoldenNumber {
    static func read(_ cursor: JSONCursor) throws -> Double {
        switch cursor.value {
        case .string("inf"): .infinity
        case .string("-inf"): -.infinity
        case .string("nan"): .nan
        default: try cursor.double()
        }
    }
}
