import Foundation
import RetortKernels

/// One convolution to try.
private struct ConvSample {
    var n = 2
    var channels: Int
    var height: Int
    var width: Int
    var outputs: Int
    var kernel: (Int, Int)
    var stride = (1, 1)
    var padding = (0, 0)
    var dilation = (1, 1)
    var groups = 1
    var bias = false
    var relu = false
    var accumulate = false
    /// Elements between the weights of two outputs.
    var pitched = 0
    /// Whole numbers whose sums fp32 holds exactly: the result must be exact too.
    var integers = false

    var geometry: Conv2dGeometry {
        Conv2dGeometry(
            stride: .init(stride.0, stride.1), padding: .init(padding.0, padding.1),
            dilation: .init(dilation.0, dilation.1), groups: groups)
    }
    var x: [Int] { [n, channels, height, width] }
    var weight: [Int] { [outputs, channels / groups, kernel.0, kernel.1] }
    var y: [Int] {
        let size = geometry.outputSize(input: .init(height, width), kernel: .init(kernel.0, kernel.1))!
        return [n, outputs, size.vertical, size.horizontal]
    }

    /// "2x3x8x8 by 4x3x3x3 stride=2 padding=1 relu": x by weight, then whatever is not the default.
    var text: String {
        func pair(_ label: String, _ value: (Int, Int), _ usual: Int) -> String? {
            value == (usual, usual) ? nil : "\(label)=\(value.0 == value.1 ? "\(value.0)" : "\(value.0)x\(value.1)")"
        }
        let words = [
            "\(x.shapeText) by \(weight.shapeText)", pair("stride", stride, 1), pair("padding", padding, 0),
            pair("dilation", dilation, 1), groups == 1 ? nil : "groups=\(groups)", integers ? "integers" : nil,
            bias ? "bias" : nil, relu ? "relu" : nil, accumulate ? "accumulate" : nil, pitched > 0 ? "pitched" : nil,
        ]
        return words.compactMap(\.self).joined(separator: " ")
    }

    var size: SampleSize {
        let products = y.elements * weight.dropFirst().reduce(1, *)
        return products <= 40_000 ? .tiny : products <= 2_000_000 ? .small : .large
    }

