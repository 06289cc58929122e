import RetortKernels
import Synchronization
import TestSupport
import Testing

@testable import RetortRuntime

@Suite("Parameter arena")
struct ParameterArenaTests {
    /// Shapes whose rows are shorter, equal and longer than the alignment, and one of rank 3.
    private func parameters() -> [Parameter] {
        [
            Parameter("a.weight", [3, 5], .uniform(bound: 1)), Parameter("a.bias", [3], .uniform(bound: 1)),
            Parameter("b.weight", [2, 16], .uniform(bound: 1)), Parameter("c.weight", [2, 3, 17], .uniform(bound: 1)),
            Parameter("d.scale", [], .constant(4)), Parameter("e.zero", [2, 2], .zeros),
        ]
    }

    @Test("values, names and counts round trip", arguments: TestBackend.available)
    func roundTrip(_ backend: TestBackend) throws {
        let device = try backend.device()
        let parameters = parameters()
        let arena = try ParameterArena(parameters, on: device.compute, seed: 3)
        #expect(arena.parameters.map(\.name) == ["a.weight", "a.bias", "b.weight", "c.weight", "d.scale", "e.zero"])
        #expect(arena.count == 15 + 3 + 32 + 102 + 1 + 4)
        for parameter in parameters {
            #expect(try parameter.values() == parameter.initialValues(seed: 3), "\(parameter.name)")
            #expect(parameter.value.offset % (Arena.alignment / 4) == 0, "\(parameter.name)")
        }
        // What is assigned to one comes back and leaves its neighbours alone.
        let new = (0..<102).map { Float($0) - 50 }
        try parameters[3].assign(new)
        #expect(try parameters[3].values() == new)
        #expect(try parameters[2].values() == parameters[2].initialValues(seed: 3))
        #expect(try parameters[4].values() == [4])
        let wrong = thrown(TensorError.self) { try parameters[0].assign([1, 2]) }
        #expect(wrong?.description.contains("a.weight") == true)
    }

    @Test("large parameters are drawn piece by piece, as if at once", arguments: TestBackend.available)
    func largeParameters(_ backend: TestBackend) throws {
        let parameters = [
            Parameter("normal", [601, 512], .normal(deviation: 2)), Parameter("uniform", [300_001], .uniform(bound: 1)),
        ]
        _ = try ParameterArena(parameters, on: backend.device().compute, seed: 3)
        for parameter in parameters { #expect(try parameter.values() == parameter.initialValues(seed: 3)) }
    }

    @Test("what is frozen gives back the memory of its gradients", arguments: TestBackend.available)
    func freezing(_ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        let layer = Linear("a", inputs: 40, outputs: 30)
        _ = try layer.materialize(on: device, seed: 3)
        let (values, live) = (try layer.parameters.map { try $0.values() }, device.compute.memory.live)
        layer.freeze()
        #expect(device.compute.memory.live <= live - 4 * layer.parameters.reduce(0) { $0 + $1.count })
        #expect(try layer.parameters.map { try $0.values() } == values)
        #expect(layer.parameters.allSatisfy { !$0.hasGradient && $0.tensor.needsGradient == false })
    }

    @Test("without a seed nothing is drawn and padding is zero", arguments: TestBackend.available)
    func notDrawn(_ backend: TestBackend) throws {
        let device = try backend.device()
        // Memory that held something else before.
        do {
            let dirty = try device.compute.empty([4096], for: .parameters)
            try run(Fill(7), .init(y: dirty), on: device.compute)
        }
        let parameters = parameters()
        let arena = try ParameterArena(parameters, on: device.compute, seed: nil)
        // A model without a seed starts as its file says; what lies between its numbers is 0, whatever was there before.
        for parameter in parameters { try parameter.assign([Float](repeating: 2, count: parameter.count)) }
        let all = try device.compute.read(arena.values, as: Float.self)
        #expect(all.reduce(0, +) == Float(2 * arena.count) && all.allSatisfy { $0 == 0 || $0 == 2 })
    }

    /// Longer than a piece, and with padded rows.
    @Test("values that come in pieces are those that come at once", arguments: TestBackend.available)
    func pieces(_ backend: TestBackend) throws {
        let device = try backend.device()
        for shape: Dimensions in [[3, 200_000], [5, 17], [1_300_001], [0]] {
            let parameter = Parameter("p", shape, .zeros)
            let arena = try ParameterArena([parameter], on: device.compute, seed: nil)
            let values = (0..<parameter.count).map { Float($0 % 1009) }
            let asked = Mutex(0)
            try parameter.assign { from, piece in
                asked.withLock { $0 += piece.count }
                for i in piece.indices { piece[i] = values[from + i] }
            }
            #expect(asked.withLock { $0 } == parameter.count)
            #expect(try parameter.values() == values)
            let sum = { (list: [Float]) in list.reduce(0.0) { $0 + Double($1) } }
            #expect(try sum(device.compute.read(arena.values)) == sum(values))
        }
    }

    /// Pieces are read on several threads; which is first to fail must not show.
    @Test("of pieces that cannot be read the first is told", arguments: TestBackend.available)
    func firstFailure(_ backend: TestBackend) throws {
        struct Unreadable: Error { let from: Int }
        let device = try backend.device()
        let parameter = Parameter("p", [2_000_000], .zeros)
        _ = try ParameterArena([parameter], on: device.compute, seed: nil)
        let failed = #expect(throws: Unreadable.self) {
            try parameter.assign { from, piece in
                piece.update(repeating: 1)
                if from > 0 { throw Unreadable(from: from) }
            }
        }
        #expect(failed?.from == (1 << 20) / 4)
        // The device goes on.
        try parameter.assign { from, piece in for i in piece.indices { piece[i] = Float((from + i) % 7) } }
        #expect(try parameter.values() == (0..<2_000_000).map { Float($0 % 7) })
    }

