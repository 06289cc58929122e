import Foundation
import RetortKernels

// MARK: RMS norm

private struct RMSNormSample {
    let rows: Int
    let columns: Int
    var weight = true
    /// Added to the weight.
    var offset: Float = 0
    /// Every x is 0: only epsilon is left.
    var zero = false
    var padding = 0
    var accumulate = false
    /// What x and y are stored as.
    var dtype = DType.f32
    /// Backward: leave dx, or the weight's gradient, out.
    var dx = true
    var dWeight = true
    var size = SampleSize.tiny

    var text: String {
        "\(rows)x\(columns)" + (weight ? "" : " no-weight") + (offset == 0 ? "" : " +\(offset)")
            + (zero ? " zero" : "") + (padding > 0 ? " pitched" : "")
            + (accumulate ? " accumulate" : "") + (dx ? "" : " no-dx") + (dWeight ? "" : " dx-only")
            + dtype.sampleText
    }

    static let shapes: [RMSNormSample] = [
        RMSNormSample(rows: 1, columns: 1), RMSNormSample(rows: 1, columns: 7), RMSNormSample(rows: 7, columns: 1),
        RMSNormSample(rows: 0, columns: 5), RMSNormSample(rows: 3, columns: 16),
        RMSNormSample(rows: 3, columns: 17, weight: false), RMSNormSample(rows: 5, columns: 33, padding: 3),
        RMSNormSample(rows: 67, columns: 13), RMSNormSample(rows: 3, columns: 21, zero: true),
        RMSNormSample(rows: 5, columns: 37, offset: 1), RMSNormSample(rows: 3, columns: 17, weight: false, offset: 1),
        RMSNormSample(rows: 5, columns: 37, offset: 1, dtype: .bf16),
        RMSNormSample(rows: 41, columns: 1271, size: .small),
        RMSNormSample(rows: 131, columns: 257, padding: 1, size: .small),
        RMSNormSample(rows: 2048, columns: 768, size: .perf),
        RMSNormSample(rows: 1, columns: 1, dtype: .bf16), RMSNormSample(rows: 0, columns: 5, dtype: .bf16),
        RMSNormSample(rows: 3, columns: 16, dtype: .bf16),
        RMSNormSample(rows: 3, columns: 17, weight: false, dtype: .bf16),
        RMSNormSample(rows: 5, columns: 33, padding: 3, dtype: .bf16),
        RMSNormSample(rows: 3, columns: 21, zero: true, dtype: .bf16),
        RMSNormSample(rows: 41, columns: 1271, dtype: .bf16, size: .small),
        RMSNormSample(rows: 2048, columns: 768, dtype: .bf16, size: .perf),
    ]
    static let backward: [RMSNormSample] =
        shapes + [
            RMSNormSample(rows: 5, columns: 10, accumulate: true, dtype: .bf16),
            RMSNormSample(rows: 131, columns: 67, padding: 2, accumulate: true, dtype: .bf16, size: .small),
            RMSNormSample(rows: 5, columns: 10, accumulate: true), RMSNormSample(rows: 5, columns: 10, dx: false),
            RMSNormSample(rows: 5, columns: 10, dWeight: false),
            RMSNormSample(rows: 131, columns: 67, padding: 2, accumulate: true, size: .small),
        ]

    func x(_ random: inout RandomNumbers) -> [Float] {
        zero
            ? [Float](repeating: 0, count: rows * columns)
            : random.normal(rows * columns, scale: 1.5, mean: 0.5).held(by: dtype)
    }
}

private let epsilon = 1e-5

private func inverseRootMeanSquare(_ row: ArraySlice<Float>) -> Double {
    let squares = row.reduce(0) { $0 + Double($1) * Double($1) }
    return 1 / (squares / Double(row.count) + epsilon).squareRoot()
}

