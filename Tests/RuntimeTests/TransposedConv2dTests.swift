import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

/// Conventions and refusals; values and gradients against float64 are in the conformance suites.
@Suite("Transposed convolution")
struct TransposedConv2dTests {
    @Test("a pixel becomes the kernel, by inputs first; strides set copies apart", arguments: TestBackend.available)
    func kernels(_ backend: TestBackend) throws {
        let device = try backend.device()
        // Two inputs, one output: PyTorch's weight is [inputs, outputs / groups, kh, kw].
        let weight = try Tensor([1, 2, 3, 4, 10, 20, 30, 40], [2, 1, 2, 2], on: device)
        let pixel = try Tensor([1, 1], [1, 2, 1, 1], on: device)
        #expect(try pixel.transposedConv2d(weight).values() == [11, 22, 33, 44])
        let row = try Tensor([1, 5], [1, 1, 1, 2], on: device)
        let narrow = try Tensor([1, 2], [1, 1, 1, 2], on: device)
        let apart = try row.transposedConv2d(
            narrow, bias: try Tensor([100], [1], on: device), geometry: .init(stride: .init(1, 3)),
            outputPadding: .init(0, 1))
        #expect(apart.shape == [1, 1, 1, 6])
        #expect(try apart.values() == [101, 102, 100, 105, 110, 100])
    }

    @Test("two groups are two transposed convolutions side by side", arguments: TestBackend.available)
    func groups(_ backend: TestBackend) throws {
        let device = try backend.device()
        func numbers(_ shape: Dimensions) throws -> Tensor {
            try Tensor((0..<shape.product).map { Float($0 % 13) - 6 }, shape, on: device)
        }
        let (x, weight) = (try numbers([2, 4, 3, 5]), try numbers([4, 3, 3, 2]))
        let geometry = Conv2dGeometry(stride: 2, padding: 1)
        let both = try x.transposedConv2d(weight, geometry: .init(stride: 2, padding: 1, groups: 2))
        let halves = try [0..<2, 2..<4].map {
            try x.narrowed(axis: 1, $0).transposedConv2d(weight.slice($0), geometry: geometry)
        }
        // Whole numbers: exact.
        #expect(try both.values() == Tensor.concatenated(halves, axis: 1).values())
    }

    @Test("the module doubles a map and starts within its bound")
    func module() throws {
        let device = try TestBackend.cpu.device()
        let module = TransposedConvolution2d(
            "up", inputs: 6, outputs: 4, kernel: .init(4), geometry: .init(stride: 2, padding: 1))
        _ = try module.materialize(on: device, seed: 3)
        #expect(module.parameters.map(\.name) == ["up.weight", "up.bias"])
        #expect(module.parameters.map(\.shape) == [[6, 4, 4, 4], [4]])
        let x = try Tensor([Float](repeating: 1, count: 3 * 6 * 35), [3, 6, 5, 7], on: device)
        #expect(try module(x).shape == [3, 4, 10, 14])
        // ±1/√(4 · 16): of 384 uniform numbers the largest is near the bound.
        let largest = try module.weight.values().reduce(0) { max($0, abs($1)) }
        #expect(largest <= 0.125 && largest > 0.12)
    }

    @Test(
        "what no image could give is refused, with the shapes and the geometry",
        arguments: [
            // input, weight, bias, geometry, output padding, words
            ([2, 3, 4], [3, 2, 2, 2], nil, Conv2dGeometry(), 0, "four dimensions"),
            ([1, 3, 4, 4], [2, 2, 2, 2], nil, Conv2dGeometry(), 0, "needs weight [3, outputs / 1, kh, kw]"),
            ([1, 3, 4, 4], [3, 2, 2, 2], nil, Conv2dGeometry(groups: 2), 0, "2 groups"),
            ([1, 3, 4, 4], [3, 2, 2, 2], nil, Conv2dGeometry(stride: 2), 2, "output padding 2"),
            ([1, 3, 4, 4], [3, 2, 2, 2], nil, Conv2dGeometry(stride: 2), -1, "output padding -1"),
            ([1, 3, 4, 4], [3, 2, 2, 2], nil, Conv2dGeometry(stride: 0), 0, "stride 0"),
            ([1, 3, 1, 1], [3, 2, 2, 2], nil, Conv2dGeometry(padding: 1), 0, "padding 1"),
            ([1, 3, 4, 4], [3, 2, 0, 2], nil, Conv2dGeometry(), 0, "[3, 2, 0, 2]"),
            ([1, 3, 4, 4], [3, 2, 2, 2], [3], Conv2dGeometry(), 0, "bias [3] must be [2]"),
        ] as [(Dimensions, Dimensions, Dimensions?, Conv2dGeometry, Int, String)])
    func refused(
        _ x: Dimensions, _ weight: Dimensions, _ bias: Dimensions?, _ geometry: Conv2dGeometry, _ extra: Int,
        _ words: String
    ) throws {
        let device = try TestBackend.cpu.device()
        func zeros(_ shape: Dimensions) throws -> Tensor {
            try Tensor([Float](repeating: 0, count: shape.product), shape, on: device)
        }
        let error = #expect(throws: TensorError.self) {
            _ = try zeros(x).transposedConv2d(
                zeros(weight), bias: bias.map(zeros), geometry: geometry, outputPadding: .init(extra))
        }
        #expect(error.map { "\($0)".contains(words) } == true, "\(error.map { "\($0)" } ?? "no error")")
    }
}
