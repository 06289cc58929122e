import RetortKernels
import RetortRuntime
import TestSupport
import Testing

/// ReLU in a product's epilogue is ReLU: what the separate op makes of the same sums, and NaN, which says that a run has gone wrong,
/// is not taken for a negative number.
@Suite("Fused ReLU")
struct FusedReLUTests {
    private func numbers(_ shape: Dimensions, _ purpose: String, nan: [Int] = [], on device: Device) throws -> Tensor {
        var values = Philox(seed: 5, stream: Philox.stream(purpose)).uniforms(shape.product, -1, 1)
        for at in nan { values[at] = .nan }
        return try Tensor(values, shape, on: device)
    }

    private func compare(_ fused: Tensor, _ sums: Tensor) throws {
        let expected = try sums.relu().values()
        let nan = expected.count { $0.isNaN }
        try #require(nan > 0 && nan < expected.count && expected.contains(0) && expected.contains { $0 > 0 })
        expectClose(try fused.values(), expected.map(Double.init), absolute: 0)
    }

    /// Rows, inputs, outputs: a row alone, tails of every kind, whole tiles.
    @Test(
        "of a product", arguments: [[1, 19, 37], [7, 5, 3], [33, 64, 65], [128, 32, 128]], TestBackend.available)
    func product(_ size: [Int], _ backend: TestBackend) throws {
        let device = try backend.device()
        let (rows, inputs, outputs) = (size[0], size[1], size[2])
        let weight = try numbers([outputs, inputs], "weight", on: device)
        let plain = try numbers([outputs], "bias", on: device)
        // NaN arrives by the bias: in every row, and in the vector as in the tail.
        let x = try numbers([rows, inputs], "x", on: device)
        let bias = try numbers([outputs], "bias", nan: [0, outputs - 1], on: device)
        try compare(
            x.linear(weight, bias: bias, activation: .relu), x.linear(weight, bias: bias))
        guard rows > 1 else { return }
        // And by the input: a whole row of it.
        let broken = try numbers([rows, inputs], "x", nan: [(rows - 1) * inputs + inputs / 2], on: device)
        try compare(
            broken.linear(weight, bias: plain, activation: .relu), broken.linear(weight, bias: plain))
    }

    /// x, weight, geometry: tiles, one position, outputs that fill no tile, depthwise, strided.
    @Test(
        "of a convolution",
        arguments: [
            ([2, 3, 9, 9], [8, 3, 3, 3], Conv2dGeometry(padding: 1)),
            ([2, 16, 8, 8], [24, 16, 1, 1], Conv2dGeometry()),
            ([1, 2, 7, 5], [3, 2, 2, 3], Conv2dGeometry(stride: 2)),
            ([2, 6, 8, 8], [6, 1, 3, 3], Conv2dGeometry(padding: 1, groups: 6)),
            ([2, 4, 6, 6], [6, 2, 3, 3], Conv2dGeometry(padding: 1, groups: 2)),
        ] as [(Dimensions, Dimensions, Conv2dGeometry)], TestBackend.available)
    func convolution(_ sample: (Dimensions, Dimensions, Conv2dGeometry), _ backend: TestBackend) throws {
        let device = try backend.device()
        let (xs, ws, geometry) = sample
        let x = try numbers(xs, "x", nan: [xs[2] * xs[3] / 2], on: device)
        let weight = try numbers(ws, "weight", on: device)
        for bias in [nil, try numbers([ws[0]], "bias", nan: [ws[0] - 1], on: device)] {
            try compare(
                x.conv2d(weight, bias: bias, geometry: geometry, activation: .relu),
                x.conv2d(weight, bias: bias, geometry: geometry))
        }
    }
}