/// The sum of squares has one sign, so its relative error is that of adding: log₂ n roundings at most in blocks.
private func forwardSample(_ s: RMSNormSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let shape = [s.rows, s.columns]
        let x = s.x(&random)
        let weight: [Float]? = s.weight ? random.normal(s.columns, mean: 1 - s.offset) : nil
        var c = OpCase()
        c.input("x", x, shape, .padded(s.padding), as: s.dtype)
        if let weight { c.input("weight", weight, [s.columns]) }
        c.output("y", shape, .padded(s.padding * 2), dtype: s.dtype)
        c.output("rstd", [s.rows])
        c.run(RMSNorm(epsilon: Float(epsilon), weightOffset: s.offset)) {
            .init(x: $0["x"], weight: $0.optional("weight"), y: $0["y"], rstd: $0["rstd"])
        }
        c.reference = {
            let constant = 4 + log2(Double(s.columns + 1))
            var (y, rstds): ([Estimate], [Estimate]) = ([], [])
            for row in rowSlices(x, s.columns) {
                let rstd = inverseRootMeanSquare(row)
                rstds.append(Estimate(rstd, eps * constant * rstd))
                for (i, v) in row.enumerated() {
                    let factor = weight.map { Double($0[i]) + Double(s.offset) } ?? 1
                    let value = Double(v) * rstd * factor
                    y.append(Estimate(value, eps * (constant + 2) * abs(value)))
                }
            }
            return ["y": .near(y).rounded(to: s.dtype), "rstd": .near(rstds)]
        }
        return c
    }
}

private func backwardSample(_ s: RMSNormSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let shape = [s.rows, s.columns]
        let count = s.rows * s.columns
        let x = s.x(&random)
        let dy = random.normal(count)
        let weight: [Float]? = s.weight ? random.normal(s.columns, mean: 1 - s.offset) : nil
        let rstds = rowSlices(x, s.columns).map { Float(inverseRootMeanSquare($0)) }
        let old: [Float]? = s.accumulate ? random.normal(count) : nil
        let oldSums: [Float]? = s.accumulate ? random.normal(s.columns) : nil
        let wantsWeight = s.dWeight && s.weight
        var c = OpCase()
        c.input("x", x, shape, .padded(s.padding), as: s.dtype)
        if let weight { c.input("weight", weight, [s.columns]) }
        c.input("dy", dy, shape, .padded(s.padding * 2))
        c.input("rstd", rstds, [s.rows])
        if s.dx { c.result("dx", shape, .padded(s.padding), old: old) }
        if wantsWeight { c.result("dWeight", [s.columns], old: oldSums) }
        c.run(RMSNormBackward(weightOffset: s.offset)) { v in
            RMSNormBackward.Operands(
                x: v["x"], weight: v.optional("weight"), dy: v["dy"], rstd: v["rstd"],
                dx: v.optional("dx").map { .result($0, old: old) },
                dWeight: v.optional("dWeight").map { .result($0, old: oldSums) })
        }
        c.reference = {
            var dx: [Estimate] = []
            var dWeight = [Estimate](repeating: Estimate(0), count: s.columns)
            let columnError = 8 + Double(s.columns).squareRoot() / 8
            let rowError = 6 + Double(s.rows).squareRoot() / 8
            for (r, (x, dy)) in zip(rowSlices(x, s.columns), rowSlices(dy, s.columns)).enumerated() {
                // From the stored statistic, as the op gets it.
                let rstd = Double(rstds[r])
                let n = x.map { Double($0) * rstd }
                let dn = dy.enumerated().map { i, g in
                    Double(g) * (weight.map { Double($0[i]) + Double(s.offset) } ?? 1)
                }
                let share = 1 / Double(s.columns)
                let product = zip(dn, n).reduce(0) { $0 + $1.0 * $1.1 } * share
                let size = zip(dn, n).reduce(0) { $0 + abs($1.0 * $1.1) } * share
                for (i, g) in dy.map(Double.init).enumerated() {
                    dx.append(
                        Estimate(
                            rstd * (dn[i] - n[i] * product),
                            eps * columnError * rstd * (abs(dn[i]) + abs(n[i]) * size)))
                    dWeight[i].value += g * n[i]
                    dWeight[i].error += eps * rowError * abs(g * n[i])
                }
            }
            var expected: [String: Expected] = [:]
            if s.dx { expected["dx"] = .near(dx.added(to: old)) }
            if wantsWeight { expected["dWeight"] = .near(dWeight.added(to: oldSums)) }
            return expected
        }
        return c
    }
}

