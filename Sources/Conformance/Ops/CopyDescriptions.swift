import Foundation
import RetortKernels

private func fillSample(_ shape: [Int], _ value: Float, padding: Int = 0, size: SampleSize = .tiny) -> OpSample {
    OpSample("\(shape.shapeText) value=\(value)" + (padding > 0 ? " pitched" : ""), size) { _ in
        var c = OpCase()
        c.output("y", shape, .padded(padding, offset: padding))
        c.run(Fill(value)) { .init(y: $0["y"]) }
        c.reference = { ["y": .exact([Float](repeating: value, count: shape.elements))] }
        return c
    }
}

private let fill = OpDescription(
    "fill", "Fill",
    [
        fillSample([1], 1), fillSample([7], -0.1), fillSample([], 3), fillSample([0], 1), fillSample([0, 7], 1),
        fillSample([5, 10], 2.5, padding: 3), fillSample([3, 1], 2.5, padding: 1), fillSample([13, 17], .infinity),
        fillSample([41, 1271], 0, size: .small), fillSample([41, 1271], 0.7, padding: 5, size: .small),
        fillSample([4096, 1024], 0, size: .perf),
    ])

/// x and y of one shape, each in a memory order of its own.
private struct CopySample {
    let shape: [Int]
    var x: [Int]?
    var y: [Int]?
    var paddingX = 0
    var paddingY = 0
    var accumulate = false
    var dtype = DType.f32
    /// y's shape when it differs; both are then dense.
    var reshaped: [Int]?
    var size = SampleSize.tiny

    var text: String {
        shape.shapeText + (reshaped.map { " to " + $0.shapeText } ?? "") + (x.map { " x=\($0.shapeText)" } ?? "")
            + (y.map { " y=\($0.shapeText)" } ?? "") + (paddingX + paddingY > 0 ? " pitched" : "")
            + (accumulate ? " accumulate" : "") + (dtype == .f32 ? "" : " \(dtype)")
    }

    var sample: OpSample {
        OpSample(text, size) { [self] random in
            let values = random.normal(shape.elements).held(by: dtype)
            let old: [Float]? = accumulate ? random.normal(shape.elements) : nil
            var c = OpCase()
            c.input("x", values, shape, Layout(offset: paddingX, padding: paddingX, order: x), as: dtype)
            c.result("y", reshaped ?? shape, Layout(offset: paddingY, padding: paddingY, order: y), old: old, as: dtype)
            c.run(Copy()) { .init(x: $0["x"], y: .result($0["y"], old: old)) }
            c.reference = {
                guard old != nil else { return ["y": .exact(values)] }
                return ["y": .near(values.map { Estimate(Double($0)) }.added(to: old))]
            }
            return c
        }
    }
}

private let copy = OpDescription(
    "copy", "Copy",
    [
        CopySample(shape: [1]), CopySample(shape: []), CopySample(shape: [7]), CopySample(shape: [0]),
        CopySample(shape: [3, 0, 5]),
        CopySample(shape: [5, 10], paddingX: 3, paddingY: 1),
        CopySample(shape: [5, 10], paddingX: 1, accumulate: true),
        CopySample(shape: [5, 10], x: [1, 0]), CopySample(shape: [13, 17], y: [1, 0]),
        CopySample(shape: [33, 31], x: [1, 0], paddingX: 3, paddingY: 2),
        CopySample(shape: [33, 65], x: [1, 0], accumulate: true),
        CopySample(shape: [3, 9, 11], x: [0, 2, 1]), CopySample(shape: [3, 9, 11], x: [2, 1, 0]),
        CopySample(shape: [2, 3, 5, 7], x: [0, 2, 1, 3]),
        CopySample(shape: [2, 3, 5, 7], x: [3, 1, 0, 2], paddingX: 1),
        CopySample(shape: [2, 3, 2, 3, 2, 3], x: [5, 3, 1, 4, 2, 0]),
        CopySample(shape: [2, 3, 2, 3, 2, 3], x: [1, 0, 3, 2, 5, 4], y: [2, 4, 0, 1, 3, 5], accumulate: true),
        CopySample(shape: [2, 3, 2, 1, 2, 3, 2, 2], x: [6, 7, 5, 4, 3, 2, 0, 1]),
        CopySample(shape: [6, 35], reshaped: [7, 5, 6]),
        CopySample(shape: [1], dtype: .bf16), CopySample(shape: [3, 0, 5], dtype: .bf16),
        CopySample(shape: [5, 10], paddingX: 3, paddingY: 1, dtype: .bf16),
        CopySample(shape: [33, 31], x: [1, 0], paddingX: 3, paddingY: 2, dtype: .bf16),
        CopySample(shape: [2, 3, 5, 7], x: [3, 1, 0, 2], paddingX: 1, dtype: .bf16),
        CopySample(shape: [6, 35], dtype: .bf16, reshaped: [7, 5, 6]),
        CopySample(shape: [5, 41, 4, 33], x: [0, 2, 1, 3], dtype: .bf16, size: .small),
        CopySample(shape: [41, 1271], size: .small), CopySample(shape: [41, 1271], x: [1, 0], size: .small),
        CopySample(shape: [257, 129], y: [1, 0], paddingY: 3, accumulate: true, size: .small),
        CopySample(shape: [7, 41, 67], x: [0, 2, 1], size: .small),
        CopySample(shape: [5, 41, 4, 33], x: [0, 2, 1, 3], size: .small),
        CopySample(shape: [4096, 1024], size: .perf), CopySample(shape: [2048, 1536], x: [1, 0], size: .perf),
    ].map(\.sample))

