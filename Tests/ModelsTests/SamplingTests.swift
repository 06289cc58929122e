import Foundation
import RetortData
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

    @Test("filters, alone and in a chain")
    func filters() throws {
        let (cases, tensors) = try golden()
        #expect(cases.count == 7)
        for golden in cases {
            let name = try golden.member("name").string()
            let sampling = try sampling(golden.member("params"))
            let logits = try tensors.floats(name + "/in/logits")
            let previous = try tensors.int64s(name + "/in/prev").map(Int32.init)
            let filtered = try tensors.floats(name + "/out/filtered")
            let probabilities = try tensors.floats(name + "/out/probs")
            let rows = try tensors.tensor(name + "/in/logits").shape[0]
            let (width, seen) = (logits.count / rows, previous.count / rows)
            for row in 0..<rows {
                let range = (row * width)..<((row + 1) * width)
                let own = sampling.filtered(
                    Array(logits[range]), previous: Array(previous[(row * seen)..<((row + 1) * seen)]))
                for (token, expected) in filtered[range].enumerated() {
                    #expect((own[token] == -.infinity) == (expected == -.infinity), "\(name) row \(row) token \(token)")
                }
                let finite = own.indices.filter { own[$0].isFinite }
                expectClose(
                    finite.map { Float(own[$0]) }, finite.map { Double(filtered[range][range.lowerBound + $0]) },
                    absolute: 2e-6 * 20, name)
                expectClose(
                    TokenSampling.softmax(own).map { Float($0) }, probabilities[range].map(Double.init), absolute: 1e-6,
                    name)
            }
        }
    }

    @Test("draws follow the probabilities, and only seed and step decide")
    func draws() {
        let logits: [Float] = [0, 1, -.infinity, 2, 0.5]
        let sampling = TokenSampling(temperature: 1, seed: 7)
        let expected = TokenSampling.softmax(logits.map(Double.init))
        var counts = [Int](repeating: 0, count: logits.count)
        let draws = 20_000
        for step in 0..<draws { counts[Int(sampling.choose(logits, previous: [], step: step))] += 1 }
        for (token, probability) in expected.enumerated() {
            // Five standard deviations of a binomial.
            let margin = 5 * (Double(draws) * probability * (1 - probability)).squareRoot()
            #expect(abs(Double(counts[token]) - Double(draws) * probability) <= margin, "\(token): \(counts[token])")
        }
        let first = (0..<50).map { sampling.choose(logits, previous: [], step: $0) }
        #expect(first == (0..<50).map { sampling.choose(logits, previous: [], step: $0) })
        let other = TokenSampling(temperature: 1, seed: 8)
        #expect(first != (0..<50).map { other.choose(logits, previous: [], step: $0) })
        #expect(TokenSampling().choose(logits, previous: [], step: 3) == 3)
        #expect(TokenSampling(temperature: 1, topK: 1).choose(logits, previous: [], step: 3) == 3)
        #expect(TokenSampling(repetitionPenalty: 3).choose(logits, previous: [3], step: 0) == 1)
    }
}