// MARK: Rotary embedding

private struct RotarySample {
    let tokens: Int
    let heads: Int
    let width: Int
    var pairing = RotaryEmbedding.Pairing.halves
    var inverse = false
    var padding = 0
    var accumulate = false
    /// The first token's position is outside the table.
    var outside = false
    /// What x and y are stored as.
    var dtype = DType.f32
    var size = SampleSize.tiny

    var text: String {
        "\(tokens)x\(heads)x\(width)" + (pairing == .interleaved ? " interleaved" : "") + (inverse ? " inverse" : "")
            + (padding > 0 ? " pitched" : "") + (accumulate ? " accumulate" : "") + (outside ? " outside" : "")
            + dtype.sampleText
    }

    static let all: [RotarySample] = [
        RotarySample(tokens: 1, heads: 1, width: 2), RotarySample(tokens: 0, heads: 2, width: 4),
        RotarySample(tokens: 7, heads: 3, width: 10), RotarySample(tokens: 5, heads: 2, width: 32),
        RotarySample(tokens: 5, heads: 2, width: 34, padding: 3),
        RotarySample(tokens: 3, heads: 1, width: 6, inverse: true),
        RotarySample(tokens: 7, heads: 3, width: 10, pairing: .interleaved),
        RotarySample(
            tokens: 5, heads: 2, width: 34, pairing: .interleaved, inverse: true, padding: 1, accumulate: true),
        RotarySample(tokens: 5, heads: 2, width: 36, accumulate: true),
        RotarySample(tokens: 4, heads: 2, width: 6, outside: true),
        RotarySample(tokens: 131, heads: 7, width: 64, size: .small),
        RotarySample(tokens: 2048, heads: 12, width: 64, size: .perf),
        RotarySample(tokens: 1, heads: 1, width: 2, dtype: .bf16),
        RotarySample(tokens: 0, heads: 2, width: 4, dtype: .bf16),
        RotarySample(tokens: 5, heads: 2, width: 34, padding: 3, dtype: .bf16),
        RotarySample(tokens: 3, heads: 1, width: 32, inverse: true, dtype: .bf16),
        RotarySample(tokens: 7, heads: 3, width: 10, pairing: .interleaved, padding: 1, dtype: .bf16),
        RotarySample(tokens: 5, heads: 2, width: 36, accumulate: true, dtype: .bf16),
        RotarySample(tokens: 5, heads: 2, width: 6, pairing: .interleaved, accumulate: true, dtype: .bf16),
        RotarySample(tokens: 4, heads: 2, width: 6, outside: true, dtype: .bf16),
        RotarySample(tokens: 131, heads: 7, width: 64, dtype: .bf16, size: .small),
        RotarySample(tokens: 2048, heads: 12, width: 64, dtype: .bf16, size: .perf),
    ]
}

