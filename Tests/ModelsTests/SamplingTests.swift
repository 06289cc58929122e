import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// How tokens are drawn; which are left to draw from is among the goldens (misc/sampling).
@Suite("Token sampling")
struct SamplingTests {
    @Test("draws follow the probabilities; seed, text and step decide, not the neighbours", arguments: TestBackend.fast)
    func draws(_ backend: TestBackend) throws {
        let device = try backend.device()
        let row: [Float] = [0, 1, -.infinity, 2, 0.5]
        func tokens(_ draws: [TokenSampling.Draw], _ sampling: TokenSampling, previous: [Int32] = []) throws -> [Int32]
        {
            let logits = try Tensor(draws.flatMap { _ in row }, [draws.count, row.count], on: device)
            return try sampling.choose(logits, previous: draws.map { _ in previous }, draws: draws)
        }
        let sampling = TokenSampling(temperature: 1, seed: 7)
        let powers = row.map { exp(Double($0)) }
        let expected = powers.map { $0 / powers.reduce(0, +) }
        let draws = (0..<20_000).map { TokenSampling.Draw(text: $0 / 100, step: $0 % 100) }
        let drawn = try tokens(draws, sampling)
        for (token, probability) in expected.enumerated() {
            // Five standard deviations of a binomial.
            let margin = 5 * (Double(draws.count) * probability * (1 - probability)).squareRoot()
            let count = drawn.count { Int($0) == token }
            #expect(abs(Double(count) - Double(draws.count) * probability) <= margin, "\(token): \(count)")
        }
        #expect(try tokens(Array(draws[150..<190]), sampling) == Array(drawn[150..<190]))
        #expect(try tokens(Array(draws.prefix(50)), TokenSampling(temperature: 1, seed: 8)) != Array(drawn.prefix(50)))
        let one = [TokenSampling.Draw(step: 3)]
        #expect(try tokens(one, TokenSampling()) == [3])
        #expect(try tokens(one, TokenSampling(temperature: 1, topK: 1)) == [3])
        #expect(try tokens(one, TokenSampling(repetitionPenalty: 3), previous: [3]) == [1])
    }
}
