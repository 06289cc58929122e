import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// A linear layer with an adapter is the layer whose weight is W + alpha / rank · B·A, and only A and B learn.
@Suite("Low-rank adapters")
struct LowRankTests {
    /// A layer, its adapter, and what they see.
    private struct Sample {
        let layer: Linear
        let adapter: LowRankAdapter
        let adapterArena: ParameterArena
        let x: Parameter
    }

    private func sample(
        _ size: [Int], _ device: Device, activation: MatmulActivation = .none, dropout: Float = 0, drawsUp: Bool = true
    ) throws -> Sample {
        let (rows, inputs, outputs, rank) = (size[0], size[1], size[2], size[3])
        let layer = Linear("layers.0.proj", inputs: inputs, outputs: outputs, activation: activation)
        _ = try layer.materialize(on: device, seed: 1, trains: false)
        let adapter = LowRankAdapter(
            layer.name, inputs: inputs, outputs: outputs, rank: rank, alpha: 3, dropout: dropout)
        if drawsUp { adapter.up.initializer = .uniform(bound: 0.5) }
        let arena = try ParameterArena(adapter.parameters, on: device.compute, seed: 2)
        let x = Parameter("x", [rows, inputs], .uniform(bound: 1))
        _ = try ParameterArena([x], on: device.compute, seed: 3)
        return Sample(layer: layer, adapter: adapter, adapterArena: arena, x: x)
    }

    /// Rows, inputs, outputs, rank.
    private static let sizes = [[1, 19, 37, 1], [7, 5, 3, 8], [33, 64, 65, 4], [40, 32, 128, 16]]

    @Test("it begins as the layer, bit by bit; with an activation to rounding", arguments: sizes, TestBackend.available)
    func begins(_ size: [Int], _ backend: TestBackend) throws {
        let sample = try sample(size, try backend.device(), drawsUp: false)
        let plain = try sample.layer(sample.x.tensor).values()
        sample.layer.adapter = sample.adapter
        #expect(try sample.layer(sample.x.tensor).values() == plain)
        let curved = try self.sample(size, try backend.device(), activation: .geluTanh, drawsUp: false)
        let fused = try curved.layer(curved.x.tensor).values()
        curved.layer.adapter = curved.adapter
        expectClose(try curved.layer(curved.x.tensor).values(), fused.map(Double.init), absolute: 2e-7, relative: 1e-6)
        // A as PEFT draws it: uniform in ±1/√inputs.
        let largest = try sample.adapter.down.values().map(abs).max() ?? 0
        #expect(largest <= 1 / Float(size[1]).squareRoot() && largest > 0.5 / Float(size[1]).squareRoot())
        #expect(sample.adapter.down.name == "layers.0.proj.lora_A.weight")
    }

    @Test("values and gradients are those of the whole matrix", arguments: sizes, TestBackend.available)
    func composed(_ size: [Int], _ backend: TestBackend) throws {
        let device = try backend.device()
        for activation in [MatmulActivation.none, .relu, .geluTanh] {
            let sample = try sample(size, device, activation: activation)
            let (layer, adapter, x) = (sample.layer, sample.adapter, sample.x)
            func gradients() throws -> [[Float]] {
                try (adapter.parameters + [x]).map { parameter in
                    defer { parameter.clearGradient() }
                    return try parameter.gradientValues()
                }
            }
            // The whole matrix, from the tape's other ops.
            let matrix = try layer.weight.tensor + adapter.up.tensor.matmul(adapter.down.tensor) * adapter.scale
            let whole = try x.tensor.linear(matrix, bias: layer.bias?.tensor, activation: activation)
            try whole.map(.tanh).sum().backward()
            let expected = try gradients()
            layer.adapter = adapter
            let own = try layer(x.tensor)
            expectClose(try own.values(), try whole.values().map(Double.init), absolute: 2e-5)
            try own.map(.tanh).sum().backward()
            for (name, pair) in zip(["A", "B", "x"], zip(try gradients(), expected)) {
                let largest = Double(pair.1.map(abs).max() ?? 0)
                #expect(largest > 0)
                expectClose(pair.0, pair.1.map(Double.init), absolute: 1e-5 + 2e-5 * largest, name)
            }
            #expect(!layer.weight.hasGradient && layer.bias?.hasGradient == false)
        }
    }

    @Test("finite differences", arguments: TestBackend.fast)
    func differences(_ backend: TestBackend) throws {
        let sample = try sample([5, 7, 6, 2], try backend.device())
        sample.layer.adapter = sample.adapter
        func loss() throws -> Tensor { try sample.layer(sample.x.tensor).map(.tanh).sum() }
        try loss().backward()
        for parameter in sample.adapter.parameters {
            let gradient = try parameter.gradientValues()
            let values = try parameter.values()
            for place in [0, 3, values.count - 1] {
                var sides: [Double] = []
                for step in [Float(0.01), -0.01] {
                    var moved = values
                    moved[place] += step
                    try parameter.assign(moved)
                    sides.append(Double(try loss().item()))
                }
                try parameter.assign(values)
                let measured = (sides[0] - sides[1]) / 0.02
                #expect(abs(measured - Double(gradient[place])) < 2e-3 * max(1, abs(measured)), "\(parameter.name)")
            }
        }
    }

    @Test("merged it is the layer", arguments: sizes, TestBackend.available)
    func merged(_ size: [Int], _ backend: TestBackend) throws {
        let sample = try sample(size, try backend.device(), activation: .silu)
        let before = try sample.layer.weight.values()
        sample.layer.adapter = sample.adapter
        let adapted = try sample.layer(sample.x.tensor).values()
        #expect(try sample.layer.weight.values() == before)
        try sample.layer.mergeAdapter()
        #expect(sample.layer.adapter == nil)
        #expect(try sample.layer.weight.values() != before)
        expectClose(try sample.layer(sample.x.tensor).values(), adapted.map(Double.init), absolute: 2e-5)
    }

    @Test("dropout is of what A sees, in training only")
    func dropout() throws {
        let sample = try sample([6, 8, 5, 2], try TestBackend.cpu.device(), dropout: 0.5)
        sample.layer.adapter = sample.adapter
        sample.layer.setTraining(false)
        let still = try sample.layer(sample.x.tensor).values()
        sample.layer.setTraining(true)
        func answer(_ step: Int) throws -> [Float] {
            sample.layer.setDropout(.init(seed: 3, step: step))
            return try sample.layer(sample.x.tensor).values()
        }
        let first = try answer(0)
        #expect(try first != still && first == answer(0) && first != answer(1))
    }

    @Test("what is frozen has no gradient, in memory either", arguments: TestBackend.fast)
    func memory(_ backend: TestBackend) throws {
        func bytes(trains: Bool) throws -> (parameters: Int, gradients: Int) {
            let device = try backend.ownDevice()
            let layer = Linear("layers.0.proj", inputs: 512, outputs: 512)
            let arena = try layer.materialize(on: device, seed: 1, trains: trains)
            let report = device.compute.memory.byPurpose
            #expect(arena.count == 512 * 513 && layer.weight.isTrainable == trains)
            return (report[.parameters] ?? 0, report[.gradients] ?? 0)
        }
        let (trained, frozen) = (try bytes(trains: true), try bytes(trains: false))
        #expect(trained.parameters == frozen.parameters && trained.gradients >= 512 * 513 * 4)
        #expect(frozen.gradients < 4096)
    }
}
