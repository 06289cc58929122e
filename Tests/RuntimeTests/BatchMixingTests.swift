import Foundation
import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

@Suite("Random numbers for augmentation")
struct BatchMixingTests {
    /// The largest distance between the share of draws below x and the distribution's, times √n: above 1.95 in one of a thousand
    /// correct samples. The draws are fixed.
    private func distance(_ alpha: Double, _ beta: Double, cumulative: (Double) -> Double) -> Double {
        let philox = Philox(seed: 11, stream: Philox.stream("beta/test"))
        let draws = (0..<20_000).map { philox.beta(UInt64($0), alpha, beta) }.sorted()
        let n = Double(draws.count)
        let worst =
            draws.enumerated().map { index, x in
                max(abs(cumulative(x) - Double(index) / n), abs(cumulative(x) - Double(index + 1) / n))
            }.max() ?? 0
        return worst * n.squareRoot()
    }

    @Test("Beta follows its distribution where that is known in closed form")
    func betaDistribution() {
        #expect(distance(1, 1) { $0 } < 1.95)
        #expect(distance(0.5, 0.5) { 2 / Double.pi * asin($0.squareRoot()) } < 1.95)
        #expect(distance(2, 2) { $0 * $0 * (3 - 2 * $0) } < 1.95)
        #expect(distance(3, 1) { $0 * $0 * $0 } < 1.95)
        #expect(distance(0.2, 1) { pow($0, 0.2) } < 1.95)
        // The test itself can fail.
        #expect(distance(2, 2) { $0 } > 5)
    }

    @Test("Beta for tiny and large parameters: moments, no NaN")
    func betaMoments() {
        for alpha in [0.001, 0.2, 1.0, 40] {
            let philox = Philox(seed: 5, stream: 3)
            let draws = (0..<20_000).map { philox.beta(UInt64($0), alpha, alpha) }
            #expect(draws.allSatisfy { $0 >= 0 && $0 <= 1 })
            let mean = draws.reduce(0, +) / 20_000
            let variance = draws.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 20_000
            let expected = 1 / (4 * (2 * alpha + 1))
            // Four standard errors; that of the variance is at most the variance's own size over √n times √2.
            #expect(abs(mean - 0.5) < 4 * (expected / 20_000).squareRoot())
            #expect(abs(variance - expected) < 4 * expected * 0.01)
        }
    }

    @Test("a mixture is a function of seed and step")
    func mixtures() throws {
        let mix = try BatchMix(.cutMix(alpha: 1), rows: 31, height: 20, width: 12, seed: 3, step: 7)
        #expect(try mix == BatchMix(.cutMix(alpha: 1), rows: 31, height: 20, width: 12, seed: 3, step: 7))
        #expect(try mix != BatchMix(.cutMix(alpha: 1), rows: 31, height: 20, width: 12, seed: 3, step: 8))
        #expect(mix.partners.sorted() == Array(0..<31))
        for step in 0..<500 {
            let mix = try BatchMix(.cutMix(alpha: 0.5), rows: 2, height: 20, width: 12, seed: 3, step: step)
            let box = try #require(mix.box)
            #expect(box.lines.lowerBound >= 0 && box.lines.upperBound <= 20)
            #expect(box.columns.lowerBound >= 0 && box.columns.upperBound <= 12)
            #expect(mix.weight == Float(1 - Double(box.lines.count * box.columns.count) / 240))
        }
        #expect(throws: TensorError.self) {
            try BatchMix(.mixup(alpha: 0), rows: 2, height: 1, width: 1, seed: 0, step: 0)
        }
    }
}
