import RetortKernels

private struct PoolSample {
    let shape: [Int]
    let rows: PoolWindow
    let columns: PoolWindow
    var countsPadding = true
    var size = SampleSize.tiny

    init(
        _ shape: [Int], _ rows: PoolWindow, _ columns: PoolWindow? = nil, countsPadding: Bool = true,
        size: SampleSize = .tiny
    ) {
        (self.shape, self.rows, self.columns) = (shape, rows, columns ?? rows)
        (self.countsPadding, self.size) = (countsPadding, size)
    }

    static func windows(_ kernel: Int, stride: Int, padding: Int = 0) -> PoolWindow {
        .regular(kernel: kernel, stride: stride, padding: padding)
    }

    static let regular: [PoolSample] = [
        PoolSample([1, 1, 1, 1], windows(1, stride: 1)), PoolSample([0, 3, 4, 4], windows(2, stride: 2)),
        PoolSample([2, 3, 6, 6], windows(2, stride: 2)), PoolSample([1, 2, 7, 9], windows(2, stride: 2)),
        PoolSample([2, 1, 4, 34], windows(2, stride: 2)), PoolSample([1, 2, 5, 67], windows(2, stride: 2)),
        PoolSample([1, 2, 7, 9], windows(3, stride: 2, padding: 1)),
        PoolSample([1, 2, 7, 41], windows(3, stride: 2, padding: 1)),
        PoolSample([1, 2, 7, 41], windows(3, stride: 2, padding: 1), countsPadding: false),
        PoolSample([1, 3, 5, 5], windows(3, stride: 1, padding: 1)),
        PoolSample([2, 1, 5, 37], windows(3, stride: 1, padding: 1), countsPadding: false),
        PoolSample([1, 2, 11, 13], windows(5, stride: 3, padding: 2), countsPadding: false),
        PoolSample([1, 2, 13, 7], windows(2, stride: 3), windows(7, stride: 1)),
        PoolSample([1, 1, 3, 19], windows(3, stride: 1), windows(2, stride: 1, padding: 1)),
        PoolSample([2, 2, 7, 7], windows(7, stride: 7)), PoolSample([3, 2, 8, 12], windows(4, stride: 4)),
        PoolSample([3, 5, 28, 28], windows(2, stride: 2), size: .small),
        PoolSample([2, 3, 56, 57], windows(3, stride: 2, padding: 1), size: .small),
        PoolSample([1, 2, 41, 131], windows(2, stride: 2), size: .small),
        PoolSample([64, 64, 32, 32], windows(2, stride: 2), size: .perf),
        PoolSample([64, 64, 32, 32], windows(3, stride: 2, padding: 1), size: .perf),
    ]
    static let adaptive: [PoolSample] = [
        PoolSample([1, 3, 8, 8], .adaptive(4)), PoolSample([1, 2, 7, 5], .adaptive(3), .adaptive(2)),
        PoolSample([2, 4, 7, 5], .adaptive(1)), PoolSample([1, 2, 3, 4], .adaptive(7), .adaptive(5)),
        PoolSample([1, 2, 6, 67], .adaptive(6), .adaptive(13)),
        PoolSample([3, 2, 56, 41], .adaptive(28), .adaptive(7), size: .small),
        PoolSample([64, 64, 32, 32], .adaptive(4), size: .perf),
        PoolSample([64, 64, 32, 32], .adaptive(1), size: .perf),
    ]

    var text: String {
        func text(_ window: PoolWindow) -> String {
            switch window {
            case .regular(let kernel, let stride, let padding):
                "\(kernel)/\(stride)" + (padding > 0 ? "p\(padding)" : "")
            case .adaptive(let count): "to \(count)"
            }
        }
        return shape.shapeText + " " + text(rows) + (rows == columns ? "" : " by " + text(columns))
            + (countsPadding ? "" : " without padding")
    }

    var height: Int { shape[2] }
    var width: Int { shape[3] }
    var outputShape: [Int] { [shape[0], shape[1], rows.count(of: height)!, columns.count(of: width)!] }

    /// For every window, in order, the row-major indices into x of what it holds, and what its sum is divided by.
    var windows: [(inside: [Int], divisor: Double)] {
        let (r, c) = (Self.positions(rows, height), Self.positions(columns, width))
        return (0..<shape[0] * shape[1]).flatMap { plane in
            r.flatMap { rows in
                c.map { columns in
                    let inside = rows.filter { (0..<height).contains($0) }.flatMap { i in
                        columns.filter { (0..<width).contains($0) }.map { plane * height * width + i * width + $0 }
                    }
                    return (inside, Double(countsPadding ? rows.count * columns.count : inside.count))
                }
            }
        }
    }

    /// The positions of each window, those in the padding included.
    private static func positions(_ window: PoolWindow, _ length: Int) -> [Range<Int>] {
        (0..<window.count(of: length)!).map { o in
            switch window {
            case .regular(let kernel, let stride, let padding):
                return o * stride - padding..<o * stride - padding + kernel
            case .adaptive(let count):
                let (start, end) = (Double(o * length) / Double(count), Double((o + 1) * length) / Double(count))
                return Int(start.rounded(.down))..<Int(end.rounded(.up))
            }
        }
    }
}

/// Additions one after the other, then a division.
private func averageSample(_ s: PoolSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let x = random.normal(s.shape.elements)
        var c = OpCase()
        c.input("x", x, s.shape)
        c.output("y", s.outputShape)
        c.run(AveragePool(rows: s.rows, columns: s.columns, countsPadding: s.countsPadding)) {
            .init(x: $0["x"], y: $0["y"])
        }
        c.reference = {
            let y = s.windows.map { inside, divisor in
                let values = inside.map { Double(x[$0]) }
                let size = values.reduce(0) { $0 + abs($1) } / divisor
                return Estimate(values.reduce(0, +) / divisor, eps * (Double(values.count) / 2 + 1.5) * size)
            }
            return ["y": .near(y)]
        }
        return c
    }
}

