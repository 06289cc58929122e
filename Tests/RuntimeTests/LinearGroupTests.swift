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
                    let apart = try Tensor.concatenated(layers.map { try $0(x) }, axis: -1)
                    expectClose(
                        try joined.values(), try apart.values().map(Double.init), absolute: 1e-5,
                        "\(outputs), \(rows) rows")
                }
            }
        }
    }

    @Test("a norm in front and a gate behind change nothing", arguments: TestBackend.available)
    func normed(_ backend: TestBackend) throws {
        let device = try backend.device()
        let few = device.compute.fewRows
        for (outputs, bias, offset) in [(24, false, Float(0)), (128, true, 0), (24, false, 1)] {
            let layers = try layers([outputs, outputs], bias: bias, on: device)
            let (group, norm) = (LinearGroup(layers), try norm(offset: offset, on: device))
            for rows in [1, few, few + 1] {
                let x = try Tensor(
                    (0..<(rows * 48)).map { Float($0 * 5 % 17) / 4 - 2 }, [rows, 1, 48], on: device)
                #expect(try group.joined(x, after: norm) == nil && group.gated(.swiglu, x, after: norm) == nil)
                try Autograd.withoutGradients {
                    let normed = try norm(x)
                    let (gate, up) = (try layers[0](normed), try layers[1](normed))
                    let joined = try #require(try group.joined(x, after: norm))
                    #expect(joined.shape == [rows, 1, 2 * outputs])
                    let apart = try Tensor.concatenated([gate, up], axis: -1)
                    expectClose(try joined.values(), try apart.values().map(Double.init), absolute: 1e-5, "\(rows)")
                    let gated = try #require(try group.gated(.swiglu, x, after: norm))
                    #expect(gated.shape == [rows, 1, outputs])
                    let expected = try Tensor.gated(.swiglu, gate: gate, up: up)
                    expectClose(try gated.values(), try expected.values().map(Double.init), absolute: 1e-5, "\(rows)")
                }
            }
        }
    }

    @Test("for few rows norm, product and gate are one launch", arguments: TestBackend.available)
    func launches(_ backend: TestBackend) throws {
        let plan = PlannedDevice(like: try backend.device().compute)
        let device = Device(.planned(plan))
        #expect(device.compute.fewRows == (backend == .simt ? 8 : 4))
        let (group, norm) = (LinearGroup(try layers([24, 24], on: device)), try norm(on: device))
        func names(_ rows: Int, _ body: (Tensor) throws -> Tensor?) throws -> [String] {
            let x = Tensor(view: try device.compute.empty([rows, 48]), on: device)
            let first = plan.operationCount
            _ = try #require(try Autograd.withoutGradients { try body(x) })
            return plan.operations.dropFirst(first).map { $0.name }
        }
        let few = device.compute.fewRows
        #expect(try names(few) { try group.joined($0, after: norm) } == ["normed_product"])
        #expect(try names(few) { try group.gated(.swiglu, $0, after: norm) } == ["normed_product"])
        #expect(try names(few + 1) { try group.joined($0, after: norm) } == ["rms_norm", "matmul"])
        #expect(try names(few + 1) { try group.gated(.swiglu, $0, after: norm) } == ["rms_norm", "matmul", "swiglu"])
    }

    /// - Parameter offset: beyond which its weights are stored.
    private func norm(offset: Float = 0, on device: Device) throws -> RMSNormalization {
        let norm = RMSNormalization("norm", columns: 48, epsilon: 1e-5, weightOffset: offset)
        _ = try ParameterArena(norm.parameters, on: device.compute, seed: 1)
        try norm.weight.assign((0..<48).map { 0.5 + Float($0 % 5) / 4 })
        return norm
    }

    @Test("on a tape, apart or with an adapter each part is on its own", arguments: TestBackend.fast)
    func notJoined(_ backend: TestBackend) throws {
        let device = try backend.device()
        let near = try layers([8, 16], on: device)
        let x = try row(48, on: device)
        #expect(try LinearGroup(near).joined(x) == nil)
        try Autograd.withoutGradients { () throws in
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
