import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

@Suite("Linear groups")
struct LinearGroupTests {
    private func layers(_ outputs: [Int], inputs: Int = 48, bias: Bool = false, on device: Device) throws -> [Linear] {
        let layers = outputs.enumerated().map { Linear("l\($0)", inputs: inputs, outputs: $1, bias: bias) }
        _ = try ParameterArena(layers.flatMap(\.parameters), on: device.compute, seed: 1)
        return layers
    }

    private func row(_ inputs: Int, rows: Int = 1, on device: Device) throws -> Tensor {
        try Tensor((0..<(rows * inputs)).map { Float($0 % 7) - 3 }, [rows, 1, inputs], on: device)
    }

    @Test("one product makes what its parts make", arguments: TestBackend.available)
    func joined(_ backend: TestBackend) throws {
        let device = try backend.device()
        // Multiples of 128 numbers lie without gaps, biases among them.
        for (outputs, bias) in [([8, 16, 8], false), ([128, 256], true)] {
            let layers = try layers(outputs, bias: bias, on: device)
            for rows in [1, 5] {
                let x = try row(48, rows: rows, on: device)
                try Autograd.withoutGradients {
                    let joined = try #require(try LinearGroup(layers).joined(x))
                    #expect(joined.shape == [rows, 1, outputs.reduce(0, +)])
                    let apart = try Tensor.concatenated(layers.map { try $0(x) }, axis: 2)
                    expectClose(
                        try joined.values(), apart.values().map(Double.init), absolute: 1e-5, "\(outputs), \(rows) rows"
                    )
                }
            }
        }
    }

    @Test("on a tape, apart or with an adapter each part is on its own", arguments: TestBackend.fast)
    func notJoined(_ backend: TestBackend) throws {
        let device = try backend.device()
        let near = try layers([8, 16], on: device)
        let x = try row(48, on: device)
        #expect(try LinearGroup(near).joined(x) == nil)
        try Autograd.withoutGradients {
            #expect(try LinearGroup(near).joined(x) != nil)
            #expect(try LinearGroup(near.reversed()).joined(x) == nil)
            // 8 · 3 numbers leave a gap behind them; so do biases of 8.
            #expect(try LinearGroup(layers([3, 3], on: device)).joined(x) == nil)
            #expect(try LinearGroup(layers([8, 16], bias: true, on: device)).joined(x) == nil)
            near[1].adapter = LowRankAdapter("a", inputs: 48, outputs: 16, rank: 2, alpha: 1)
            #expect(try LinearGroup(near).joined(x) == nil)
        }
    }
}