// MARK: Number formats

private func decodeSample(_ format: SmallFloat, _ stride: Int, _ size: SampleSize) -> OpSample {
    OpSample("f32 from \(format.dtype)" + (stride == 1 ? " every pattern" : " each \(stride)th"), size) { _ in
        let bits = Swift.stride(from: 0, to: format.patterns.count, by: stride).map { format.patterns[$0] }
        var c = OpCase()
        c.input("x", bits: bits, format.dtype, [bits.count])
        c.output("y", [bits.count])
        c.run(Convert()) { .init(x: $0["x"], y: $0["y"]) }
        c.reference = { ["y": .exact(bits.map(format.value))] }
        return c
    }
}

/// Three times `count` numbers and a few. Random bit patterns meet every exponent; halves between two neighbours and the limits are the
/// hard ones.
private func hardNumbers(_ format: SmallFloat, _ count: Int, _ random: inout RandomNumbers) -> [Float] {
    var x: [Float] = random.integers(count, 0...0xFFFF_FFFF).map { Float(bitPattern: UInt32($0)) }.filter { !$0.isNaN }
    x += random.normal(count)
    for pattern in random.integers(count, 0...(1 << (format.bitCount - 1)) - 3) {
        let (a, b) = (format.value(UInt32(pattern)), format.value(UInt32(pattern + 1)))
        if a.isFinite, b.isFinite { x.append(Float((a + b) / 2)) }
    }
    x += [
        0, -0.0, .infinity, -.infinity, 65504, 65519, 65520, 65536, 5.9604645e-8, 2.9802322e-8,
        .leastNonzeroMagnitude, 3.4e38, -3.4e38,
    ]
    return x
}

private func encodeSample(_ format: SmallFloat, _ count: Int, _ size: SampleSize) -> OpSample {
    OpSample("\(format.dtype) from f32 \(count)", size) { random in
        // What is timed has the size that it is called by.
        let values = size == .perf ? random.normal(count) : hardNumbers(format, count, &random)
        var c = OpCase()
        c.input("x", values, [values.count])
        c.output("y", [values.count], dtype: format.dtype)
        c.run(Convert()) { .init(x: $0["x"], y: $0["y"]) }
        c.reference = { ["y": .bits(values.map(format.nearest))] }
        return c
    }
}

private let convert = OpDescription(
    "convert", "Convert",
    [
        decodeSample(.f16, 1, .small), decodeSample(.bf16, 1, .small), decodeSample(.f8e4m3, 1, .tiny),
        decodeSample(.f8e5m2, 1, .tiny), decodeSample(.f16, 257, .tiny), decodeSample(.bf16, 257, .tiny),
        encodeSample(.f16, 37, .tiny), encodeSample(.bf16, 37, .tiny), encodeSample(.f16, 5000, .small),
        encodeSample(.bf16, 5000, .small), encodeSample(.f16, 0, .tiny), decodeSample(.f8e5m2, 256, .tiny),
        encodeSample(.bf16, 2_000_000, .perf),
    ])

extension OpDescription {
    static let copies: [OpDescription] = [fill, copy, convert]
}
