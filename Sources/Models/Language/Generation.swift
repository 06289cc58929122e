import RetortKernels
import RetortRuntime
import RetortSupport

extension LanguageModel {
    /// Continues a prompt, a token at a time.
    /// - Parameters:
    ///   - prompt: token ids, at least one.
    ///   - count: tokens to write at most; fewer where the model has no position left.
    ///   - ends: tokens after which nothing follows; they are part of the answer.
    ///   - onToken: called with each token as it is chosen.
    /// - Returns: the new tokens.
    /// - Throws: `RetortError` 75 when a signal asked to stop.
    public func generate(
        _ prompt: [Int32], count: Int, sampling: TokenSampling = TokenSampling(), ends: Set<Int32> = [],
        onToken: (Int32) throws -> Void = { _ in }
    ) throws -> [Int32] {
        setTraining(false)
        return try Autograd.withoutGradients {
            let cache = KeyValueCache(layers: layerCount)
            var written: [Int32] = []
            var next = prompt
            while written.count < count, prompt.count + written.count <= maxPositions {
                let logits = try forward(TokenBatch(next, rows: 1), cache: cache, capturing: []).logits
                let last = try logits.reshaped([next.count, vocabulary]).slice((next.count - 1)..<next.count)
                let token = try sampling.choose(
                    last, previous: [prompt + written], draws: [.init(step: written.count)])[0]
                written.append(token)
                try onToken(token)
                if ends.contains(token) { break }
                if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
                next = [token]
            }
            return written
        }
    }
}