    @Test("initial values depend on seed and name, not on place or device")
    func initialValues() throws {
        let a = Parameter("x", [40], .uniform(bound: 0.5))
        let b = Parameter("y", [40], .uniform(bound: 0.5))
        #expect(a.initialValues(seed: 1) != b.initialValues(seed: 1))
        #expect(a.initialValues(seed: 1) != a.initialValues(seed: 2))
        let all = a.initialValues(seed: 1)
        #expect(all.allSatisfy { $0 >= -0.5 && $0 < 0.5 })
        #expect(Set(all).count > 35)
    }

    /// Gradients that fill every parameter, for several steps of each optimizer: what lies between the parameters stays 0.
    @Test("padding stays zero", arguments: TestBackend.available)
    func padding(_ backend: TestBackend) throws {
        let device = try backend.device()
        let makers: [(ParameterArena) throws -> any Optimizer] = [
            { try SGD($0, options: .init(momentum: 0.9, nesterov: true, weightDecay: 0.1), clipNorm: 1) },
            { try Adam($0, options: .init(weightDecay: 0.1, decoupled: true), clipNorm: 1) },
            { try Adam($0, options: .init(amsgrad: true)) },
        ]
        for make in makers {
            let parameters = parameters()
            let arena = try ParameterArena(parameters, on: device.compute, seed: 3)
            let optimizer = try make(arena)
            for _ in 0..<3 {
                for parameter in parameters { try parameter.tensor.squared().scaled(3).sum().backward() }
                try optimizer.step(learningRate: 0.1)
            }
            var inside = Set<Int>()
            for parameter in parameters { inside.formUnion(elements(of: parameter.value)) }
            #expect(inside.count == arena.count)
            let values: [Float] = try device.compute.read(arena.values)
            let gradients: [Float] = try device.compute.read(arena.gradients)
            let outside = (0..<values.count).filter { !inside.contains($0) }
            #expect(outside.count > 100)
            #expect(outside.allSatisfy { values[$0] == 0 && gradients[$0] == 0 })
            #expect(
                parameters.filter { $0.name != "e.zero" }.allSatisfy { (try? $0.values()) != $0.initialValues(seed: 3) }
            )
        }
    }

    @Test("a parameter that the loss does not reach gets a gradient of zero", arguments: TestBackend.available)
    func unused(_ backend: TestBackend) throws {
        let device = try backend.device()
        let used = Parameter("used", [4], .constant(1))
        // A kernel's rows are padded behind all its dimensions but the first.
        let unused = [Parameter("matrix", [2, 3], .constant(2)), Parameter("kernel", [2, 3, 3, 1], .constant(2))]
        let arena = try ParameterArena([used] + unused, on: device.compute, seed: 0)
        let optimizer = try SGD(arena)
        // A first step reaches all, so that the second finds an old gradient lying there.
        try (used.tensor.sum() + unused[0].tensor.sum() + unused[1].tensor.sum()).backward()
        try optimizer.step(learningRate: 0.5)
        for parameter in unused { #expect(try parameter.values() == [Float](repeating: 1.5, count: parameter.count)) }
        try used.tensor.sum().backward()
        for parameter in unused {
            #expect(try parameter.gradientValues() == [Float](repeating: 0, count: parameter.count))
        }
        try optimizer.step(learningRate: 0.5)
        for parameter in unused { #expect(try parameter.values() == [Float](repeating: 1.5, count: parameter.count)) }
        #expect(try used.values() == [0, 0, 0, 0])
        #expect(try optimizer.lastGradientNorm() == 2)
    }

    private func elements(of view: View) -> [Int] {
        var indices = [view.offset]
        for (size, stride) in zip(view.shape, view.strides) {
            indices = indices.flatMap { base in (0..<size).map { base + $0 * stride } }
        }
        return indices
    }
}
