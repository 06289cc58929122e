import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortModels

/// The batch norm that says how a pre-activation is distributed: what OFD's margins are computed from.
@Suite("Norms of pre-activations")
struct PreactivationNormTests {
    private static func models() throws -> [any Model] {
        let task = ClassificationTask(sample: [3, 32, 32], classes: 5)
        return [
            try ResNet(ModelSettings(["depth": .integer(8)], of: ResNet.architecture), for: task),
            try VGG(ModelSettings(["depth": .integer(8)], of: VGG.architecture), for: task),
            try WideResNet(ModelSettings(["depth": .integer(16)], of: WideResNet.architecture), for: task),
            try MobileNetV2(ModelSettings(of: MobileNetV2.architecture), for: task),
        ]
    }

    @Test("one for each, with its channels, and its weight and bias move the signal")
    func norms() throws {
        let device = try TestBackend.cpu.device()
        let x = try Tensor(Philox(seed: 1, stream: 1).uniforms(2 * 3 * 32 * 32, -1, 1), [2, 3, 32, 32], on: device)
        for model in try Self.models() {
            _ = try model.materialize(on: device, seed: 1)
            model.setTraining(false)
            let paths = model.signals.preactivations
            #expect(!paths.isEmpty)
            #expect(model.batchNorm(before: "pooled") == nil)
            let before = try model.forward(x, capturing: Set(paths)).signals
            for path in paths {
                let norm = try #require(model.batchNorm(before: path), "\(path)")
                let signal = try #require(before[path])
                #expect(norm.weight.shape == [signal.shape[1]], "\(path)")
                // One more in the bias is one more in the signal, everywhere.
                let bias = try norm.bias.values()
                try norm.bias.assign(bias.map { $0 + 1 })
                let moved = try #require(try model.forward(x, capturing: [path]).signals[path])
                expectClose(
                    try moved.values(), try signal.values().map { Double($0) + 1 }, absolute: 1e-4, relative: 1e-5, path
                )
                try norm.bias.assign(bias)
            }
        }
    }
}
