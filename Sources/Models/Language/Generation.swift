import RetortKernels
import RetortRuntime

extension LanguageModel {
    /// Continues a prompt with the likeliest token each time.
    /// - Parameters:
    ///   - prompt: token ids, at least one.
    ///   - count: tokens to write at most.
    ///   - ends: tokens after which nothing follows; they are part of the answer.
    ///   - onToken: called with each token as it is chosen.
    /// - Returns: the new tokens.
    public func continueGreedily(
        _ prompt: [Int32], count: Int, ends: Set<Int32> = [], onToken: (Int32) throws -> Void = { _ in }
    ) throws -> [Int32] {
        setTraining(false)
        return try Autograd.withoutGradients {
            let cache = KeyValueCache(layers: layerCount)
            var written: [Int32] = []
            var next = prompt
            while written.count < count {
                let logits = try forward(TokenBatch(next, rows: 1), cache: cache, capturing: []).logits
                let last = try logits.reshaped([next.count, vocabulary]).slice(
                    (next.count - 1)..<next.count)
                let token = try last.device.read(last.argmax(-1), as: Int32.self)[0]
                written.append(token)
                try onToken(token)
                if ends.contains(token) { break }
                next = [token]
            }
            return written
        }
    }
}
