import RetortKernels

/// Few different values and some NaN: ties everywhere.
private func tied(_ count: Int, _ random: inout RandomNumbers) -> [Float] {
    random.integers(count, 0...9).map { $0 == 9 ? .nan : $0 == 8 ? -.infinity : Float($0) / 2 }
}

/// Larger first, NaN larger than all, then the lower index.
private func precedes(_ a: Int, _ b: Int, in x: [Float]) -> Bool {
    if x[a].isNaN || x[b].isNaN { return x[a].isNaN && x[b].isNaN ? a < b : x[a].isNaN }
    return x[a] != x[b] ? x[a] > x[b] : a < b
}

/// The first `k` indices in that order. Few of many are found by looking at each once: rows of a vocabulary are long.
private func largest(_ k: Int, of x: [Float]) -> [Int] {
    guard k < 100 else { return Array(x.indices.sorted { precedes($0, $1, in: x) }.prefix(k)) }
    var best: [Int] = []
    for i in x.indices {
        if best.count == k, let last = best.last, !precedes(i, last, in: x) { continue }
        best.insert(i, at: best.firstIndex { precedes(i, $0, in: x) } ?? best.count)
        if best.count > k { best.removeLast() }
    }
    return best
}

private func argMaxSample(_ shape: [Int], _ axis: Int, ties: Bool = false, size: SampleSize = .tiny) -> OpSample {
    OpSample("\(shape.shapeText) axis=\(axis)" + (ties ? " ties" : ""), size) { random in
        let x = ties ? tied(shape.elements, &random) : random.normal(shape.elements)
        let kept = shape.enumerated().map { $0 == axis ? 1 : $1 }
        var c = OpCase()
        c.input("x", x, shape)
        c.output("y", kept, dtype: .i32)
        c.run(ArgMax()) { .init(x: $0["x"], axis: axis, y: $0["y"]) }
        c.reference = {
            let walk = AxisWalk(shape, axis)
            return ["y": .exact((0..<walk.slices).map { largest(1, of: walk.slice(x, $0))[0] })]
        }
        return c
    }
}

private func topKSample(
    _ rows: Int, _ columns: Int, _ k: Int, ties: Bool = false, padding: Int = 0, size: SampleSize = .tiny
) -> OpSample {
    OpSample("\(rows)x\(columns) k=\(k)" + (ties ? " ties" : "") + (padding > 0 ? " pitched" : ""), size) { random in
        let x = ties ? tied(rows * columns, &random) : random.normal(rows * columns)
        return topKCase(x, rows, columns, k, padding: padding)
    }
}

private func topKCase(_ x: [Float], _ rows: Int, _ columns: Int, _ k: Int, padding: Int) -> OpCase {
    var c = OpCase()
    c.input("x", x, [rows, columns], .padded(padding))
    c.output("values", [rows, k])
    c.output("indices", [rows, k], dtype: .i32)
    c.run(TopK()) { .init(x: $0["x"], values: $0["values"], indices: $0["indices"]) }
    c.reference = {
        let order = rowSlices(x, columns).map { largest(k, of: Array($0)) }
        let values: [Float] = order.enumerated().flatMap { r, order in order.map { x[r * columns + $0] } }
        return [
            "indices": .exact(order.flatMap { $0 }),
            // Of a whole row also which zero and which NaN it was.
            "values": k == columns ? .bits(values.map(\.bitPattern)) : .exact(values),
        ]
    }
    return c
}

/// Rows that a sort may get wrong.
private enum HardRow {
    /// Half of it numbers at the borders of what floats can say, each of them many times.
    case special
    case equal
    /// Zeros of both signs, which are equal.
    case zeros
    case descending, ascending

    private static let patterns: [UInt32] = [
        // Zeros, infinities, NaNs.
        0, 0x8000_0000, 0x7F80_0000, 0xFF80_0000, 0x7FC0_0000, 0x7F80_0001, 0xFFC0_1234,
        // The largest numbers, 1 and its neighbour.
        0x7F7F_FFFF, 0xFF7F_FFFF, 0x3F80_0000, 0x3F80_0001, 0xBF80_0000, 0xBF80_0001,
        // The smallest normal numbers, those below them, the smallest of all.
        0x0080_0000, 0x8080_0000, 0x007F_FFFF, 0x807F_FFFF, 1, 0x8000_0001,
    ]

    func numbers(_ count: Int, _ random: inout RandomNumbers) -> [Float] {
        switch self {
        case .special:
            let others = random.normal(count)
            return zip(random.integers(count, 0...2 * Self.patterns.count - 1), others).map { place, other in
                place < Self.patterns.count ? Float(bitPattern: Self.patterns[place]) : other
            }
        case .equal: return [Float](repeating: 0.25, count: count)
        case .zeros: return random.integers(count, 0...1).map { $0 == 0 ? 0 : -0.0 }
        case .descending: return (0..<count).map { Float(count / 2 - $0) }
        case .ascending: return (0..<count).map { Float($0 - count / 2) }
        }
    }
}

