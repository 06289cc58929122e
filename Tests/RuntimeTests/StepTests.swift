import Foundation
import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// Whole training steps: what DESIGN promises of them beyond the single ops.
@Suite("Training steps")
struct StepTests {
    /// A two-layer classifier with dropout between the layers, on rows made from a counter.
    private struct Net {
        let first = Linear("first", inputs: 12, outputs: 33, activation: .relu)
        let second = Linear("second", inputs: 33, outputs: 5)
        let arena: ParameterArena
        let device: Device

        init(on device: Device, seed: UInt64 = 5) throws {
            arena = try ParameterArena(first.parameters + second.parameters, on: device.compute, seed: seed)
            self.device = device
        }

        /// Mean loss of rows `range` of a batch of `total`, on the tape.
        func loss(_ range: Range<Int>, of total: Int, step: UInt64 = 0, dropout: Float = 0.25) throws -> Tensor {
            let random = Philox(seed: 1, stream: Philox.stream("rows"))
            let values = (range.lowerBound * 12..<range.upperBound * 12).map { random.uniform(UInt64($0), -1, 1) }
            let labels = range.map { Int32(random.word(1_000_000 + UInt64($0)) % 5) }
            let x = try Tensor(values, [range.count, 12], on: device)
            let hidden = try first(x).dropout(dropout, seed: 9, stream: step, firstElement: range.lowerBound * 33)
            let y = try device.compute.view(labels, [range.count], .i32)
            return try second(hidden).crossEntropy(y, scale: 1 / Float(total)).total
        }

        func values() throws -> [Float] { try arena.parameters.flatMap { try $0.values() } }
        func gradients() throws -> [Float] { try arena.parameters.flatMap { try $0.gradientValues() } }
    }

    @Test("accumulated micro-batches equal one big batch", arguments: TestBackend.available)
    func accumulation(_ backend: TestBackend) throws {
        let device = try backend.device()
        let net = try Net(on: device)
        let whole = try net.loss(0..<37, of: 37)
        try whole.backward()
        let expected = try net.gradients().map(Double.init)
        net.arena.clearGradients()
        var sum: Float = 0
        for range in [0..<16, 16..<32, 32..<37] {
            let part = try net.loss(range, of: 37)
            sum += try part.item()
            try part.backward()
        }
        // 37 terms of size ≤ 1, summed in another order: a few units of 2⁻²⁴ each.
        expectClose(try net.gradients(), expected, absolute: 1e-6, relative: 1e-5, "gradients")
        expectClose([sum], [Double(try whole.item())], absolute: 1e-6)
        #expect(expected.contains { abs($0) > 1e-3 })
    }

    @Test("a micro-batch sees its slice of the big batch's dropout mask", arguments: TestBackend.available)
    func dropoutSlices(_ backend: TestBackend) throws {
        let device = try backend.device()
        let ones = [Float](repeating: 1, count: 40 * 7)
        let whole = try Tensor(ones, [40, 7], on: device).dropout(0.3, seed: 4, stream: 8).values()
        for rows in [0..<13, 13..<14, 14..<40] {
            let part = try Tensor([Float](ones.prefix(rows.count * 7)), [rows.count, 7], on: device)
                .dropout(0.3, seed: 4, stream: 8, firstElement: rows.lowerBound * 7)
            #expect(try part.values() == Array(whole[(rows.lowerBound * 7)..<(rows.upperBound * 7)]), "\(rows)")
        }
        let kept = whole.filter { $0 != 0 }
        #expect(kept.allSatisfy { $0 == 1 / (1 - 0.3 as Float) })
        // 280 draws at 0.7: 196 ± 7.7; six deviations.
        #expect((150...242).contains(kept.count))
        #expect(try Tensor(ones, [40, 7], on: device).dropout(0.3, seed: 5, stream: 8).values() != whole)
        #expect(try Tensor(ones, [40, 7], on: device).dropout(0.3, seed: 4, stream: 9).values() != whole)
        #expect(try Tensor(ones, [40, 7], on: device).dropout(0, seed: 4, stream: 9).values() == ones)
    }

    @Test("one dropout mask on every backend")
    func dropoutEverywhere() throws {
        let masks = try TestBackend.available.map { backend in
            try Tensor([Float](repeating: 2, count: 1001), [1001], on: try backend.device())
                .dropout(0.5, seed: 77, stream: 1 << 40, firstElement: (1 << 33) + 3).values()
        }
        #expect(masks.allSatisfy { $0 == masks[0] })
    }

