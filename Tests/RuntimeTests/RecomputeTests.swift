import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// Parts of a model that are computed again in backward: the same bits as without.
@Suite("Recomputing activations")
struct RecomputeTests {
    private let x: [Float] = (0..<24).map { Float($0 * 7 % 11) / 8 - 0.6 }
    private let w: [Float] = (0..<36).map { Float($0 * 5 % 13) / 9 - 0.7 }

    /// x is read twice in each part, the weight in every part; what the first part puts out is looked at from outside too.
    private func loss(_ x: Tensor, _ weight: Parameter, recomputing: Bool) throws -> Tensor {
        func part(_ y: Tensor) throws -> Tensor {
            let inner = try y.linear(weight.tensor).dropout(0.25, seed: 3, stream: 9, firstElement: 0)
            return try inner.map(.tanh) * y + y
        }
        func gone(_ y: Tensor) throws -> Tensor { try recomputing ? y.recomputing(part) : part(y) }
        let first = try gone(x)
        let last = try gone(gone(first))
        return try last.squared().mean() + first.sum() * 0.25
    }

    @Test("values and gradients are the same bits", arguments: TestBackend.fast)
    func bits(backend: TestBackend) throws {
        let device = try backend.device()
        func gradients(_ recomputing: Bool, needsInput: Bool) throws -> [[Float]] {
            let (variable, input) = try Tensor.variable(x, [4, 6], on: device)
            let (_, weight) = try Tensor.variable(w, [6, 6], on: device)
            // The input is read before and after the parts: its gradient has several terms.
            let start = try needsInput ? variable * 2 : variable.detached
            let loss = try loss(start, weight, recomputing: recomputing) + start.squared().sum()
            let value = try loss.item()
            try loss.backward()
            return [[value], try weight.gradientValues(), try input.gradientValues()]
        }
        for needsInput in [true, false] {
            let plain = try gradients(false, needsInput: needsInput)
            #expect(try gradients(true, needsInput: needsInput) == plain)
            #expect(plain[1].contains { $0 != 0 } && plain[2].contains { $0 != 0 } == needsInput)
        }
    }

    @Test("a parameter itself is the input; nothing that is trained; no tape")
    func borders() throws {
        let device = try TestBackend.cpu.device()
        let (variable, parameter) = try Tensor.variable(x, [4, 6], on: device)
        try variable.recomputing { try $0.squared() }.sum().backward()
        #expect(try parameter.gradientValues() == x.map { 2 * $0 })
        // Nothing here needs a gradient.
        let constant = try Tensor(x, [4, 6], on: device).recomputing { try $0 * 2 }
        #expect(!constant.needsGradient)
        var calls = 0
        try Autograd.withoutGradients {
            let y = try variable.recomputing { y in
                calls += 1
                return try y * 2
            }
            #expect(calls == 1 && !y.needsGradient)
        }
        // What a part throws comes through, also from the second time.
        let (other, _) = try Tensor.variable([1], [1], on: device)
        let late = try other.recomputing { y in
            calls += 1
            if calls == 3 { throw TensorError("the second time") }
            return try y * 3
        }
        #expect(thrown(TensorError.self) { try late.backward() }?.description == "the second time")
    }

    @Test("what parts compute inside is not kept until backward", arguments: TestBackend.fast)
    func memory(backend: TestBackend) throws {
        let device = try backend.ownDevice()
        func peak(_ recomputing: Bool) throws -> Int {
            let (variable, _) = try Tensor.variable([Float](repeating: 0.5, count: 1 << 14), [1 << 14], on: device)
            device.compute.resetPeakMemory()
            var y = variable
            for _ in 0..<8 {
                let part = { (x: Tensor) in
                    var z = x
                    for _ in 0..<6 { z = try z.map(.tanh) }
                    return z
                }
                y = try recomputing ? y.recomputing(part) : part(y)
            }
            try y.sum().backward()
            return device.compute.memory.peak
        }
        // Eight inputs and the inside of one part, instead of 48.
        let (plain, less) = (try peak(false), try peak(true))
        #expect(less < plain / 2, "\(less) of \(plain) bytes")
    }
}