/// Two products and their difference: each rounded once.
private func rotarySample(_ s: RotarySample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let (columns, pairs, table) = (s.heads * s.width, s.width / 2, 11)
        let x = random.normal(s.tokens * columns).held(by: s.dtype)
        let angles = random.normal(table * pairs, scale: 3)
        let (cosines, sines) = (angles.map { cos($0) }, angles.map { sin($0) })
        let old: [Float]? = s.accumulate ? random.normal(x.count).held(by: s.dtype) : nil
        var positions = (0..<s.tokens).map { Int32($0 * 7 % table) }
        if s.outside { positions[0] = Int32(table) }
        var c = OpCase()
        c.input("x", x, [s.tokens, columns], .padded(s.padding), as: s.dtype)
        c.input("positions", ints: positions, [s.tokens])
        c.input("cosines", cosines, [table, pairs])
        c.input("sines", sines, [table, pairs])
        c.result("y", [s.tokens, columns], .padded(s.padding * 2), old: old, as: s.dtype)
        c.run(RotaryEmbedding(s.pairing, heads: s.heads, inverse: s.inverse)) {
            .init(
                x: $0["x"], positions: $0["positions"], cosines: $0["cosines"], sines: $0["sines"],
                y: .result($0["y"], old: old))
        }
        c.reference = {
            let y = x.indices.map { i -> Estimate in
                let place = i % s.width
                let halves = s.pairing == .halves
                let pair = halves ? place % pairs : place / 2
                let isFirst = halves ? place < pairs : place % 2 == 0
                let other = i + (isFirst ? 1 : -1) * (halves ? pairs : 1)
                let position = Int(positions[i / columns])
                guard position < table else { return Estimate(.nan) }
                let cosine = Double(cosines[position * pairs + pair])
                let sine = Double(sines[position * pairs + pair]) * (s.inverse ? -1 : 1) * (isFirst ? -1 : 1)
                let (a, b) = (Double(x[i]) * cosine, Double(x[other]) * sine)
                return Estimate(a + b, eps * 2 * (abs(a) + abs(b)))
            }
            return ["y": .near(y.added(to: old)).rounded(to: s.dtype)]
        }
        return c
    }
}

private struct RotaryAppendSample {
    let texts: Int
    /// Tokens of a text.
    let tokens: Int
    let heads: Int
    let keyValueHeads: Int
    let width: Int
    var pairing = RotaryEmbedding.Pairing.halves
    /// Tokens that the cache holds already, and room behind the new ones.
    var past = 3
    var left = 2
    var padding = 0
    var outside = false
    /// What all but the table is stored as.
    var dtype = DType.f32
    var size = SampleSize.tiny

    var text: String {
        "\(texts)x\(tokens)x\(heads)x\(keyValueHeads)x\(width)" + (pairing == .interleaved ? " interleaved" : "")
            + (padding > 0 ? " pitched" : "") + (outside ? " outside" : "") + dtype.sampleText
    }

    static let all: [RotaryAppendSample] = [DType.f32, .bf16].flatMap { dtype in
        [
            RotaryAppendSample(texts: 1, tokens: 1, heads: 1, keyValueHeads: 1, width: 2, past: 0, dtype: dtype),
            RotaryAppendSample(texts: 0, tokens: 1, heads: 2, keyValueHeads: 1, width: 4, dtype: dtype),
            RotaryAppendSample(texts: 3, tokens: 1, heads: 6, keyValueHeads: 2, width: 34, padding: 3, dtype: dtype),
            RotaryAppendSample(texts: 3, tokens: 5, heads: 3, keyValueHeads: 3, width: 10, left: 0, dtype: dtype),
            RotaryAppendSample(
                texts: 2, tokens: 7, heads: 4, keyValueHeads: 2, width: 36, pairing: .interleaved, dtype: dtype),
            RotaryAppendSample(texts: 2, tokens: 2, heads: 2, keyValueHeads: 1, width: 6, outside: true, dtype: dtype),
            RotaryAppendSample(
                texts: 7, tokens: 19, heads: 7, keyValueHeads: 1, width: 64, dtype: dtype, size: .small),
            RotaryAppendSample(
                texts: 64, tokens: 1, heads: 12, keyValueHeads: 4, width: 64, past: 500, left: 11, dtype: dtype,
                size: .perf),
        ]
    }
}

