import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@Suite("What weight decay shrinks")
struct DecayScopeTests {
    private final class Pair: Module {
        let bias = Parameter("bias", [3], .constant(1))
        let weight = Parameter("weight", [2, 3], .constant(1))
        var isTraining = true
        var parameters: [Parameter] { [bias, weight] }
    }

    @Test("biases are left alone when matrices decay", arguments: TestBackend.available)
    func matrices(_ backend: TestBackend) throws {
        let device = try backend.device()
        for scope in DecayScope.allCases {
            for adam in [true, false] {
                let pair = Pair()
                let arena = try pair.materialize(on: device, seed: 0)
                let optimizer: any Optimizer =
                    adam
                    ? try Adam(arena, options: .init(weightDecay: 0.5, decoupled: true), decaying: scope)
                    : try SGD(arena, options: .init(weightDecay: 0.5), decaying: scope)
                // No gradient: what moves is decay.
                try optimizer.step(learningRate: 0.1)
                #expect(try pair.weight.values() == [Float](repeating: 0.95, count: 6))
                #expect(try pair.bias.values() == [Float](repeating: scope == .all ? 0.95 : 1, count: 3))
            }
        }
    }
}
