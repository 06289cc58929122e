import Foundation
import RetortKernels
import RetortRuntime

extension GradientDescription {
    /// Attention of two rows with four heads, two of which share keys: causal in a window, with padding in front of the second row.
    static let attentions: [GradientDescription] =
        [
            GradientDescription(
                "flashAttention", "2 rows, 4 of 6 keys, heads 4/2 of 5", [[2, 4, 4, 5], [2, 6, 2, 5], [2, 6, 2, 5]],
                values: { random in [160, 120, 120].map { random.uniform($0, -1, 1) } },
                tensor: { x, device in
                    try x[0].flashAttention(
                        keys: x[1], values: x[2], scale: 0.7, spans: spans(queries: 4, keys: 6, device))
                },
                reference: { x in
                    attention(x[0], x[1], x[2], sizes: (2, 4, 6, 4, 2, 5), scale: Double(Float(0.7)))
                }),
            GradientDescription(
                "flashAttention", "dropout, 2 rows, 4 of 6 keys, heads 4/2 of 5",
                [[2, 4, 4, 5], [2, 6, 2, 5], [2, 6, 2, 5]],
                values: { random in [160, 120, 120].map { random.uniform($0, -1, 1) } },
                tensor: { x, device in
                    try x[0].flashAttention(
                        keys: x[1], values: x[2], scale: 0.7, spans: spans(queries: 4, keys: 6, device),
                        dropout: dropout())
                },
                reference: { x in
                    attention(
                        x[0], x[1], x[2], sizes: (2, 4, 6, 4, 2, 5), scale: Double(Float(0.7)),
                        kept: kept(perSample: 96))
                }),
            GradientDescription(
                "flashAttention", "soft cap, 2 rows, 4 of 6 keys, heads 4/2 of 5",
                [[2, 4, 4, 5], [2, 6, 2, 5], [2, 6, 2, 5]],
                values: { random in [160, 120, 120].map { random.uniform($0, -1, 1) } },
                tensor: { x, device in
                    try x[0].flashAttention(
                        keys: x[1], values: x[2], scale: 0.7, spans: spans(queries: 4, keys: 6, device), softCap: 0.8)
                },
                reference: { x in
                    attention(
                        x[0], x[1], x[2], sizes: (2, 4, 6, 4, 2, 5), scale: Double(Float(0.7)),
                        softCap: Double(Float(0.8)))
                }),
            // The same variable as keys and values.
            GradientDescription(
                "flashAttention", "keys that are their own values", [[2, 4, 4, 5], [2, 6, 2, 5]],
                values: { random in [160, 120].map { random.uniform($0, -1, 1) } },
                tensor: { x, device in
                    try x[0].flashAttention(
                        keys: x[1], values: x[1], scale: 0.7, spans: spans(queries: 4, keys: 6, device))
                },
                reference: { x in
                    attention(x[0], x[1], x[1], sizes: (2, 4, 6, 4, 2, 5), scale: Double(Float(0.7)))
                }),
            GradientDescription(
                "packedAttention", "2 rows, 5 tokens, 2 heads of 3", [[2, 5, 3, 2, 3]],
                values: { [$0.uniform(180, -1, 1)] },
                tensor: { x, device in
                    try x[0].packedAttention(scale: 0.7, spans: spans(queries: 5, keys: 5, device))
                },
                reference: { packed($0[0]) }),
            GradientDescription(
                "packedAttention", "dropout, 2 rows, 5 tokens, 2 heads of 3", [[2, 5, 3, 2, 3]],
                values: { [$0.uniform(180, -1, 1)] },
                tensor: { x, device in
                    try x[0].packedAttention(
                        scale: 0.7, spans: spans(queries: 5, keys: 5, device), dropout: dropout())
                },
                reference: { packed($0[0], kept: kept(perSample: 50)) }),
        ]

    /// Attention of `[2, 5, 3, 2, 3]`.
    private static func packed(_ x: [Double], kept: (Int) -> Double = { _ in 1 }) -> [Double] {
        func part(_ i: Int) -> [Double] {
            var numbers: [Double] = []
            for token in 0..<10 {
                let at = token * 18 + i * 6
                numbers += x[at..<(at + 6)]
            }
            return numbers
        }
        return attention(
            part(0), part(1), part(2), sizes: (2, 5, 5, 2, 2, 3), scale: Double(Float(0.7)), kept: kept)
    }

    private static let key = DropoutKey(seed: 5, step: 3, firstSample: 2)

    private static func dropout() -> DropoutLayer {
        let layer = DropoutLayer("attention/test", probability: 0.3)
        layer.setDropout(key)
        return layer
    }

    /// What dropout makes of a probability, by its number among those of the batch.
    private static func kept(perSample: Int) -> (Int) -> Double {
        let philox = Philox(seed: key.seed, stream: Philox.stream("dropout/attention/test") &+ UInt64(key.step))
        let threshold = UInt32((Double(Float(0.3)) * 0x1p32).rounded())
        return { philox.word(UInt64(key.firstSample * perSample + $0)) >= threshold ? Double(1 / (1 - Float(0.3))) : 0 }
    }

    private static func span(_ row: Int, _ query: Int, _ queries: Int, _ keys: Int) -> Range<Int> {
        let position = keys - queries + query
        return max(row, position - 2)..<max(row, position + 1)
    }

    private static func spans(queries: Int, keys: Int, _ device: Device) throws -> AttentionSpans {
        let values = (0..<2).flatMap { row in
            (0..<queries).flatMap { query -> [Int32] in
                let span = span(row, query, queries, keys)
                return [Int32(span.lowerBound), Int32(span.upperBound)]
            }
        }
        return AttentionSpans(
            view: try device.compute.view(values, [2, queries, 2], .i32), pairs: queries * 3)
    }

    /// [batch, queries, heads, width] of queries, keys and values alike; a query that sees nothing answers 0.
    /// - Parameter kept: what probability number [batch, heads, queries, keys] is multiplied with.
    private static func attention(
        _ q: [Double], _ k: [Double], _ v: [Double],
        sizes: (batch: Int, queries: Int, keys: Int, heads: Int, groups: Int, width: Int), scale: Double,
        softCap: Double? = nil, kept: (Int) -> Double = { _ in 1 }
    ) -> [Double] {
        let s = sizes
        var y = [Double](repeating: 0, count: q.count)
        for row in 0..<s.batch {
            for query in 0..<s.queries {
                for head in 0..<s.heads {
                    let at = ((row * s.queries + query) * s.heads + head) * s.width
                    let range = span(row, query, s.queries, s.keys)
                    let first = ((row * s.heads + head) * s.queries + query) * s.keys
                    let keys = range.map {
                        ((row * s.keys + $0) * s.groups + head * s.groups / s.heads) * s.width
                    }
                    let e = keys.map { key -> Double in
                        var score = 0.0
                        for d in 0..<s.width { score += q[at + d] * k[key + d] }
                        return exp(softCap.map { $0 * tanh(scale * score / $0) } ?? scale * score)
                    }
                    let total = e.reduce(0, +)
                    for ((e, key), place) in zip(zip(e, keys), range) {
                        let p = e / total * kept(first + place)
                        for d in 0..<s.width { y[at + d] += p * v[key + d] }
                    }
                }
            }
        }
        return y
    }
}
