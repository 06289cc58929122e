import RetortData
import RetortModels
import RetortSupport

/// What a language model learns from, or is measured on: examples by number.
protocol TokenExamples: Sendable {
    var count: Int { get }
    /// Tokens of the longest example.
    var longest: Int { get }
    /// The largest token id that occurs.
    var largestToken: Int32 { get }
    /// Some examples side by side.
    func batch(_ numbers: some Collection<Int>) throws -> LanguageBatch
}

/// Examples of one length, each token of which is predicted but the first: rows of token ids.
struct TokenRows: TokenExamples {
    let count: Int
    let longest: Int
    let largestToken: Int32
    private let ids: [Int32]

    /// - Parameters:
    ///   - file: a safetensors file.
    ///   - name: a tensor of whole numbers, `[rows, tokens]`.
    /// - Throws: `RetortError` 65 for another shape or type, or a number that is no token.
    init(_ file: SafeTensors, _ name: String) throws {
        let tensor = try file.tensor(name)
        let place = RetortError.Location(file: file.path)
        guard tensor.shape.count == 2, tensor.shape[0] > 0, tensor.shape[1] > 1 else {
            throw RetortError.badData(
                "tensor \(name.quoted(limit: 200)) has the shape \(tensor.shape)", at: place,
                why: "token ids are [rows, tokens], with at least two tokens in a row")
        }
        let wide = try file.int64s(name)
        if let wrong = wide.firstIndex(where: { $0 < 0 || $0 > Int64(Int32.max) }) {
            throw RetortError.badData(
                "tensor \(name.quoted(limit: 200)) holds \(wide[wrong]), which is no token", at: place,
                why: "row \(wrong / tensor.shape[1]), position \(wrong % tensor.shape[1])")
        }
        ids = wide.map(Int32.init)
        (count, longest) = (tensor.shape[0], tensor.shape[1])
        largestToken = ids.max() ?? 0
    }

    func batch(_ numbers: some Collection<Int>) -> LanguageBatch {
        var tokens: [Int32] = []
        var targets: [Int32] = []
        for number in numbers {
            let row = ids[(number * longest)..<((number + 1) * longest)]
            tokens += row
            targets += row.dropFirst()
            targets.append(LanguageBatch.ignored)
        }
        return LanguageBatch(rows: numbers.count, length: longest, tokens: tokens, targets: targets)
    }
}
