import RetortKernels

private struct ResizeSample {
    let planes: [Int]
    let height: Int
    let width: Int
    let outHeight: Int
    let outWidth: Int
    var size = SampleSize.tiny

    var shape: [Int] { planes + [height, width] }
    var outputShape: [Int] { planes + [outHeight, outWidth] }
    var text: String { "\(shape.shapeText) to \(outHeight)x\(outWidth)" }

    init(_ shape: [Int], _ outHeight: Int, _ outWidth: Int, _ size: SampleSize = .tiny) {
        planes = Array(shape.dropLast(2))
        (height, width) = (shape[shape.count - 2], shape[shape.count - 1])
        (self.outHeight, self.outWidth, self.size) = (outHeight, outWidth, size)
    }

    static let all: [ResizeSample] = [
        ResizeSample([1, 1, 1, 1], 1, 1), ResizeSample([2, 3, 1, 1], 5, 7), ResizeSample([0, 2, 4, 4], 8, 8),
        ResizeSample([1, 2, 4, 4], 8, 8), ResizeSample([2, 1, 8, 8], 4, 4), ResizeSample([1, 3, 7, 5], 3, 11),
        ResizeSample([1, 1, 13, 17], 1, 2), ResizeSample([1, 2, 5, 3], 6, 41), ResizeSample([2, 2, 7, 7], 7, 7),
        ResizeSample([3, 4], 10, 9), ResizeSample([2, 3, 29, 31], 32, 67, .small),
        ResizeSample([2, 2, 56, 56], 14, 13, .small), ResizeSample([64, 64, 8, 8], 16, 16, .perf),
    ]

    /// For every output, in order: the row-major indices into x that it is made of, and their weights.
    func sources(_ interpolation: Interpolation) -> [[(Int, Double)]] {
        func along(_ o: Int, _ length: Int, _ outputs: Int) -> [(Int, Double)] {
            switch interpolation {
            case .bilinear: bilinearWeights(o, length, outputs)
            case .nearest: [(nearestPosition(o, length, outputs), 1)]
            }
        }
        let (rows, columns) = (
            (0..<outHeight).map { along($0, height, outHeight) }, (0..<outWidth).map { along($0, width, outWidth) }
        )
        return (0..<planes.elements).flatMap { p in
            rows.flatMap { row in
                columns.map { column in
                    row.flatMap { r in column.map { ((p * height + r.0) * width + $0.0, r.1 * $0.1) } }
                }
            }
        }
    }
}

/// Positions around output o and their weights, by centres of pixels.
func bilinearWeights(_ o: Int, _ length: Int, _ outputs: Int) -> [(Int, Double)] {
    let place = max(0, (Double(o) + 0.5) * Double(length) / Double(outputs) - 0.5)
    let at = min(Int(place.rounded(.down)), length - 1)
    let part = place - Double(at)
    return at + 1 < length ? [(at, 1 - part), (at + 1, part)] : [(at, 1)]
}

/// The position PyTorch takes for output o: its arithmetic is fp32.
func nearestPosition(_ o: Int, _ length: Int, _ outputs: Int) -> Int {
    min(Int((Float(o) * (Float(length) / Float(outputs))).rounded(.down)), length - 1)
}

/// Weights are within two roundings of 1; a weighted mean of four adds four more.
private func forwardSample(_ s: ResizeSample, _ interpolation: Interpolation) -> OpSample {
    OpSample(s.text, s.size) { random in
        let x = random.normal(s.shape.elements)
        var c = OpCase()
        c.input("x", x, s.shape)
        c.output("y", s.outputShape)
        c.run(Resize(interpolation)) { .init(x: $0["x"], y: $0["y"]) }
        c.reference = {
            let sources = s.sources(interpolation)
            if interpolation == .nearest { return ["y": .exact(sources.map { x[$0[0].0] })] }
            let y = sources.map { parts in
                let size = parts.map { abs(Double(x[$0.0])) }.max() ?? 0
                return Estimate(parts.reduce(0) { $0 + Double(x[$1.0]) * $1.1 }, 4 * eps * size)
            }
            return ["y": .near(y)]
        }
        return c
    }
}

/// A weight is off by 2 eps and each addition by half of one.
private func backwardSample(_ s: ResizeSample, _ interpolation: Interpolation, accumulate: Bool) -> OpSample {
    OpSample(s.text + (accumulate ? " accumulate" : ""), s.size) { random in
        let dy = random.normal(s.outputShape.elements)
        let old: [Float]? = accumulate ? random.normal(s.shape.elements) : nil
        var c = OpCase()
        c.input("dy", dy, s.outputShape)
        c.result("dx", s.shape, old: old)
        c.run(ResizeBackward(interpolation)) { .init(dy: $0["dy"], dx: .result($0["dx"], old: old)) }
        c.reference = {
            var dx = [Estimate](repeating: Estimate(0), count: s.shape.elements)
            var sizes = old.map { $0.map { Double(abs($0)) } } ?? [Double](repeating: 0, count: dx.count)
            var roundings = [Double](repeating: 1, count: dx.count)
            for (parts, g) in zip(s.sources(interpolation), dy) {
                for (i, weight) in parts {
                    dx[i].value += weight * Double(g)
                    // The weight's own error does not shrink with it.
                    dx[i].error += 2 * eps * abs(Double(g))
                    sizes[i] += abs(weight * Double(g))
                    roundings[i] += 0.5
                }
            }
            for i in dx.indices { dx[i].error += eps * roundings[i] * sizes[i] }
            return ["dx": .near(dx.added(to: old))]
        }
        return c
    }
}

extension OpDescription {
    static let resizes: [OpDescription] = [
        OpDescription(
            "resize", "Resize",
            ResizeSample.all.map { forwardSample($0, .bilinear) }
                + ResizeSample.all.map {
                    nearest(forwardSample($0, .nearest))
                }),
        OpDescription(
            "resize_backward", "ResizeBackward",
            [false, true].flatMap { accumulate in
                ResizeSample.all.filter { !accumulate || $0.size == .tiny }.flatMap { s in
                    [
                        backwardSample(s, .bilinear, accumulate: accumulate),
                        nearest(backwardSample(s, .nearest, accumulate: accumulate)),
                    ]
                }
            }),
    ]

    private static func nearest(_ sample: OpSample) -> OpSample {
        OpSample("nearest " + sample.text, sample.size, sample.make)
    }
}
