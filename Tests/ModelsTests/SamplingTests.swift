import Foundation
import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Which tokens are left, against transformers, and how they are drawn.
@Suite("Token sampling")
struct SamplingTests {
    private func golden() throws -> (cases: [JSONCursor], tensors: SafeTensors) {
        let path = Project.golden("generation/sampling")
        let json = JSONCursor(try JSON.read(path + ".json"), file: path + ".json")
        return (try json.member("cases").elements(), try SafeTensors(path: path + ".safetensors"))
    }

    /// The filters of a case, which ours apply in one order.
    private func sampling(_ parameters: JSONCursor) throws -> TokenSampling {
        var sampling = TokenSampling(temperature: 1)
        let order = ["repetition_penalty", "temperature", "top_k", "top_p", "min_p"]
        var last = -1
        for step in try parameters.member("chain").elements() {
            let pair = try step.elements()
            let (name, value) = (try pair[0].string(), try pair[1].double())
            let place = try #require(order.firstIndex(of: name), "\(name)")
            #expect(place > last, "the reference applies them in another order")
            last = place
            switch name {
            case "repetition_penalty": sampling.repetitionPenalty = value
            case "temperature": sampling.temperature = value
            case "top_k": sampling.topK = Int(value)
            case "top_p": sampling.topP = value
            default: sampling.minP = value
            }
        }
        return sampling
    }

    @Test("filters, alone and in a chain", arguments: TestBackend.available)
    func filters(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (cases, tensors) = try golden()
        #expect(cases.count == 7)
        for golden in cases {
            let name = try golden.member("name").string()
            let sampling = try sampling(golden.member("params"))
            let shape = Dimensions(try tensors.tensor(name + "/in/logits").shape)
            let logits = try Tensor(tensors.floats(name + "/in/logits"), shape, on: device)
            let previous = try tensors.int64s(name + "/in/prev").map(Int32.init)
            let expected = try tensors.floats(name + "/out/filtered")
            let seen = previous.count / shape[0]
            let left = try sampling.filtered(
                logits, previous: (0..<shape[0]).map { Array(previous[($0 * seen)..<(($0 + 1) * seen)]) })
            let values = try left.values()
            for (place, pair) in zip(values, expected).enumerated() {
                #expect(
                    (pair.0 == -.infinity) == (pair.1 == -.infinity),
                    "\(name) row \(place / shape[1]) token \(place % shape[1])")
            }
            let finite = values.indices.filter { values[$0].isFinite }
            expectClose(finite.map { values[$0] }, finite.map { Double(expected[$0]) }, absolute: 2e-6 * 20, name)
            expectClose(
                try left.softmax().values(), try tensors.floats(name + "/out/probs").map(Double.init), absolute: 1e-6,
                name)
        }
    }

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
