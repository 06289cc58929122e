import Testing

@testable import RetortKernels

/// What the op descriptions cannot say: refusals, and results that do not depend on how many threads share the work.
@Suite("Convolution")
struct Conv2dTests {
    private static func operands(
        x: Dimensions, weight: Dimensions, y: Dimensions, on device: ComputeDevice
    ) throws -> Conv2d.Operands {
        .init(x: try device.empty(x), weight: try device.empty(weight), y: .write(try device.empty(y)))
    }

    @Test(
        "operands that do not fit are errors that name both shapes",
        arguments: [
            // x, weight, y, geometry, what the message says
            ([1, 3, 8, 8], [4, 2, 3, 3], [1, 4, 6, 6], Conv2dGeometry(), "[4, 2, 3, 3]"),
            ([1, 3, 8, 8], [4, 3, 3, 3], [1, 4, 8, 8], Conv2dGeometry(), "[1, 4, 6, 6]"),
            ([1, 3, 2, 8], [4, 3, 3, 3], [1, 4, 1, 6], Conv2dGeometry(), "does not fit"),
            ([1, 3, 8, 8], [4, 3, 3, 3], [1, 4, 6, 6], Conv2dGeometry(groups: 2), "2 groups"),
            ([1, 3, 8, 8], [4, 3, 3, 3], [1, 4, 6, 6], Conv2dGeometry(stride: 0), "stride 0"),
            ([1, 3, 8, 8], [4, 3, 3, 3], [1, 4, 6, 6], Conv2dGeometry(padding: -1), "padding -1"),
            ([3, 8, 8], [4, 3, 3, 3], [1, 4, 6, 6], Conv2dGeometry(), "four dimensions"),
            (
                [1, 1, 1, 1], [1, 1, 2, 2], [1, 1, 1, 1], Conv2dGeometry(padding: 1 << 22, dilation: 1 << 23),
                "padded elements"
            ),
        ] as [(Dimensions, Dimensions, Dimensions, Conv2dGeometry, String)])
    func refuses(_ x: Dimensions, _ weight: Dimensions, _ y: Dimensions, _ geometry: Conv2dGeometry, _ words: String)
        throws
    {
        let device = ComputeDevice.planned(PlannedDevice())
        let operands = try Self.operands(x: x, weight: weight, y: y, on: device)
        let error = #expect(throws: KernelError.self) { try run(Conv2d(geometry), operands, on: device) }
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "no error")")
    }

    @Test("a planned convolution costs two operations a product")
    func cost() throws {
        let plan = PlannedDevice()
        let device = ComputeDevice.planned(plan)
        let operands = try Self.operands(x: [2, 3, 8, 8], weight: [4, 3, 3, 3], y: [2, 4, 8, 8], on: device)
        try run(Conv2d(.init(padding: 1)), operands, on: device)
        #expect(plan.operations.map(\.name) == ["conv2d"])
        #expect(plan.operations[0].cost.flops == Double(2 * (2 * 4 * 8 * 8) * 27))
        #expect(plan.operations[0].cost.bytes == Double(4 * (2 * 3 * 64 + 4 * 27 + 2 * 4 * 64)))
    }

    @Test(
        "any number of threads gives the same bits",
        arguments: [
            // images, weight, geometry
            (9, [64, 20, 3, 3], Conv2dGeometry(padding: 1)),
            (65, [20, 1, 3, 3], Conv2dGeometry(stride: 2, padding: 1, groups: 20)),
        ] as [(Int, Dimensions, Conv2dGeometry)])
    func threads(_ images: Int, _ weights: Dimensions, _ geometry: Conv2dGeometry) throws {
        let size = try #require(geometry.outputSize(input: .init(16), kernel: .init(3)))
        let results = try [1, 2, 3, 5].map { count in
            let device = ComputeDevice.cpu(try CPUDevice(threads: count))
            func values(_ shape: Dimensions, _ step: Int) throws -> View {
                try device.view((0..<shape.product).map { Float(($0 * step) % 1021) / 511 - 1 }, shape)
            }
            let x = try values([images, 20, 16, 16], 7)
            let dy = try values([images, weights[0], size.vertical, size.horizontal], 13)
            let weight = try values(weights, 11)
            let (y, dx) = (try device.empty(dy.shape), try device.empty(x.shape))
            let dWeight = try device.empty(weight.shape)
            try run(Conv2d(geometry), .init(x: x, weight: weight, y: .write(y)), on: device)
            try run(Conv2dBackwardInput(geometry), .init(dy: dy, weight: weight, dx: .write(dx)), on: device)
            try run(Conv2dBackwardWeight(geometry), .init(x: x, dy: dy, dWeight: .write(dWeight)), on: device)
            return try [y, dx, dWeight].map { try device.read($0, as: UInt32.self) }
        }
        for other in results.dropFirst() { #expect(other == results[0]) }
    }
}