/// Turned numbers are two products and their difference, values are copied, and the rest of the cache stays as it was.
private func rotaryAppendSample(_ s: RotaryAppendSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let (pairs, table, count) = (s.width / 2, 11, s.texts * s.tokens)
        let (own, shared) = (s.heads * s.width, s.keyValueHeads * s.width)
        let columns = own + 2 * shared
        let room = s.past + s.tokens + s.left
        let x = random.normal(count * columns).held(by: s.dtype)
        let angles = random.normal(table * pairs, scale: 3)
        let (cosines, sines) = (angles.map { cos($0) }, angles.map { sin($0) })
        let oldKeys = random.normal(s.texts * room * shared).held(by: s.dtype)
        let oldValues = random.normal(s.texts * room * shared).held(by: s.dtype)
        var positions = (0..<count).map { Int32($0 * 7 % table) }
        if s.outside { positions[0] = -1 }
        var c = OpCase()
        c.input("x", x, [count, columns], .padded(s.padding), as: s.dtype)
        c.input("positions", ints: positions, [count])
        c.input("cosines", cosines, [table, pairs])
        c.input("sines", sines, [table, pairs])
        c.output("queries", [count, own], .padded(2 * s.padding), dtype: s.dtype)
        c.result("keys", [s.texts, room, shared], old: oldKeys, as: s.dtype)
        c.result("values", [s.texts, room, shared], old: oldValues, as: s.dtype)
        c.run(RotaryAppend(s.pairing, heads: s.heads, keyValueHeads: s.keyValueHeads)) {
            let new = s.past..<(s.past + s.tokens)
            return .init(
                x: $0["x"], positions: $0["positions"], cosines: $0["cosines"], sines: $0["sines"],
                queries: $0["queries"], keys: $0["keys"].narrowed(1, new), values: $0["values"].narrowed(1, new))
        }
        c.reference = {
            /// Number `i` of token `t`, of the queries and keys.
            func turned(_ t: Int, _ i: Int) -> Estimate {
                let (place, start) = (i % s.width, i - i % s.width)
                let halves = s.pairing == .halves
                let pair = halves ? place % pairs : place / 2
                let isFirst = halves ? place < pairs : place % 2 == 0
                let other = start + place + (isFirst ? 1 : -1) * (halves ? pairs : 1)
                let position = Int(positions[t])
                guard (0..<table).contains(position) else { return Estimate(.nan) }
                let cosine = Double(cosines[position * pairs + pair])
                let sine = Double(sines[position * pairs + pair]) * (isFirst ? -1 : 1)
                let (a, b) = (Double(x[t * columns + i]) * cosine, Double(x[t * columns + other]) * sine)
                return Estimate(a + b, eps * 2 * (abs(a) + abs(b)))
            }
            let queries = (0..<count).flatMap { t in (0..<own).map { turned(t, $0) } }
            var (keys, values) = (oldKeys.map { Estimate(Double($0)) }, oldValues.map { Estimate(Double($0)) })
            for t in 0..<count {
                let at = (t / s.tokens * room + s.past + t % s.tokens) * shared
                for i in 0..<shared {
                    keys[at + i] = turned(t, own + i)
                    values[at + i] = Estimate(Double(x[t * columns + own + shared + i]))
                }
            }
            return [
                "queries": .near(queries).rounded(to: s.dtype), "keys": .near(keys).rounded(to: s.dtype),
                "values": .near(values).rounded(to: s.dtype),
            ]
        }
        return c
    }
}

extension OpDescription {
    static let rmsNorms: [OpDescription] = [
        OpDescription("rms_norm", "RMSNorm", RMSNormSample.shapes.map(forwardSample)),
        OpDescription("rms_norm_backward", "RMSNormBackward", RMSNormSample.backward.map(backwardSample)),
    ]
    static let rotaries: [OpDescription] = [
        OpDescription("rotary_embedding", "RotaryEmbedding", RotarySample.all.map(rotarySample)),
        OpDescription("rotary_append", "RotaryAppend", RotaryAppendSample.all.map(rotaryAppendSample)),
    ]
}
