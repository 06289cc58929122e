import RetortKernels

private func gatherSample(
    _ table: Int, _ columns: Int, _ count: Int, outside: Bool = false, padding: Int = 0,
    as types: (table: DType, y: DType) = (.f32, .f32), size: SampleSize = .tiny
) -> OpSample {
    let text =
        "\(count) of \(table)x\(columns)" + (outside ? " outside" : "") + (padding > 0 ? " pitched" : "")
        + (types.table == .f32 ? "" : " \(types.table) as \(types.y)")
    return OpSample(text, size) { random in
        let values = random.normal(table * columns).held(by: types.table)
        var chosen = random.integers(count, 0...(table - 1)).map(Int32.init)
        if outside {
            for (i, id) in [Int32(-1), Int32(table), .max, .min].enumerated() where i < count { chosen[i] = id }
        }
        let ids = chosen
        var c = OpCase()
        c.input("table", values, [table, columns], .padded(padding), as: types.table)
        c.input("ids", ints: ids, [count])
        c.output("y", [count, columns], .padded(padding * 2), dtype: types.y)
        c.run(Gather()) { .init(table: $0["table"], ids: $0["ids"], y: $0["y"]) }
        c.reference = {
            [
                "y": .exact(
                    ids.flatMap { id in
                        (0..<columns).map { id < 0 || Int(id) >= table ? Float.nan : values[Int(id) * columns + $0] }
                    })
            ]
        }
        return c
    }
}

private func gatherLabelsSample(_ table: Int, _ count: Int, size: SampleSize = .tiny) -> OpSample {
    OpSample("\(count) labels of \(table)", size) { random in
        let labels = random.integers(table, -100...1000).map(Int32.init)
        let ids = random.integers(count, -2...(table + 1)).map(Int32.init)
        var c = OpCase()
        c.input("table", ints: labels, [table, 1])
        c.input("ids", ints: ids, [count])
        c.output("y", [count, 1], dtype: .i32)
        c.run(Gather()) { .init(table: $0["table"], ids: $0["ids"], y: $0["y"]) }
        c.reference = { ["y": .exact(ids.map { $0 < 0 || Int($0) >= table ? -1 : labels[Int($0)] })] }
        return c
    }
}

/// Σ over the positions of an id errs by a rounding of the magnitudes for each addition that really follows another: √m of them.
private func scatterAddSample(
    _ table: Int, _ columns: Int, _ count: Int, outside: Bool = false, paddingID: Int32? = nil, padding: Int = 0,
    size: SampleSize = .tiny
) -> OpSample {
    let text =
        "\(count) onto \(table)x\(columns)" + (outside ? " outside" : "")
        + (paddingID.map { " padding-id=\($0)" } ?? "")
        + (padding > 0 ? " pitched" : "")
    return OpSample(text, size) { random in
        let dy = random.normal(count * columns)
        var chosen = random.integers(count, 0...(table - 1)).map(Int32.init)
        if outside { for (i, id) in [Int32(-1), Int32(table), .max].enumerated() where i < count { chosen[i] = id } }
        let ids = chosen
        let old = random.normal(table * columns)
        var c = OpCase()
        c.input("dy", dy, [count, columns], .padded(padding))
        c.updated("table", old, [table, columns], .padded(padding * 2))
        c.run(ScatterAdd()) {
            .init(dy: $0["dy"], buckets: try IDBuckets(ids, paddingIndex: paddingID, on: $0.device), table: $0["table"])
        }
        c.reference = {
            var sums = [Double](repeating: 0, count: table * columns)
            var magnitudes = sums
            for (i, id) in ids.enumerated() where id >= 0 && Int(id) < table && id != paddingID {
                for column in 0..<columns {
                    let v = Double(dy[i * columns + column])
                    sums[Int(id) * columns + column] += v
                    magnitudes[Int(id) * columns + column] += abs(v)
                }
            }
            let steps = 1 + Double(count).squareRoot() / 4
            return ["table": .near(zip(sums, magnitudes).map { Estimate($0, eps * steps * $1) }.added(to: old))]
        }
        return c
    }
}

extension OpDescription {
    static let gathers: [OpDescription] = [
        OpDescription(
            "gather", "Gather",
            [
                gatherSample(1, 1, 1), gatherSample(7, 3, 5), gatherSample(5, 16, 0), gatherSample(13, 17, 23),
                gatherSample(5, 37, 9, outside: true),
                gatherSample(1, 1, 1, as: (.bf16, .f32)), gatherSample(1, 1, 1, as: (.bf16, .bf16)),
                gatherSample(5, 37, 9, outside: true, padding: 3, as: (.bf16, .f32)),
                gatherSample(5, 37, 9, outside: true, padding: 3, as: (.bf16, .bf16)),
                gatherSample(13, 32, 23, as: (.bf16, .bf16)),
                gatherSample(5, 37, 9, padding: 3), gatherLabelsSample(7, 5), gatherLabelsSample(131, 67),
                gatherLabelsSample(3, 0),
                gatherSample(211, 1271, 41, size: .small), gatherLabelsSample(5000, 4099, size: .small),
                gatherSample(32000, 768, 2048, size: .perf),
            ]),
        OpDescription(
            "scatter_add", "ScatterAdd",
            [
                scatterAddSample(1, 1, 1), scatterAddSample(7, 3, 5), scatterAddSample(5, 16, 0),
                scatterAddSample(3, 17, 70),
                scatterAddSample(5, 37, 9, outside: true), scatterAddSample(5, 37, 23, paddingID: 2),
                scatterAddSample(5, 37, 9, padding: 3),
                scatterAddSample(2, 1, 131), scatterAddSample(7, 259, 300, size: .small),
                scatterAddSample(211, 1271, 41, size: .small),
                scatterAddSample(8192, 768, 2048, size: .perf),
            ]),
    ]
}
