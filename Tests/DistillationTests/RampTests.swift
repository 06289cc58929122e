import Testing

@testable import RetortDistillation

@Suite("Ramps")
struct RampTests {
    private func factors(_ ramp: Ramp, epochs: Int) -> [Double] {
        (0..<epochs).map { epoch in
            var progress = TrainingProgress(epochs: epochs)
            progress.epoch = epoch
            return ramp.factor(progress)
        }
    }

    @Test("the factor of each epoch")
    func values() {
        #expect(factors(.constant, epochs: 2) == [1, 1])
        #expect(factors(.warmUp(epochs: 4), epochs: 5) == [0.25, 0.5, 0.75, 1, 1])
        #expect(factors(.between(first: 2, last: 3), epochs: 4) == [0, 1, 1, 0])
        #expect(factors(.linear(from: 1, to: 0), epochs: 5) == [1, 0.75, 0.5, 0.25, 0])
        #expect(factors(.cosine(from: 2, to: 0), epochs: 3).map { ($0 * 1e12).rounded() / 1e12 } == [2, 1, 0])
        #expect(factors(.linear(from: 1, to: 0.5), epochs: 1) == [0.5])
    }
}
