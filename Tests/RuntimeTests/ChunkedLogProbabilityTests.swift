import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// Log-probabilities by chunks against those of dense logits, and what losses of them send back.
@Suite("Chunked log-probabilities")
struct ChunkedLogProbabilityTests {
    /// 11 tokens, 5 wide, 33 classes; every sixth token is ignored.
    private final class Rig {
        static let (tokens, width, classes) = (11, 5, 33)
        let device: Device
        let layer: Linear
        let labels: View
        private let arena: ParameterArena

        init(_ backend: TestBackend) throws {
            device = try backend.device()
            layer = Linear("head", inputs: Self.width, outputs: Self.classes)
            arena = try layer.materialize(on: device, seed: 1)
            let ids = (0..<Self.tokens).map { $0 % 6 == 4 ? Int32(-100) : Int32($0 * 7 % Self.classes) }
            labels = try device.compute.view(ids, [Self.tokens], .i32)
        }

        /// Value, and gradients to hidden states, weight and bias, of a loss of the log-probabilities that is not linear in them.
        func gradients(softCap: Float?, _ logProbabilities: (Tensor, OutputHead) throws -> Tensor) throws -> [[Float]] {
            for parameter in layer.parameters {
                parameter.clearGradient()
                try RetortKernels.run(Fill(.nan), .init(y: parameter.gradient), on: device.compute)
            }
            let states = Philox(seed: 3, stream: 1).normals(Self.tokens * Self.width, deviation: 2)
            let (x, leaf) = try Tensor.variable(states, [1, Self.tokens, Self.width], on: device)
            let head = try OutputHead(weight: layer.weight.tensor, bias: layer.bias?.tensor, softCap: softCap)
            let values = try logProbabilities(x, head)
            let factors = try Tensor((0..<Self.tokens).map { Float($0) - 4 }, [Self.tokens], on: device)
            let loss = try ((values * 0.5).exp() * factors).sum()
            try loss.backward()
            return [
                try values.values(), [try loss.item()], try leaf.gradientValues(), try layer.weight.gradientValues(),
                try layer.bias?.gradientValues() ?? [],
            ]
        }
    }

    @Test("as the dense composition, whatever the chunk", arguments: TestBackend.available)
    func dense(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        for cap in [nil, Float(2)] {
            let dense = try rig.gradients(softCap: cap) { x, head in
                let logits = try head.logits(x).reshaped([Rig.tokens, Rig.classes])
                return try -logits.crossEntropyPerRow(rig.labels)
            }
            #expect(dense[0][4] == 0 && dense[0][0] < 0 && dense[3].contains { $0 != 0 })
            for chunk in [ChunkSize.rows(1), .rows(4), .automatic] {
                let chunked = try rig.gradients(softCap: cap) { x, head in
                    try x.chunkedLogProbabilities(rig.labels, head: head, chunk: chunk)
                }
                for (name, (ours, reference)) in zip(
                    ["values", "loss", "hidden", "weight", "bias"], zip(chunked, dense))
                {
                    let largest = Double(reference.map(abs).max() ?? 0)
                    expectClose(
                        ours, reference.map(Double.init), absolute: 4e-6 * largest + 1e-9, relative: 2e-5,
                        "\(name), cap \(cap ?? 0), \(chunk)")
                }
            }
        }
    }

    @Test("its gradient is added to that of another loss of the same head", arguments: TestBackend.fast)
    func together(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        func both(_ policy: (Tensor, OutputHead) throws -> Tensor) throws -> [[Float]] {
            try rig.gradients(softCap: nil) { x, head in
                let other = try x.chunkedCrossEntropy(rig.labels, head: head, scale: 0.1, headGradient: .held).total
                return try policy(x, head) + other
            }
        }
        let chunked = try both { try $0.chunkedLogProbabilities(rig.labels, head: $1) }
        let dense = try both { x, head in
            try -head.logits(x).reshaped([Rig.tokens, Rig.classes]).crossEntropyPerRow(rig.labels)
        }
        for (ours, reference) in zip(chunked, dense) {
            let largest = Double(reference.map(abs).max() ?? 0)
            expectClose(ours, reference.map(Double.init), absolute: 4e-6 * largest, relative: 2e-5)
        }
    }
}