    /// Calls `body` with the row-major indices of x, weight and y of every product.
    func forEachProduct(_ body: (_ x: Int, _ weight: Int, _ y: Int) -> Void) {
        let (y, inputs, outputsOfGroup) = (y, channels / groups, outputs / groups)
        for image in 0..<n {
            for o in 0..<outputs {
                for c in 0..<inputs {
                    let channel = o / outputsOfGroup * inputs + c
                    for a in 0..<kernel.0 {
                        for j in 0..<y[2] {
                            let row = j * stride.0 - padding.0 + a * dilation.0
                            guard row >= 0, row < height else { continue }
                            for b in 0..<kernel.1 {
                                for i in 0..<y[3] {
                                    let column = i * stride.1 - padding.1 + b * dilation.1
                                    guard column >= 0, column < width else { continue }
                                    body(
                                        ((image * channels + channel) * height + row) * width + column,
                                        ((o * inputs + c) * kernel.0 + a) * kernel.1 + b,
                                        ((image * outputs + o) * y[2] + j) * y[3] + i)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    func values(_ random: inout RandomNumbers, _ shape: [Int], _ limit: Int) -> [Float] {
        integers
            ? random.integers(shape.elements, -limit...limit).map(Float.init) : random.normal(shape.elements)
    }

    var weightLayout: Layout { Layout(padding: pitched, rowRank: 3) }
}

/// Sums of products in float64. Their fp32 counterparts err by about √count roundings of a term, and Σ |a||b| <= ‖a‖ · ‖b‖:
/// |error| <= 4 √count eps ‖a‖ ‖b‖.
private struct ProductSums {
    private var sums: [(value: Double, a: Double, b: Double, count: Double)]

    init(_ count: Int) { sums = [(Double, Double, Double, Double)](repeating: (0, 0, 0, 0), count: count) }

    mutating func add(_ i: Int, _ a: Float, _ b: Float) {
        let (a, b) = (Double(a), Double(b))
        sums[i].value += a * b
        sums[i].a += a * a
        sums[i].b += b * b
        sums[i].count += 1
    }

    var estimates: [Estimate] {
        sums.map {
            Estimate($0.value, eps * (abs($0.value) + 4 * ($0.count * $0.a * $0.b).squareRoot()))
        }
    }
}

extension [Estimate] {
    fileprivate func expected(exactly: Bool) -> Expected { exactly ? .exact(map(\.value)) : .near(self) }
}

private func forwardSample(_ s: ConvSample, _ size: SampleSize? = nil) -> OpSample {
    OpSample(s.text, size ?? s.size) { random in
        let (x, weight) = (s.values(&random, s.x, 8), s.values(&random, s.weight, 8))
        let bias: [Float]? = s.bias ? s.values(&random, [s.outputs], 50) : nil
        let old: [Float]? = s.accumulate ? s.values(&random, s.y, 50) : nil
        var c = OpCase()
        c.input("x", x, s.x)
        c.input("weight", weight, s.weight, s.weightLayout)
        if let bias { c.input("bias", bias, [s.outputs]) }
        c.result("y", s.y, old: old)
        c.run(Conv2d(s.geometry, activation: s.relu ? .relu : .none)) { v in
            .init(
                x: v["x"], weight: v["weight"], bias: v.optional("bias"),
                y: .result(v["y"], old: old))
        }
        c.reference = {
            var sums = ProductSums(s.y.elements)
            s.forEachProduct { sums.add($2, x[$0], weight[$1]) }
            let pixels = s.y[2] * s.y[3]
            let results = sums.estimates.enumerated().map { i, sum in
                var estimate = sum
                if let bias { estimate = estimate.added(to: bias[i / pixels % s.outputs]) }
                if s.relu { estimate.value = max(0, estimate.value) }
                return estimate
            }
            return ["y": results.added(to: old).expected(exactly: s.integers)]
        }
        return c
    }
}

private func backwardInputSample(_ s: ConvSample, _ size: SampleSize? = nil) -> OpSample {
    OpSample(s.text, size ?? s.size) { random in
        let (dy, weight) = (s.values(&random, s.y, 8), s.values(&random, s.weight, 8))
        let old: [Float]? = s.accumulate ? s.values(&random, s.x, 50) : nil
        var c = OpCase()
        c.input("dy", dy, s.y)
        c.input("weight", weight, s.weight, s.weightLayout)
        c.result("dx", s.x, old: old)
        c.run(Conv2dBackwardInput(s.geometry)) { v in
            .init(dy: v["dy"], weight: v["weight"], dx: .result(v["dx"], old: old))
        }
        c.reference = {
            var sums = ProductSums(s.x.elements)
            s.forEachProduct { sums.add($0, dy[$2], weight[$1]) }
            return ["dx": sums.estimates.added(to: old).expected(exactly: s.integers)]
        }
        return c
    }
}

private func backwardWeightSample(_ s: ConvSample, _ size: SampleSize? = nil) -> OpSample {
    OpSample(s.text, size ?? s.size) { random in
        let (x, dy) = (s.values(&random, s.x, 8), s.values(&random, s.y, 8))
        let old: [Float]? = s.accumulate ? s.values(&random, s.weight, 50) : nil
        let oldBias: [Float]? = s.accumulate ? s.values(&random, [s.outputs], 50) : nil
        var c = OpCase()
        c.input("x", x, s.x)
        c.input("dy", dy, s.y)
        c.result("dWeight", s.weight, s.weightLayout, old: old)
        if s.bias { c.result("dBias", [s.outputs], old: oldBias) }
        c.run(Conv2dBackwardWeight(s.geometry)) { v in
            .init(
                x: v["x"], dy: v["dy"], dWeight: .result(v["dWeight"], old: old),
                dBias: v.optional("dBias").map { .result($0, old: oldBias) })
        }
        c.reference = {
            var sums = ProductSums(s.weight.elements)
            s.forEachProduct { sums.add($1, x[$0], dy[$2]) }
            var expected = ["dWeight": sums.estimates.added(to: old).expected(exactly: s.integers)]
            guard s.bias else { return expected }
            var biases = ProductSums(s.outputs)
            let pixels = s.y[2] * s.y[3]
            for (i, value) in dy.enumerated() { biases.add(i / max(1, pixels) % s.outputs, value, 1) }
            expected["dBias"] = biases.estimates.added(to: oldBias).expected(exactly: s.integers)
            return expected
        }
        return c
    }
}

/// Odd sizes, every parameter alone and together; exact where `integers`.
private let shapes: [ConvSample] = [
    ConvSample(n: 1, channels: 1, height: 1, width: 1, outputs: 1, kernel: (1, 1), bias: true),
    ConvSample(n: 3, channels: 5, height: 1, width: 1, outputs: 7, kernel: (3, 3), padding: (1, 1)),
    ConvSample(n: 1, channels: 2, height: 2, width: 3, outputs: 3, kernel: (5, 7), padding: (2, 3), bias: true),
    ConvSample(n: 0, channels: 3, height: 5, width: 5, outputs: 4, kernel: (3, 3), padding: (1, 1), bias: true),
    ConvSample(
        n: 0, channels: 3, height: 5, width: 5, outputs: 4, kernel: (3, 3), padding: (1, 1), bias: true,
        accumulate: true),
    ConvSample(channels: 3, height: 8, width: 8, outputs: 4, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(
        channels: 3, height: 8, width: 8, outputs: 4, kernel: (3, 3), padding: (1, 1), bias: true, relu: true,
        accumulate: true, pitched: 5, integers: true),
    ConvSample(
        channels: 4, height: 9, width: 7, outputs: 5, kernel: (3, 3), stride: (2, 2), padding: (1, 1), bias: true),
    ConvSample(
        channels: 4, height: 9, width: 7, outputs: 5, kernel: (3, 3), stride: (2, 2), padding: (1, 1),
        accumulate: true, pitched: 1, integers: true),
    ConvSample(channels: 2, height: 11, width: 13, outputs: 3, kernel: (3, 3), stride: (3, 3), integers: true),
    ConvSample(channels: 2, height: 10, width: 12, outputs: 3, kernel: (5, 3), stride: (3, 2), padding: (2, 0)),
    ConvSample(channels: 4, height: 8, width: 8, outputs: 8, kernel: (1, 1), stride: (2, 2), integers: true),
    ConvSample(
        channels: 4, height: 27, width: 13, outputs: 9, kernel: (1, 1), stride: (2, 2), bias: true, integers: true),
    ConvSample(n: 3, channels: 3, height: 10, width: 9, outputs: 5, kernel: (1, 1), stride: (2, 2), integers: true),
    ConvSample(channels: 2, height: 7, width: 5, outputs: 3, kernel: (2, 2), stride: (4, 3), padding: (1, 2)),
    ConvSample(n: 1, channels: 2, height: 10, width: 10, outputs: 3, kernel: (3, 3), padding: (2, 2), dilation: (2, 2)),
    ConvSample(
        channels: 2, height: 13, width: 11, outputs: 3, kernel: (3, 3), stride: (2, 2), padding: (3, 2),
        dilation: (2, 3), integers: true),
    ConvSample(
        channels: 3, height: 17, width: 9, outputs: 2, kernel: (3, 2), stride: (4, 2), padding: (1, 0),
        dilation: (2, 4), bias: true),
    ConvSample(
        n: 1, channels: 1, height: 5, width: 9, outputs: 2, kernel: (2, 3), stride: (1, 2), padding: (0, 1),
        bias: true, relu: true),
    ConvSample(channels: 5, height: 6, width: 6, outputs: 7, kernel: (1, 1), bias: true, relu: true),
    ConvSample(channels: 5, height: 4, width: 8, outputs: 6, kernel: (1, 1), accumulate: true, integers: true),
    ConvSample(channels: 3, height: 3, width: 5, outputs: 2, kernel: (1, 1), padding: (1, 2), bias: true, relu: true),
    ConvSample(n: 5, channels: 3, height: 2, width: 2, outputs: 5, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(n: 7, channels: 4, height: 4, width: 4, outputs: 6, kernel: (3, 3), padding: (1, 1), bias: true),
    ConvSample(
        channels: 4, height: 6, width: 6, outputs: 6, kernel: (3, 3), padding: (1, 1), groups: 2, bias: true,
        integers: true),
    ConvSample(
        channels: 12, height: 5, width: 7, outputs: 9, kernel: (3, 3), stride: (2, 1), padding: (1, 1), groups: 3,
        relu: true, accumulate: true, pitched: 3),
    ConvSample(n: 1, channels: 6, height: 7, width: 7, outputs: 6, kernel: (3, 3), padding: (1, 1), groups: 6),
    ConvSample(
        channels: 3, height: 9, width: 17, outputs: 6, kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 3,
        bias: true, relu: true, integers: true),
    ConvSample(
        channels: 2, height: 6, width: 5, outputs: 14, kernel: (5, 5), padding: (2, 2), groups: 2, bias: true,
        accumulate: true, pitched: 2),
    ConvSample(
        channels: 37, height: 6, width: 7, outputs: 37, kernel: (3, 3), stride: (2, 1), padding: (1, 1), groups: 37,
        accumulate: true, pitched: 7),
    ConvSample(
        n: 3, channels: 4, height: 11, width: 10, outputs: 8, kernel: (5, 3), stride: (2, 2), padding: (2, 3),
        dilation: (1, 2), groups: 4, bias: true, integers: true),
    // Groups of one channel (or of one output) in the depthwise kernels: each stride, padding and dilation they take and the next that they
    // do not; rows shorter than a vector, of one vector and of one more; residues without taps.
    ConvSample(
        channels: 5, height: 8, width: 16, outputs: 5, kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 5,
        integers: true),
    ConvSample(
        n: 3, channels: 3, height: 15, width: 17, outputs: 6, kernel: (3, 3), stride: (2, 2), padding: (1, 1),
        groups: 3, bias: true, relu: true, accumulate: true, pitched: 3, integers: true),
    ConvSample(
        channels: 3, height: 14, width: 14, outputs: 3, kernel: (3, 3), stride: (2, 2), groups: 3, bias: true,
        integers: true),
    ConvSample(
        channels: 3, height: 13, width: 31, outputs: 3, kernel: (5, 5), stride: (2, 2), padding: (2, 2), groups: 3,
        accumulate: true, integers: true),
    ConvSample(
        channels: 3, height: 7, width: 7, outputs: 3, kernel: (3, 3), padding: (1, 1), groups: 3, bias: true,
        relu: true, integers: true),
    ConvSample(
        channels: 2, height: 9, width: 33, outputs: 8, kernel: (3, 3), padding: (2, 2), groups: 2, bias: true,
        accumulate: true, integers: true),
    ConvSample(
        channels: 2, height: 9, width: 40, outputs: 10, kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 2,
        integers: true),
    ConvSample(
        channels: 3, height: 19, width: 23, outputs: 3, kernel: (3, 3), stride: (3, 3), padding: (1, 1), groups: 3,
        bias: true, integers: true),
    ConvSample(
        channels: 3, height: 20, width: 21, outputs: 3, kernel: (3, 3), stride: (3, 2), padding: (2, 1), groups: 3,
        relu: true, integers: true),
    ConvSample(
        channels: 3, height: 12, width: 21, outputs: 6, kernel: (3, 3), stride: (1, 2), padding: (0, 1), groups: 3,
        accumulate: true, integers: true),
    ConvSample(
        channels: 3, height: 21, width: 12, outputs: 6, kernel: (3, 3), stride: (2, 1), padding: (1, 2), groups: 3,
        bias: true, integers: true),
    ConvSample(
        channels: 3, height: 18, width: 19, outputs: 3, kernel: (3, 3), stride: (2, 2), padding: (2, 2),
        dilation: (2, 2), groups: 3, integers: true),
    ConvSample(
        channels: 3, height: 18, width: 19, outputs: 3, kernel: (3, 2), padding: (3, 1), dilation: (3, 2), groups: 3,
        bias: true, accumulate: true, integers: true),
    ConvSample(
        channels: 3, height: 11, width: 18, outputs: 3, kernel: (1, 2), stride: (2, 2), groups: 3, bias: true,
        integers: true),
    ConvSample(
        channels: 3, height: 12, width: 12, outputs: 3, kernel: (1, 1), stride: (2, 2), groups: 3, integers: true),
    ConvSample(
        n: 5, channels: 4, height: 2, width: 3, outputs: 4, kernel: (3, 3), padding: (1, 1), groups: 4, bias: true,
        integers: true),
    ConvSample(
        n: 5, channels: 4, height: 3, width: 6, outputs: 8, kernel: (3, 3), stride: (2, 2), padding: (2, 2), groups: 4,
        accumulate: true, integers: true),
    ConvSample(
        channels: 12, height: 10, width: 11, outputs: 4, kernel: (3, 3), stride: (2, 2), padding: (1, 1), groups: 4,
        bias: true, relu: true, integers: true),
    ConvSample(
        n: 1, channels: 2, height: 96, width: 90, outputs: 2, kernel: (3, 3), stride: (2, 2), padding: (1, 1),
        groups: 2, bias: true, integers: true),
    ConvSample(
        n: 1, channels: 1, height: 130, width: 150, outputs: 2, kernel: (5, 5), padding: (2, 2), relu: true,
        integers: true),
    // Every width of a vector and its neighbours, panels of all heights.
    ConvSample(n: 1, channels: 3, height: 3, width: 16, outputs: 17, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(n: 1, channels: 2, height: 5, width: 31, outputs: 11, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(n: 1, channels: 2, height: 4, width: 33, outputs: 10, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(n: 2, channels: 1, height: 28, width: 28, outputs: 8, kernel: (3, 3), padding: (1, 1), bias: true),
    ConvSample(n: 3, channels: 16, height: 32, width: 32, outputs: 16, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(
        n: 3, channels: 16, height: 32, width: 32, outputs: 21, kernel: (3, 3), stride: (2, 2), padding: (1, 1),
        bias: true, relu: true),
    ConvSample(
        n: 19, channels: 20, height: 8, width: 8, outputs: 12, kernel: (3, 3), padding: (1, 1), bias: true,
        accumulate: true, pitched: 12),
    ConvSample(n: 33, channels: 7, height: 3, width: 3, outputs: 5, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(n: 2, channels: 3, height: 32, width: 32, outputs: 24, kernel: (4, 4), stride: (4, 4), bias: true),
    ConvSample(n: 3, channels: 70, height: 7, width: 7, outputs: 66, kernel: (1, 1), bias: true, integers: true),
    ConvSample(n: 2, channels: 40, height: 16, width: 32, outputs: 40, kernel: (1, 1), relu: true),
    ConvSample(n: 2, channels: 33, height: 14, width: 14, outputs: 33, kernel: (3, 3), padding: (1, 1), groups: 33),
    // Strips of rows, one image alone, channels in blocks.
    ConvSample(n: 1, channels: 64, height: 66, width: 64, outputs: 5, kernel: (3, 3), padding: (1, 1), bias: true),
    ConvSample(n: 1, channels: 8, height: 130, width: 140, outputs: 4, kernel: (7, 7), stride: (2, 2), padding: (3, 3)),
    ConvSample(n: 2, channels: 300, height: 7, width: 7, outputs: 9, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(n: 33, channels: 30, height: 7, width: 7, outputs: 9, kernel: (3, 3), padding: (1, 1), integers: true),
    ConvSample(n: 1, channels: 40, height: 5, width: 5, outputs: 140, kernel: (3, 3), padding: (1, 1), relu: true),
]

/// Layers of ResNet-20 at batch 64 and of a MobileNet, for `perf`.
private let layers: [ConvSample] = [
    ConvSample(n: 64, channels: 16, height: 32, width: 32, outputs: 16, kernel: (3, 3), padding: (1, 1)),
    ConvSample(
        n: 64, channels: 16, height: 32, width: 32, outputs: 32, kernel: (3, 3), stride: (2, 2), padding: (1, 1)),
    ConvSample(n: 64, channels: 32, height: 16, width: 16, outputs: 32, kernel: (3, 3), padding: (1, 1)),
    ConvSample(n: 64, channels: 64, height: 8, width: 8, outputs: 64, kernel: (3, 3), padding: (1, 1)),
    ConvSample(n: 64, channels: 64, height: 16, width: 16, outputs: 128, kernel: (1, 1)),
    ConvSample(n: 64, channels: 64, height: 16, width: 16, outputs: 64, kernel: (3, 3), padding: (1, 1), groups: 64),
    ConvSample(
        n: 64, channels: 64, height: 16, width: 16, outputs: 64, kernel: (3, 3), stride: (2, 2), padding: (1, 1),
        groups: 64),
]

extension OpDescription {
    /// What only one of the three ops knows is left out where it would repeat a sample.
    private static func samples(_ make: (ConvSample, SampleSize?) -> OpSample, _ simplify: (inout ConvSample) -> Void)
        -> [OpSample]
    {
        var seen: Set<String> = []
        let all = shapes.map { ($0, SampleSize?.none) } + layers.map { ($0, .perf) }
        return all.compactMap { sample, size in
            var sample = sample
            simplify(&sample)
            return seen.insert(sample.text).inserted ? make(sample, size) : nil
        }
    }

    static let convolutions: [OpDescription] = [
        OpDescription("conv2d", "Conv2d", samples(forwardSample) { _ in }),
        OpDescription(
            "conv2d_backward_input", "Conv2dBackwardInput",
            samples(backwardInputSample) { ($0.bias, $0.relu) = (false, false) }),
        OpDescription(
            "conv2d_backward_weight", "Conv2dBackwardWeight", samples(backwardWeightSample) { $0.relu = false }),
    ]
}