    @Test("dropout's gradient has the mask of its forward", arguments: TestBackend.available)
    func dropoutBackward(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([Float](repeating: 1, count: 50), [50], on: device)
        let y = try x.dropout(0.4, seed: 1, stream: 2)
        let forward = try y.values()
        try y.sum().backward()
        #expect(try leaf.gradientValues() == forward)
    }

    @Test("two runs are equal bit for bit", arguments: TestBackend.available)
    func deterministic(_ backend: TestBackend) throws {
        func train() throws -> (losses: [Float], values: [Float]) {
            let net = try Net(on: try backend.device())
            let optimizer = try Adam(net.arena, options: .init(weightDecay: 0.01, decoupled: true), clipNorm: 1)
            var losses: [Float] = []
            for step in 0..<8 {
                let loss = try net.loss(0..<29, of: 29, step: UInt64(step))
                losses.append(try loss.item())
                try loss.backward()
                try optimizer.step(learningRate: 0.05)
            }
            return (losses, try net.values())
        }
        let (one, two) = (try train(), try train())
        #expect(one.losses.map(\.bitPattern) == two.losses.map(\.bitPattern))
        #expect(one.values.map(\.bitPattern) == two.values.map(\.bitPattern))
        #expect(one.losses.last! < one.losses[0])
    }

    @Test("a gradient that is not finite is skipped and counted", arguments: TestBackend.available)
    func nonFinite(_ backend: TestBackend) throws {
        let device = try backend.device()
        let makers: [(ParameterArena) throws -> any Optimizer] = [
            { try SGD($0, options: .init(momentum: 0.9)) }, { try SGD($0, clipNorm: 1) }, { try Adam($0) },
            { try Adam($0, clipNorm: 1) },
        ]
        for make in makers {
            let parameter = Parameter("p", [3, 3], .constant(1))
            let arena = try ParameterArena([parameter], on: device.compute, seed: 0)
            let optimizer = try make(arena)
            func step(_ factors: [Float]) throws {
                try (parameter.tensor * Tensor(factors, [1, 3], on: device)).sum().backward()
                try optimizer.step(learningRate: 0.1)
            }
            try step([1, 2, 3])
            let good = try parameter.values()
            #expect(good != [Float](repeating: 1, count: 9))
            #expect(try optimizer.nonFiniteSteps() == 0)
            try step([1, .nan, 3])
            try step([1, 2, .infinity])
            #expect(try parameter.values() == good)
            #expect(try optimizer.nonFiniteSteps() == 2)
            // And goes on as if nothing had been: neither the moments nor the values hold a trace.
            try step([1, 2, 3])
            let after = try parameter.values()
            #expect(after.allSatisfy(\.isFinite) && after != good)
            #expect(try optimizer.nonFiniteSteps() == 2)
        }
    }

    @Test("clipping scales the whole gradient to the norm", arguments: TestBackend.available)
    func clipping(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (a, b) = (Parameter("a", [1], .zeros), Parameter("b", [1], .zeros))
        let arena = try ParameterArena([a, b], on: device.compute, seed: 0)
        let optimizer = try SGD(arena, clipNorm: 1)
        try (a.tensor.scaled(3).sum() + b.tensor.scaled(4).sum()).backward()
        try optimizer.step(learningRate: 1)
        #expect(try optimizer.lastGradientNorm() == 5)
        expectClose(try a.values() + b.values(), [-0.6, -0.8], absolute: 1e-6)
        // A smaller gradient is left as it is.
        try a.tensor.scaled(0.5).sum().backward()
        try optimizer.step(learningRate: 1)
        expectClose(try a.values(), [-1.1], absolute: 1e-6)
    }

    @Test("planned storage records a step without bytes")
    func planned() throws {
        let plan = PlannedDevice()
        let device = Device(.planned(plan))
        let net = try Net(on: device)
        let optimizer = try Adam(net.arena)
        try net.loss(0..<8, of: 8).backward()
        try optimizer.step(learningRate: 0.1)
        let names = plan.operations.map(\.name)
        #expect(names.contains("matmul") && names.contains("cross_entropy") && names.contains("adam"), "\(Set(names))")
        #expect(plan.operations.reduce(0) { $0 + $1.cost.flops } > 2 * 8 * 12 * 33)
        #expect(device.compute.memory.peak > 4 * net.arena.values.count)
    }
}