/// Whole rows, sorted.
private func sortSample(
    _ rows: Int, _ columns: Int, _ kind: HardRow, padding: Int = 0, size: SampleSize = .small
) -> OpSample {
    OpSample("\(rows)x\(columns) k=\(columns) \(kind)" + (padding > 0 ? " pitched" : ""), size) { random in
        let x = (0..<rows).flatMap { _ in kind.numbers(columns, &random) }
        return topKCase(x, rows, columns, columns, padding: padding)
    }
}

private func scatterSample(_ rows: Int, _ columns: Int, _ k: Int, accumulate: Bool = false, size: SampleSize = .tiny)
    -> OpSample
{
    OpSample("\(rows)x\(columns) k=\(k)" + (accumulate ? " accumulate" : ""), size) { random in
        let dy = random.normal(rows * k)
        let indices = (0..<rows).flatMap { _ in largest(k, of: random.distinct(columns)).map(Int32.init) }
        let old: [Float]? = accumulate ? random.normal(rows * columns) : nil
        var c = OpCase()
        c.input("dy", dy, [rows, k])
        c.input("indices", ints: indices, [rows, k])
        c.result("dx", [rows, columns], old: old)
        c.run(ScatterColumns()) { .init(dy: $0["dy"], indices: $0["indices"], dx: .result($0["dx"], old: old)) }
        c.reference = {
            var dx = [Estimate](repeating: Estimate(0), count: rows * columns)
            for (i, column) in indices.enumerated() { dx[i / k * columns + Int(column)].value = Double(dy[i]) }
            return ["dx": .near(dx.added(to: old))]
        }
        return c
    }
}

extension OpDescription {
    static let selections: [OpDescription] = [
        OpDescription(
            "argmax", "ArgMax",
            [
                argMaxSample([1], 0), argMaxSample([7], 0), argMaxSample([5, 10], 1), argMaxSample([5, 10], 0),
                argMaxSample([0, 5], 1),
                argMaxSample([13, 37], 1, ties: true), argMaxSample([37, 13], 0, ties: true),
                argMaxSample([3, 17, 5], 1, ties: true),
                argMaxSample([41, 1271], 1, size: .small), argMaxSample([41, 1271], 1, ties: true, size: .small),
                argMaxSample([1271, 41], 0, size: .small), argMaxSample([512, 32000], 1, size: .perf),
            ]),
        OpDescription(
            "topk", "TopK",
            [
                topKSample(1, 1, 1), topKSample(1, 7, 3), topKSample(5, 10, 1), topKSample(5, 10, 10),
                topKSample(0, 5, 2),
                topKSample(3, 17, 5, ties: true), topKSample(3, 33, 33, ties: true), topKSample(3, 33, 33, padding: 3),
                topKSample(4, 37, 2, ties: true, padding: 1), topKSample(3, 65, 64),
                topKSample(41, 1271, 8, size: .small),
                topKSample(41, 1271, 8, ties: true, size: .small), topKSample(5, 1271, 1271, ties: true, size: .small),
                topKSample(3, 4096, 4096, size: .small), topKSample(7, 999, 333, size: .small),
                sortSample(2, 33, .special, size: .tiny), sortSample(2, 33, .zeros, size: .tiny),
                // A radix sort on every family, with pieces of a row that are empty.
                sortSample(1, 530, .special, padding: 1, size: .tiny),
                sortSample(3, 512, .special), sortSample(3, 513, .special, padding: 2),
                sortSample(5, 1000, .special), sortSample(2, 1000, .equal), sortSample(2, 1000, .zeros),
                sortSample(2, 1000, .descending), sortSample(2, 1000, .ascending),
                sortSample(33, 1000, .special, padding: 3), sortSample(3, 4099, .special, padding: 1),
                topKSample(2, 4099, 4099, ties: true, size: .small), sortSample(1, 50257, .special),
                topKSample(3, 50257, 50257, size: .large),
                topKSample(512, 32000, 10, size: .perf), topKSample(8, 50257, 50257, size: .perf),
            ]),
        OpDescription(
            "scatter_columns", "ScatterColumns",
            [
                scatterSample(1, 1, 1), scatterSample(3, 7, 2), scatterSample(0, 5, 2), scatterSample(5, 10, 10),
                scatterSample(5, 37, 3, accumulate: true), scatterSample(41, 1271, 8, size: .small),
                scatterSample(41, 1271, 100, accumulate: true, size: .small),
                scatterSample(512, 32000, 10, size: .perf),
            ]),
    ]
}
