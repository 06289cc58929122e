import Foundation
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Two models that write one text.
@Suite("Mixtures that write")
struct WritingMixtureTests {
    private static let prompts: [[Int32]] = [[5, 9, 2, 7], [3], [11, 4]]

    /// A small Llama.
    private func model(layers: Int, vocabulary: Int = 40, _ backend: TestBackend) throws -> any LanguageModel {
        let config: JSON = [
            "model_type": "llama", "vocab_size": .int(vocabulary), "hidden_size": 16, "intermediate_size": 32,
            "num_hidden_layers": .int(layers), "num_attention_heads": 2, "max_position_embeddings": 96,
            "initializer_range": 0.5, "tie_word_embeddings": false,
        ]
        let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
        _ = try model.materialize(on: backend.device(), seed: UInt64(layers))
        return model
    }

    @Test("a share of 0 or 1 is one model alone; between, neither", arguments: TestBackend.fast)
    func ends(_ backend: TestBackend) throws {
        let (one, other) = (try model(layers: 1, backend), try model(layers: 2, backend))
        let options = WritingOptions(count: 10, sampling: TokenSampling(temperature: 1, seed: 3))
        func written(_ share: Float) throws -> [[Int32]] {
            try one.generate(Self.prompts, options, mixture: WritingMixture(other, share: share))
        }
        #expect(try written(0) == one.generate(Self.prompts, options))
        #expect(try written(1) == other.generate(Self.prompts, options))
        let half = try written(0.5)
        #expect(try half != written(0) && half != written(1))
    }

    @Test("its probabilities are the mean of both, token after token", arguments: TestBackend.fast)
    func probabilities(_ backend: TestBackend) throws {
        let (one, other) = (try model(layers: 1, backend), try model(layers: 2, backend))
        try Autograd.withoutGradients {
            let reader = CachedReader(one, vocabulary: one.vocabulary)
            let mixture = try MixtureReader(WritingMixture(other, share: 0.25), writer: one.vocabulary)
            var text: [Int32] = [5, 9, 2]
            for step in 0..<3 {
                let tokens = try TokenBatch(step == 0 ? text : [text.last!], rows: 1)
                let mixed = try mixture.mixed(reader.logits(tokens), tokens).values()
                func last(_ model: any LanguageModel) throws -> [Float] {
                    let logits = try model.forward(TokenBatch(text, rows: 1)).logits
                    return try logits.softmax().narrowed(axis: 1, (text.count - 1)..<text.count).values()
                }
                let (p, q) = (try last(one), try last(other))
                let expected = zip(p, q).map { log(0.75 * Double($0) + 0.25 * Double($1)) }
                expectClose(mixed, expected, absolute: 1e-5, relative: 1e-5)
                text.append(Int32(step + 1))
            }
        }
    }

    @Test("what is drawn goes by a text's number, not by what is written beside it", arguments: TestBackend.fast)
    func apart(_ backend: TestBackend) throws {
        let (one, other) = (try model(layers: 1, backend), try model(layers: 2, backend))
        let options = WritingOptions(count: 10, sampling: TokenSampling(temperature: 1, seed: 3))
        let mixture = WritingMixture(other, share: 0.3)
        let numbers = [7, 2, 30]
        let together = try one.generate(Self.prompts, options, texts: numbers, mixture: mixture)
        for (index, prompt) in Self.prompts.enumerated() {
            let alone = try one.generate([prompt], options, texts: [numbers[index]], mixture: mixture)
            #expect(alone == [together[index]], "\(index)")
        }
        let others = try one.generate(Self.prompts, options, texts: [8, 2, 30], mixture: mixture)
        #expect(others[0] != together[0] && others[1...] == together[1...])
    }

    @Test("the other may be on another device", .enabled(if: TestBackend.hasOpenCL))
    func elsewhere() throws {
        let (one, near) = (try model(layers: 1, .cpu), try model(layers: 2, .cpu))
        let far = try model(layers: 2, .vector)
        let options = WritingOptions(count: 10, sampling: TokenSampling(temperature: 1, seed: 3))
        func written(_ other: any LanguageModel) throws -> [[Int32]] {
            try one.generate(Self.prompts, options, mixture: WritingMixture(other, share: 0.5))
        }
        let (here, there) = (try written(near), try written(far))
        #expect(here == there && here.allSatisfy { !$0.isEmpty })
    }

    @Test("models of different vocabularies and impossible shares are refused")
    func refused() throws {
        let (one, other) = (try model(layers: 1, .cpu), try model(layers: 1, vocabulary: 41, .cpu))
        let options = WritingOptions(count: 2)
        for mixture in [WritingMixture(one, share: 1.5), WritingMixture(other, share: 0.5)] {
            #expect(thrown(TensorError.self) { _ = try one.generate([[1]], options, mixture: mixture) } != nil)
        }
    }
}
