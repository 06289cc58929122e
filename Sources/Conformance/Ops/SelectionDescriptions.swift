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
        var c = OpCase()
        c.input("x", x, [rows, columns], .padded(padding))
        c.output("values", [rows, k])
        c.output("indices", [rows, k], dtype: .i32)
        c.run(TopK()) { .init(x: $0["x"], values: $0["values"], indices: $0["indices"]) }
        c.reference = {
            let order = rowSlices(x, columns).map { largest(k, of: Array($0)) }
            return [
                "indices": .exact(order.flatMap { $0 }),
                "values": .exact(order.enumerated().flatMap { r, order in order.map { x[r * columns + $0] } }),
            ]
        }
        return c
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
                topKSample(512, 32000, 10, size: .perf),
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
