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
                reference: { x in
                    func part(_ i: Int) -> [Double] {
                        var numbers: [Double] = []
                        for token in 0..<10 {
                            let at = token * 18 + i * 6
                            numbers += x[0][at..<(at + 6)]
                        }
                        return numbers
                    }
                    return attention(part(0), part(1), part(2), sizes: (2, 5, 5, 2, 2, 3), scale: Double(Float(0.7)))
                }),
        ]

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
    private static func attention(
        _ q: [Double], _ k: [Double], _ v: [Double],
        sizes: (batch: Int, queries: Int, keys: Int, heads: Int, groups: Int, width: Int), scale: Double
    ) -> [Double] {
        let s = sizes
        var y = [Double](repeating: 0, count: q.count)
        for row in 0..<s.batch {
            for query in 0..<s.queries {
                for head in 0..<s.heads {
                    let at = ((row * s.queries + query) * s.heads + head) * s.width
                    let keys = span(row, query, s.queries, s.keys).map {
                        ((row * s.keys + $0) * s.groups + head * s.groups / s.heads) * s.width
                    }
                    let e = keys.map { key -> Double in
                        var score = 0.0
                        for d in 0..<s.width { score += q[at + d] * k[key + d] }
                        return exp(scale * score)
                    }
                    let total = e.reduce(0, +)
                    for (e, key) in zip(e, keys) {
                        for d in 0..<s.width { y[at + d] += e / total * v[key + d] }
                    }
                }
            }
        }
        return y
    }
}