private func averageBackwardSample(_ s: PoolSample, accumulate: Bool) -> OpSample {
    OpSample(s.text + (accumulate ? " accumulate" : ""), s.size) { random in
        let dy = random.normal(s.outputShape.elements)
        let old: [Float]? = accumulate ? random.normal(s.shape.elements) : nil
        var c = OpCase()
        c.input("dy", dy, s.outputShape)
        c.result("dx", s.shape, old: old)
        c.run(AveragePoolBackward(AveragePool(rows: s.rows, columns: s.columns, countsPadding: s.countsPadding))) {
            .init(dy: $0["dy"], dx: .result($0["dx"], old: old))
        }
        c.reference = { ["dx": .near(collected(s, dy, old) { window in window.inside.map { ($0, window.divisor) } })] }
        return c
    }
}

/// What arrives at each element of x: dy / divisor of every window that `receivers` sends it from. Additions one after the other, to
/// what was there before if anything was.
private func collected(
    _ s: PoolSample, _ dy: [Float], _ old: [Float]?,
    receivers: ((inside: [Int], divisor: Double)) -> [(Int, divisor: Double)]
) -> [Estimate] {
    var dx = [Estimate](repeating: Estimate(0), count: s.shape.elements)
    var sizes = old.map { $0.map { Double(abs($0)) } } ?? [Double](repeating: 0, count: dx.count)
    var terms = [Int](repeating: 1, count: dx.count)
    for (window, g) in zip(s.windows, dy) {
        for (i, divisor) in receivers(window) {
            dx[i].value += Double(g) / divisor
            sizes[i] += abs(Double(g) / divisor)
            terms[i] += 1
        }
    }
    for i in dx.indices { dx[i].error = eps * (Double(terms[i]) / 2 + 1) * sizes[i] }
    return dx.added(to: old)
}

/// The first largest in row-major order; the last NaN where there is one.
private func winner(_ inside: [Int], _ x: [Float]) -> Int {
    var best = inside[0]
    for i in inside where x[i] > x[best] || x[i].isNaN { best = i }
    return best
}

private enum MaxValues: String {
    /// All different.
    case distinct
    /// Few values: ties.
    case ties
    /// −∞ everywhere, and some NaN.
    case extreme
}

private func maxSample(_ s: PoolSample, _ kind: MaxValues) -> OpSample {
    OpSample(s.text + (kind == .distinct ? "" : " \(kind)"), s.size) { random in
        let count = s.shape.elements
        let x: [Float] =
            switch kind {
            case .distinct: random.distinct(count)
            case .ties: random.integers(count, -1...1).map(Float.init)
            case .extreme: random.integers(count, 0...9).map { $0 == 0 ? .nan : -.infinity }
            }
        var c = OpCase()
        c.input("x", x, s.shape)
        c.output("y", s.outputShape)
        c.output("indices", s.outputShape, dtype: .i32)
        c.run(MaxPool(rows: s.rows, columns: s.columns)) { .init(x: $0["x"], y: $0["y"], indices: $0["indices"]) }
        c.reference = {
            let winners = s.windows.map { winner($0.inside, x) }
            return [
                "y": .exact(winners.map { x[$0] }), "indices": .exact(winners.map { $0 % (s.height * s.width) }),
            ]
        }
        return c
    }
}

private func maxBackwardSample(_ s: PoolSample, accumulate: Bool) -> OpSample {
    OpSample(s.text + (accumulate ? " accumulate" : ""), s.size) { random in
        let x = random.integers(s.shape.elements, -2...2).map(Float.init)
        let indices = s.windows.map { Int32(winner($0.inside, x) % (s.height * s.width)) }
        let dy = random.normal(indices.count)
        let old: [Float]? = accumulate ? random.normal(s.shape.elements) : nil
        var c = OpCase()
        c.input("dy", dy, s.outputShape)
        c.input("indices", ints: indices, s.outputShape)
        c.result("dx", s.shape, old: old)
        c.run(MaxPoolBackward(MaxPool(rows: s.rows, columns: s.columns))) {
            .init(dy: $0["dy"], indices: $0["indices"], dx: .result($0["dx"], old: old))
        }
        c.reference = { ["dx": .near(collected(s, dy, old) { [(winner($0.inside, x), 1)] })] }
        return c
    }
}

extension OpDescription {
    static let pools: [OpDescription] = {
        let all = PoolSample.regular + PoolSample.adaptive
        // Padding that does not count changes nothing here.
        let maxima = PoolSample.regular.filter(\.countsPadding)
        let ties = maxima.filter { $0.size == .tiny }
        return [
            OpDescription("average_pool", "AveragePool", all.map(averageSample)),
            OpDescription(
                "average_pool_backward", "AveragePoolBackward",
                all.map { averageBackwardSample($0, accumulate: false) }
                    + all.filter { $0.size == .tiny }.map { averageBackwardSample($0, accumulate: true) }),
            OpDescription(
                "max_pool", "MaxPool",
                maxima.map { maxSample($0, .distinct) } + ties.map { maxSample($0, .ties) }
                    + ties.map { maxSample($0, .extreme) }),
            OpDescription(
                "max_pool_backward", "MaxPoolBackward",
                maxima.map { maxBackwardSample($0, accumulate: false) }
                    + ties.map { maxBackwardSample($0, accumulate: true) }),
        ]
    }()
}
