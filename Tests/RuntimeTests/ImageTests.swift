import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// What modules and tensor functions of images do beyond their ops, which the conformance suites check.
@Suite("Images")
struct ImageTests {
    /// A module whose only part is a batch normalisation of two channels.
    private func batchNorm(on device: Device) throws -> BatchNorm2d {
        let module = BatchNorm2d("bn", channels: 2, momentum: 0.5)
        _ = try module.materialize(on: device, seed: 0)
        return module
    }

    @Test("batch norm keeps running statistics for evaluation", arguments: TestBackend.available)
    func runningStatistics(_ backend: TestBackend) throws {
        let device = try backend.device()
        let module = try batchNorm(on: device)
        #expect(module.parameters.map(\.name) == ["bn.weight", "bn.bias"])
        #expect(module.buffers.map(\.name) == ["bn.running_mean", "bn.running_var"])
        #expect(try module.weight.values() == [1, 1] && module.bias.values() == [0, 0])
        // Channel 0: mean 2, unbiased variance 2; channel 1: mean −6, unbiased variance 8.
        let x = try Tensor([1, -4, 3, -8], [2, 2, 1, 1], on: device)
        let y = try module(x).values()
        for (found, expected) in zip(y, [-1, 1, 1, -1] as [Float]) { #expect(abs(found - expected) < 1e-4) }
        #expect(try module.runningMean.values() == [1, -3])
        #expect(try module.runningVariance.values() == [1.5, 4.5])
        module.isTraining = false
        let z = try module(x).values()
        let expected: [Float] = [
            0, -1 / Float(4.5).squareRoot(), 2 / Float(1.5).squareRoot(), -5 / Float(4.5).squareRoot(),
        ]
        for (found, expected) in zip(z, expected) { #expect(abs(found - expected) < 1e-4) }
        #expect(try module.runningMean.values() == [1, -3], "evaluation moves nothing")
    }

    /// A pass in training mode between an evaluation and its backward moves the buffers, not the gradient.
    @Test("the gradient of an evaluation uses the statistics of its forward", arguments: TestBackend.available)
    func statisticsAreKept(_ backend: TestBackend) throws {
        let device = try backend.device()
        let module = try batchNorm(on: device)
        let (x, leaf) = try Tensor.variable([1, -4, 3, -8], [2, 2, 1, 1], on: device)
        module.isTraining = false
        let y = try module(x).squared().sum()
        module.isTraining = true
        _ = try module(x)
        try y.backward()
        // Mean 0 and variance 1: y = x, up to epsilon.
        for (found, expected) in zip(try leaf.gradientValues(), [2, -8, 6, -16] as [Float]) {
            #expect(abs(found - expected) < 1e-3)
        }
    }

    @Test("an empty batch leaves the statistics and clears the gradients", arguments: TestBackend.available)
    func emptyBatch(_ backend: TestBackend) throws {
        let device = try backend.device()
        let module = try batchNorm(on: device)
        let (x, _) = try Tensor.variable([], [0, 2, 3, 3], on: device)
        try module(x, relu: true).sum().backward()
        #expect(try module.runningMean.values() == [0, 0] && module.runningVariance.values() == [1, 1])
        #expect(try module.weight.gradientValues() == [0, 0] && module.bias.gradientValues() == [0, 0])
    }

    @Test("what does not fit is refused, with both shapes", arguments: TestBackend.available)
    func refusals(_ backend: TestBackend) throws {
        let device = try backend.device()
        let module = try batchNorm(on: device)
        let x = try Tensor([Float](repeating: 1, count: 24), [1, 2, 3, 4], on: device)
        func message(_ body: () throws -> Tensor) -> String {
            do {
                _ = try body()
                return "nothing was thrown"
            } catch { return "\(error)" }
        }
        let small = try x.narrowed(axis: 3, 0..<2)
        #expect(message { try module(x, residual: small) }.contains("[1, 2, 3, 4] with a residual of [1, 2, 3, 2]"))
        #expect(message { try module(x.reshaped([2, 3, 4, 1])) }.contains("weight is contiguous f32 [3], not f32 [2]"))
        #expect(message { try module(x.narrowed(axis: 2, 0..<1).narrowed(axis: 3, 0..<1)) }.contains("one value per"))
        #expect(message { try x.batchNorm(training: false) }.contains("without statistics"))
        #expect(message { try x.maxPool2d(kernel: (4, 2)) }.contains("[1, 2, 3, 4]"))
        #expect(message { try x.maxPool2d(kernel: (2, 2), padding: (2, 0)) }.contains("[1, 2, 3, 4]"))
        #expect(message { try x.averagePool2d(kernel: (2, 2), stride: (0, 1)) }.contains("[1, 2, 3, 4]"))
        #expect(message { try x.adaptiveAveragePool2d(height: 0, width: 1) }.contains("[1, 2, 3, 4]"))
        #expect(message { try x.resizedBilinear(height: 0, width: 3) }.contains("[1, 2, 3, 4]"))
        #expect(message { try x.padded(top: -2, bottom: -2, left: 0, right: 0) }.contains("[1, 2, 3, 4]"))
        #expect(message { try x.permuted([0, 1, 1, 2]) }.contains("[1, 2, 3, 4]"))
        #expect(message { try x.narrowed(axis: 1, 1..<3) }.contains("[1, 2, 3, 4]"))
        #expect(message { try Tensor.concatenated([x, small], axis: 1) }.contains("[1, 2, 3, 4] and [1, 2, 3, 2]"))
        #expect(message { try Tensor.concatenated([], axis: 0) }.contains("no tensors"))
    }

    @Test("margins, positions and orders of dimensions", arguments: TestBackend.available)
    func shapes(_ backend: TestBackend) throws {
        let device = try backend.device()
        let x = try Tensor((0..<6).map(Float.init), [1, 1, 2, 3], on: device)
        #expect(try x.padded(top: 1, bottom: -1, left: 0, right: 1, value: 9).values() == [9, 9, 9, 9, 0, 1, 2, 9])
        #expect(try x.permuted([3, 2, 1, 0]).values() == [0, 3, 1, 4, 2, 5])
        #expect(try x.narrowed(axis: -1, 1..<3).values() == [1, 2, 4, 5])
        #expect(
            try Tensor.concatenated([x, x.narrowed(axis: 3, 0..<1)], axis: 3).values() == [0, 1, 2, 0, 3, 4, 5, 3])
        #expect(try x.resizedNearest(height: 4, width: 3).values() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5])
    }

    @Test("a step on a planned device records its costs")
    func planned() throws {
        let plan = PlannedDevice()
        let device = Device(.planned(plan))
        let module = try batchNorm(on: device)
        let x = try Tensor([Float](repeating: 1, count: 2 * 2 * 8 * 8), [2, 2, 8, 8], on: device)
        let y = try module(x, residual: x, relu: true).maxPool2d(kernel: (2, 2)).resizedBilinear(height: 8, width: 8)
        try y.padded(top: 1, bottom: 1, left: 1, right: 1).averagePool2d(kernel: (2, 2)).sum().backward()
        let bytes = Dictionary(plan.operations.map { ($0.name, $0.cost.bytes) }, uniquingKeysWith: max)
        #expect(bytes["batch_norm"] == 3072.0)
        #expect(bytes["max_pool"] == 1536.0)
        #expect(bytes["bilinear"] == 1280.0)
        #expect(bytes["average_pool"] == 2000.0)
        #expect(bytes["batch_norm_backward"] == 3072.0, "x, y and dy; no gradient of x is wanted")
        for name in ["max_pool_backward", "bilinear_backward", "average_pool_backward"] { #expect(bytes[name]! > 0) }
    }
}
