import Testing

@testable import RetortKernels

@Suite("Windows of pooling")
struct PoolWindowTests {
    @Test(
        "the last numbers that make windows, and the first that do not",
        arguments: [
            // kernel, stride, padding, length, windows
            (1, 1, 0, 1, 1), (1, 1, 0, 0, nil), (1, 1, 0, -1, nil),
            (0, 1, 0, 5, nil), (-1, 1, 0, 5, nil), (5, 1, 0, 5, 1), (6, 1, 0, 5, nil),
            (1, 0, 0, 5, nil), (1, -1, 0, 5, nil),
            // Padding up to half a kernel, rounded down: more would make windows of nothing but padding.
            (2, 2, 1, 4, 3), (2, 2, 2, 4, nil), (3, 1, 1, 4, 4), (3, 1, 2, 4, nil), (1, 1, 1, 4, nil),
            (3, 1, -1, 4, nil),
            // With it a kernel may be larger than the row.
            (6, 1, 1, 4, 1), (6, 1, 3, 4, 5), (7, 1, 1, 4, nil),
            // 24 bits.
            ((1 << 24) - 1, 1, 0, (1 << 24) - 1, 1), (1 << 24, 1, 0, 1 << 24, nil),
            (1, (1 << 24) - 1, 0, 1 << 24, 2), (1, 1 << 24, 0, 1 << 24, nil),
        ] as [(Int, Int, Int, Int, Int?)])
    func regular(_ kernel: Int, _ stride: Int, _ padding: Int, _ length: Int, _ windows: Int?) {
        #expect(PoolWindow.regular(kernel: kernel, stride: stride, padding: padding).count(of: length) == windows)
    }

    @Test(
        "adaptive windows need one of each",
        arguments: [(1, 1, 1), (3, 7, 3), (7, 3, 7), (0, 3, nil), (3, 0, nil)] as [(Int, Int, Int?)])
    func adaptive(_ count: Int, _ length: Int, _ windows: Int?) {
        #expect(PoolWindow.adaptive(count).count(of: length) == windows)
    }

    @Test("what has no windows is refused by the op, with image and windows")
    func refused() throws {
        let device = ComputeDevice.planned(PlannedDevice())
        let (x, y) = (try device.empty([1, 2, 4, 4]), try device.empty([1, 2, 3, 3]))
        let good = PoolWindow.regular(kernel: 2, stride: 1)
        let bad = PoolWindow.regular(kernel: 2, stride: 1, padding: 2)
        for (rows, columns) in [(bad, good), (good, bad)] {
            let error = #expect(throws: KernelError.self) {
                try run(AveragePool(rows: rows, columns: columns), .init(x: x, y: y), on: device)
            }
            #expect(error?.message.contains("[1, 2, 4, 4]") == true && error?.message.contains("padding: 2") == true)
        }
        try run(AveragePool(rows: good, columns: good), .init(x: x, y: y), on: device)
    }
}
