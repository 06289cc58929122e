import RetortKernels
import RetortRuntime

/// Texts, or pairs of texts, as an encoder reads them.
public struct EncoderBatch: Sendable {
    public let tokens: TokenBatch
    /// Row-major like the ids: 1 in the second text of a pair; nil: 0 everywhere. Encoders without types do not look at them.
    public let typeIDs: [Int32]?

    /// - Throws: `TensorError` when the counts do not fit.
    public init(_ tokens: TokenBatch, typeIDs: [Int32]? = nil) throws {
        guard typeIDs == nil || typeIDs?.count == tokens.ids.count else {
            throw TensorError("\(typeIDs?.count ?? 0) types for \(tokens.ids.count) tokens")
        }
        self.tokens = tokens
        self.typeIDs = typeIDs
    }

    /// Rows filled at their ends to the longest one's length.
    /// - Throws: `TensorError` when there is no token.
    public init(_ encodings: [Encoding], padding: Int32) throws {
        var encodings = encodings
        Padding(id: padding).apply(to: &encodings)
        let valid = encodings.flatMap(\.isAttended)
        try self.init(
            TokenBatch(
                encodings.flatMap(\.ids), rows: encodings.count, valid: valid.allSatisfy { $0 } ? nil : valid),
            typeIDs: encodings.flatMap(\.typeIDs))
    }

    /// What is added to the scores of keys, 0 or −∞ at padding: `[rows, 1, 1, 1, tokens]`; nil without padding. A row that is padding only
    /// sees all of it: its answer is not looked at, but must be numbers.
    func paddingBias(on device: ComputeDevice) throws -> Tensor? {
        guard let valid = tokens.valid, valid.contains(false) else { return nil }
        let length = tokens.length
        var values = valid.map { $0 ? Float(0) : -.infinity }
        for row in 0..<tokens.rows {
            let places = (row * length)..<((row + 1) * length)
            if !valid[places].contains(true) { for place in places { values[place] = 0 } }
        }
        return try Tensor(values, [tokens.rows, 1, 1, 1, length], on: Device(device))
    }
}
