import Foundation
import RetortKernels
import RetortRuntime

/// What queries see in a sample.
private enum Seen: String, Sendable {
    case all, causal, window, documents
    /// Causal, but every third query sees nothing.
    case gaps

    /// Keys [first, last) of a query.
    func span(_ query: Int, _ queries: Int, _ keys: Int) -> Range<Int> {
        let position = keys - queries + query
        return switch self {
        case .all: 0..<keys
        case .causal: 0..<(position + 1)
        case .window: max(0, position - 4)..<(position + 1)
        case .documents: (position / 11 * 11)..<(position + 1)
        case .gaps: query % 3 == 1 ? 0..<0 : 0..<(position + 1)
        }
    }
}

private struct AttentionSample {
    var batch = 1
    let queries: Int
    let keys: Int
    var heads = 1
    var groups = 1
    let width: Int
    var seen = Seen.causal
    /// Spans of their own for each row of the batch.
    var ownSpans = false
    /// Queries, keys and values lie in one projection's rows, answers in padded ones.
    var strided = false
    /// Scores of about this size.
    var sharpness: Float = 1
    var accumulate = false
    /// What q and y are stored as, and k and v where those differ.
    var dtype = DType.f32
    var cache: DType?
    /// Of the probabilities; the first of them is number `firstElement` of all samples'.
    var dropout: Float = 0
    var firstElement = 0
    /// What scores stay below in size.
    var softCap: Float?
    /// Backward: which gradients are asked for.
    var wanted = "qkv"
    var size = SampleSize.tiny

    var text: String {
        "\(batch)x\(queries)x\(keys) heads \(heads)/\(groups) width \(width) \(seen.rawValue)"
            + (ownSpans ? " by row" : "") + (strided ? " strided" : "") + (sharpness > 1 ? " sharp" : "")
            + (accumulate ? " accumulate" : "") + (wanted == "qkv" ? "" : " only-\(wanted)")
            + (dtype == .f32 ? "" : " \(dtype)") + (cache.map { " cache \($0)" } ?? "")
            + (dropout > 0 ? " p=\(dropout)" : "") + (firstElement > 0 ? " first=\(firstElement)" : "")
            + (softCap.map { " cap \($0)" } ?? "")
    }

    static let forward: [AttentionSample] = [
        AttentionSample(queries: 1, keys: 1, width: 1), AttentionSample(queries: 7, keys: 7, width: 7),
        AttentionSample(queries: 0, keys: 5, width: 8, seen: .all),
        AttentionSample(batch: 0, queries: 3, keys: 3, width: 8),
        AttentionSample(queries: 3, keys: 0, width: 8, seen: .all),
        AttentionSample(batch: 2, queries: 5, keys: 13, heads: 6, groups: 2, width: 16),
        AttentionSample(batch: 2, queries: 9, keys: 9, heads: 4, groups: 1, width: 10, seen: .all, strided: true),
        AttentionSample(batch: 2, queries: 17, keys: 17, heads: 2, groups: 2, width: 24, seen: .gaps, ownSpans: true),
        AttentionSample(queries: 23, keys: 37, heads: 3, groups: 1, width: 12, seen: .window, sharpness: 40),
        AttentionSample(queries: 1, keys: 41, heads: 6, groups: 2, width: 20, seen: .causal),
        // Few rows: those of one see other keys, or none.
        AttentionSample(
            batch: 2, queries: 2, keys: 71, heads: 2, groups: 1, width: 33, seen: .window, ownSpans: true, sharpness: 20
        ),
        AttentionSample(queries: 2, keys: 70, heads: 2, groups: 2, width: 48, seen: .gaps),
        AttentionSample(queries: 1, keys: 131, heads: 4, groups: 1, width: 32, seen: .all),
        // One row behind a whole block of them; keys in pieces of which some are not seen.
        AttentionSample(queries: 97, keys: 97, width: 16),
        AttentionSample(queries: 1, keys: 1271, heads: 6, groups: 2, width: 64, seen: .window, size: .small),
        AttentionSample(
            batch: 2, queries: 2, keys: 71, heads: 2, groups: 1, width: 40, seen: .gaps, ownSpans: true, dtype: .bf16),
        // A long cache and one token: keys in pieces.
        AttentionSample(queries: 1, keys: 1271, heads: 6, groups: 2, width: 64, size: .small),
        AttentionSample(
            batch: 2, queries: 131, keys: 131, heads: 3, groups: 1, width: 64, ownSpans: true, strided: true,
            size: .small),
        AttentionSample(queries: 67, keys: 101, heads: 4, groups: 2, width: 33, seen: .documents, size: .small),
        AttentionSample(queries: 41, keys: 131, heads: 2, width: 128, seen: .window, sharpness: 20, size: .large),
        AttentionSample(queries: 37, keys: 67, heads: 2, groups: 2, width: 256, seen: .all, size: .large),
        AttentionSample(queries: 211, keys: 211, heads: 6, groups: 2, width: 80, seen: .documents, size: .large),
        AttentionSample(batch: 8, queries: 256, keys: 256, heads: 6, groups: 2, width: 64, size: .perf),
        AttentionSample(queries: 2048, keys: 2048, heads: 6, groups: 2, width: 64, size: .perf),
        AttentionSample(queries: 1, keys: 1, width: 1, dtype: .bf16),
        AttentionSample(queries: 7, keys: 7, width: 7, dtype: .bf16),
        AttentionSample(queries: 0, keys: 5, width: 8, seen: .all, dtype: .bf16),
        AttentionSample(queries: 3, keys: 0, width: 8, seen: .all, dtype: .bf16),
        AttentionSample(batch: 2, queries: 5, keys: 13, heads: 6, groups: 2, width: 40, dtype: .bf16),
        AttentionSample(
            batch: 2, queries: 9, keys: 9, heads: 4, groups: 1, width: 10, seen: .all, strided: true, dtype: .bf16),
        AttentionSample(
            batch: 2, queries: 17, keys: 17, heads: 2, groups: 2, width: 24, seen: .gaps, ownSpans: true, dtype: .bf16),
        AttentionSample(
            queries: 23, keys: 67, heads: 3, groups: 1, width: 65, seen: .window, sharpness: 40, dtype: .bf16),
        AttentionSample(
            batch: 2, queries: 131, keys: 131, heads: 3, groups: 1, width: 64, ownSpans: true, strided: true,
            dtype: .bf16, size: .small),
        AttentionSample(
            queries: 67, keys: 101, heads: 4, groups: 2, width: 33, seen: .documents, dtype: .bf16, size: .small),
        AttentionSample(queries: 101, keys: 101, heads: 4, groups: 2, width: 40, dtype: .bf16, size: .small),
        AttentionSample(queries: 37, keys: 67, heads: 2, groups: 2, width: 256, seen: .all, dtype: .bf16, size: .large),
        AttentionSample(
            batch: 8, queries: 256, keys: 256, heads: 6, groups: 2, width: 64, dtype: .bf16, size: .perf),
        AttentionSample(queries: 2048, keys: 2048, heads: 6, groups: 2, width: 64, dtype: .bf16, size: .perf),
    ]
    /// Probabilities dropped: rows that begin inside of a block of four numbers, spans that do; few rows; pieces of the keys; a count of blocks
    /// whose lower half overflows on the way.
    static let dropped: [AttentionSample] = [
        AttentionSample(queries: 1, keys: 1, width: 1, dropout: 0.5),
        AttentionSample(queries: 3, keys: 0, width: 8, seen: .all, dropout: 0.5),
        AttentionSample(batch: 2, queries: 5, keys: 13, heads: 6, groups: 2, width: 16, dropout: 0.3),
        AttentionSample(
            batch: 2, queries: 9, keys: 9, heads: 4, groups: 1, width: 10, seen: .all, strided: true, dropout: 0.1),
        AttentionSample(
            batch: 2, queries: 17, keys: 20, heads: 2, groups: 2, width: 24, seen: .gaps, ownSpans: true, dropout: 0.6,
            firstElement: 1360),
        AttentionSample(
            queries: 23, keys: 37, heads: 3, groups: 1, width: 12, seen: .window, sharpness: 40, dropout: 0.3),
        AttentionSample(
            batch: 2, queries: 2, keys: 71, heads: 2, groups: 1, width: 33, seen: .window, ownSpans: true, dropout: 0.4,
            firstElement: 3),
        AttentionSample(queries: 1, keys: 131, heads: 4, groups: 1, width: 32, seen: .all, dropout: 0.5),
        AttentionSample(queries: 97, keys: 97, width: 16, dropout: 0.25),
        AttentionSample(
            queries: 9, keys: 68, heads: 2, width: 16, seen: .all, dropout: 0.2, firstElement: (1 << 34) - 1000),
        AttentionSample(queries: 7, keys: 9, width: 16, seen: .all, dropout: 0.2, firstElement: (1 << 34) - 31),
        AttentionSample(queries: 11, keys: 11, width: 8, dropout: 0.999),
        AttentionSample(queries: 1, keys: 1271, heads: 6, groups: 2, width: 64, dropout: 0.3, size: .small),
        AttentionSample(
            batch: 2, queries: 131, keys: 131, heads: 3, groups: 1, width: 64, ownSpans: true, strided: true,
            dropout: 0.1, firstElement: 51483, size: .small),
        AttentionSample(
            queries: 128, keys: 128, heads: 4, groups: 2, width: 64, seen: .documents, dropout: 0.1, size: .small),
        AttentionSample(
            batch: 2, queries: 9, keys: 69, heads: 4, groups: 2, width: 40, dtype: .bf16, dropout: 0.3, size: .small),
        AttentionSample(
            queries: 67, keys: 101, heads: 4, groups: 2, width: 33, seen: .documents, dropout: 0.1, size: .large),
        AttentionSample(batch: 8, queries: 256, keys: 256, heads: 6, groups: 2, width: 64, dropout: 0.1, size: .perf),
        AttentionSample(queries: 2048, keys: 2048, heads: 6, groups: 2, width: 64, dropout: 0.1, size: .perf),
    ]
    /// Scores that stay below a cap: of whole blocks of rows and of few, far beyond it and hardly bent, in pieces of the keys; with dropout.
    static let capped: [AttentionSample] = [
        AttentionSample(queries: 1, keys: 1, width: 1, softCap: 0.5),
        AttentionSample(queries: 3, keys: 0, width: 8, seen: .all, softCap: 2),
        AttentionSample(batch: 2, queries: 5, keys: 13, heads: 6, groups: 2, width: 16, softCap: 1.5),
        AttentionSample(
            batch: 2, queries: 9, keys: 9, heads: 4, groups: 1, width: 10, seen: .all, strided: true, softCap: 2),
        AttentionSample(
            batch: 2, queries: 17, keys: 17, heads: 2, groups: 2, width: 24, seen: .gaps, ownSpans: true, softCap: 50),
        AttentionSample(
            queries: 23, keys: 37, heads: 3, groups: 1, width: 12, seen: .window, sharpness: 40, softCap: 5),
        AttentionSample(
            batch: 2, queries: 2, keys: 71, heads: 2, groups: 1, width: 33, seen: .window, ownSpans: true,
            sharpness: 20, softCap: 3),
        AttentionSample(queries: 1, keys: 131, heads: 4, groups: 1, width: 32, seen: .all, softCap: 1),
        AttentionSample(queries: 97, keys: 97, width: 16, softCap: 1),
        AttentionSample(queries: 7, keys: 7, width: 7, dtype: .bf16, softCap: 1),
        AttentionSample(queries: 9, keys: 11, width: 8, dropout: 0.3, softCap: 1.5),
        AttentionSample(queries: 1, keys: 1271, heads: 6, groups: 2, width: 64, softCap: 2, size: .small),
        AttentionSample(
            batch: 2, queries: 131, keys: 131, heads: 4, groups: 2, width: 64, ownSpans: true, strided: true,
            sharpness: 3, softCap: 2, size: .small),
        AttentionSample(
            batch: 2, queries: 69, keys: 69, heads: 4, groups: 2, width: 40, dtype: .bf16, dropout: 0.3, softCap: 2,
            size: .small),
        AttentionSample(queries: 37, keys: 67, heads: 2, groups: 1, width: 256, seen: .all, softCap: 3, size: .large),
        AttentionSample(queries: 2048, keys: 2048, heads: 6, groups: 2, width: 64, softCap: 50, size: .perf),
    ]
    /// Keys and values that are stored differently from what asks them; and in pieces, where answers of pieces are f32.
    static let decoding: [AttentionSample] = [
        AttentionSample(queries: 1, keys: 41, heads: 6, groups: 2, width: 20, cache: .bf16),
        AttentionSample(queries: 5, keys: 13, heads: 2, groups: 1, width: 7, strided: true, cache: .bf16),
        AttentionSample(queries: 5, keys: 13, heads: 2, groups: 1, width: 16, dtype: .bf16, cache: .f32),
        AttentionSample(queries: 1, keys: 1271, heads: 6, groups: 2, width: 64, cache: .bf16, size: .small),
        AttentionSample(queries: 1, keys: 1271, heads: 6, groups: 2, width: 65, dtype: .bf16, size: .small),
    ]
    static let backward: [AttentionSample] =
        forward + dropped + capped + [
            AttentionSample(
                queries: 9, keys: 11, heads: 2, groups: 1, width: 10, accumulate: true, softCap: 1.5),
            AttentionSample(queries: 7, keys: 7, width: 8, softCap: 1.5, wanted: "q"),
            AttentionSample(queries: 7, keys: 7, width: 8, softCap: 1.5, wanted: "k"),
            AttentionSample(
                queries: 9, keys: 11, heads: 2, groups: 1, width: 10, accumulate: true, dropout: 0.3),
            AttentionSample(queries: 7, keys: 7, width: 8, dropout: 0.3, wanted: "q"),
            AttentionSample(queries: 7, keys: 7, width: 8, dropout: 0.3, wanted: "k"),
            AttentionSample(queries: 7, keys: 7, width: 8, dropout: 0.3, wanted: "v"),
            AttentionSample(queries: 9, keys: 11, heads: 2, groups: 1, width: 10, accumulate: true, dtype: .bf16),
            AttentionSample(
                queries: 9, keys: 9, heads: 2, groups: 1, width: 16, strided: true, accumulate: true, dtype: .bf16),
            AttentionSample(queries: 7, keys: 7, width: 8, dtype: .bf16, wanted: "q"),
            AttentionSample(queries: 7, keys: 7, width: 8, dtype: .bf16, wanted: "v"),
            AttentionSample(
                queries: 131, keys: 131, heads: 4, groups: 1, width: 32, strided: true, accumulate: true, dtype: .bf16,
                size: .small),
            AttentionSample(queries: 9, keys: 11, heads: 2, groups: 1, width: 10, accumulate: true),
            AttentionSample(queries: 9, keys: 9, heads: 2, groups: 1, width: 16, strided: true, accumulate: true),
            AttentionSample(queries: 7, keys: 7, width: 8, wanted: "q"),
            AttentionSample(queries: 7, keys: 7, width: 8, wanted: "k"),
            AttentionSample(queries: 7, keys: 7, width: 8, wanted: "v"),
            AttentionSample(
                queries: 131, keys: 131, heads: 4, groups: 1, width: 32, strided: true, accumulate: true, size: .small),
        ]

    var queryShape: [Int] { [batch, queries, heads, width] }
    var keyType: DType { cache ?? dtype }
    var keyShape: [Int] { [batch, keys, groups, width] }
    /// Rows of tokens with numbers of others between them.
    var layout: Layout { strided ? Layout(offset: 4, padding: 12, rowRank: 2) : .dense }
    var scale: Float { sharpness / Float(width).squareRoot() }
    var drawn: Dropout? {
        dropout > 0
            ? Dropout(
                probability: dropout, seed: 0x1234_5678_9ABC_DEF0, stream: Philox.stream("attention/test"),
                firstElement: firstElement) : nil
    }
    /// What a probability is multiplied with: 0 where it is dropped.
    func kept(_ row: Int, _ head: Int, _ query: Int, _ key: Int) -> Double {
        guard let drawn else { return 1 }
        let element = firstElement + ((row * heads + head) * queries + query) * keys + key
        let word = Philox(seed: drawn.seed, stream: drawn.stream).word(UInt64(element))
        return Int(word) >= drawn.threshold ? Double(drawn.scale) : 0
    }

    func spans() -> [Int32] {
        (0..<(ownSpans ? batch : 1)).flatMap { row in
            (0..<queries).flatMap { query -> [Int32] in
                let span = range(row, query)
                return [Int32(span.lowerBound), Int32(span.upperBound)]
            }
        }
    }

    /// Later rows of the batch lose their first key.
    func range(_ row: Int, _ query: Int) -> Range<Int> {
        let span = seen.span(query, queries, keys)
        return ownSpans && row > 0 && span.count > 1 ? (span.lowerBound + 1)..<span.upperBound : span
    }

    func addSpans(to c: inout OpCase) {
        if seen != .all { c.input("spans", ints: spans(), [ownSpans ? batch : 1, queries, 2]) }
    }
}

/// The numbers of a sample and what attention makes of them, in float64.
private struct AttentionReference {
    let s: AttentionSample
    let q: [Float]
    let k: [Float]
    let v: [Float]

    init(_ s: AttentionSample, _ random: inout RandomNumbers) {
        self.s = s
        q = random.normal(s.queryShape.elements).held(by: s.dtype)
        k = random.normal(s.keyShape.elements).held(by: s.keyType)
        v = random.normal(s.keyShape.elements).held(by: s.keyType)
    }

    /// One head of one query: where its numbers begin, which keys it sees and where theirs begin.
    struct Row {
        let at: Int
        let keys: [Int]
        /// Of each of them, what dropout makes of its probability.
        let kept: [Double]
        /// Behind the cap, where there is one.
        let scores: [Double]
        /// Of each, how steep the cap is there.
        let slopes: [Double]
        /// What rounding may do to a score.
        let error: Double
        let logSumExp: Double
    }

    func rows(_ body: (Row) -> Void) {
        let share = s.heads / s.groups
        for row in 0..<s.batch {
            for query in 0..<s.queries {
                for head in 0..<s.heads {
                    let at = ((row * s.queries + query) * s.heads + head) * s.width
                    let range = s.range(row, query)
                    let keys = range.map { ((row * s.keys + $0) * s.groups + head / share) * s.width }
                    var (scores, largest): ([Double], Double) = ([], 0)
                    for key in keys {
                        var (sum, size) = (0.0, 0.0)
                        for d in 0..<s.width {
                            let product = Double(q[at + d]) * Double(k[key + d])
                            sum += product
                            size += abs(product)
                        }
                        scores.append(sum * Double(s.scale))
                        largest = max(largest, size * Double(s.scale))
                    }
                    var slopes = [Double](repeating: 1, count: scores.count)
                    if let cap = s.softCap.map(Double.init) {
                        let bent = scores.map { tanh($0 / cap) }
                        scores = bent.map { $0 * cap }
                        slopes = bent.map { 1 - $0 * $0 }
                        // The kernels' tanh has a relative error of 1.5 · 10⁻⁷, and stands between two products.
                        largest += 2 * (scores.map(abs).max() ?? 0)
                    }
                    let top = scores.max() ?? 0
                    let total = scores.reduce(0) { $0 + exp($1 - top) }
                    body(
                        Row(
                            at: at, keys: keys, kept: range.map { s.kept(row, head, query, $0) }, scores: scores,
                            slopes: slopes,
                            error: eps * largest * (2 + Double(s.width).squareRoot() / 4),
                            logSumExp: keys.isEmpty ? .infinity : top + log(total)))
                }
            }
        }
    }

    /// Answers and log-sum-exps, with what rounding may do to them.
    func answers() -> (y: [Estimate], logSumExp: [Estimate]) {
        var (y, sums): ([Estimate], [Estimate]) = ([], [])
        rows { row in
            let p = zip(row.scores, row.kept).map { exp($0 - row.logSumExp) * $1 }
            // The score's error counts in the exponential and in the sum.
            let share = 2 * row.error + eps * (8 + Double(p.count).squareRoot() / 4)
            for d in 0..<s.width {
                var (sum, size) = (0.0, 0.0)
                for (p, key) in zip(p, row.keys) {
                    sum += p * Double(v[key + d])
                    size += p * abs(Double(v[key + d]))
                }
                y.append(Estimate(sum, share * size))
            }
            let size = row.keys.isEmpty ? 0 : abs(row.logSumExp)
            sums.append(Estimate(row.logSumExp, row.error + eps * (4 + 2 * size)))
        }
        return (y, sums)
    }
}

private func forwardSample(_ s: AttentionSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let reference = AttentionReference(s, &random)
        var c = OpCase()
        c.input("q", reference.q, s.queryShape, s.layout, as: s.dtype)
        c.input("k", reference.k, s.keyShape, s.layout, as: s.keyType)
        c.input("v", reference.v, s.keyShape, s.layout, as: s.keyType)
        s.addSpans(to: &c)
        c.output("y", s.queryShape, s.layout, dtype: s.dtype)
        c.output("logSumExp", [s.batch, s.queries, s.heads])
        c.run(FlashAttention(scale: s.scale, dropout: s.drawn, softCap: s.softCap)) { v in
            .init(
                q: v["q"], k: v["k"], v: v["v"],
                spans: v.optional("spans").map { AttentionSpans(view: $0, pairs: s.queries * s.keys) }, y: v["y"],
                logSumExp: v["logSumExp"])
        }
        c.reference = {
            let (y, sums) = reference.answers()
            return ["y": .near(y).rounded(to: s.dtype), "logSumExp": .near(sums)]
        }
        return c
    }
}

private func backwardSample(_ s: AttentionSample) -> OpSample {
    OpSample(s.text, s.size) { random in
        let reference = AttentionReference(s, &random)
        let dy = random.normal(s.queryShape.elements)
        // What the op gets: answers and sums as the forward pass would have stored them.
        let answers = s.size == .perf ? ([], []) : reference.answers()
        let y = (s.size == .perf ? dy : answers.0.map { Float($0.value) }).held(by: s.dtype)
        let sums =
            s.size == .perf
            ? [Float](repeating: 8, count: s.batch * s.queries * s.heads) : answers.1.map { Float($0.value) }
        func old(_ name: Character, _ shape: [Int]) -> [Float]? {
            s.accumulate && s.wanted.contains(name) ? random.normal(shape.elements) : nil
        }
        let oldQ = old("q", s.queryShape)
        let oldK = old("k", s.keyShape)
        let oldV = old("v", s.keyShape)
        var c = OpCase()
        c.input("q", reference.q, s.queryShape, s.layout, as: s.dtype)
        c.input("k", reference.k, s.keyShape, s.layout, as: s.keyType)
        c.input("v", reference.v, s.keyShape, s.layout, as: s.keyType)
        s.addSpans(to: &c)
        c.input("y", y, s.queryShape, as: s.dtype)
        c.input("logSumExp", sums, [s.batch, s.queries, s.heads])
        c.input("dy", dy, s.queryShape, s.layout)
        if s.wanted.contains("q") { c.result("dq", s.queryShape, s.layout, old: oldQ) }
        if s.wanted.contains("k") { c.result("dk", s.keyShape, s.layout, old: oldK) }
        if s.wanted.contains("v") { c.result("dv", s.keyShape, s.layout, old: oldV) }
        c.run(FlashAttentionBackward(scale: s.scale, dropout: s.drawn, softCap: s.softCap)) { v in
            FlashAttentionBackward.Operands(
                q: v["q"], k: v["k"], v: v["v"],
                spans: v.optional("spans").map { AttentionSpans(view: $0, pairs: s.queries * s.keys) }, y: v["y"],
                logSumExp: v["logSumExp"], dy: v["dy"], dq: v.optional("dq").map { .result($0, old: oldQ) },
                dk: v.optional("dk").map { .result($0, old: oldK) },
                dv: v.optional("dv").map { .result($0, old: oldV) })
        }
        c.reference = {
            var dq = [Estimate](repeating: Estimate(0), count: dy.count)
            var dk = [Estimate](repeating: Estimate(0), count: reference.k.count)
            var dv = dk
            let scale = Double(s.scale)
            let width = 4 + Double(s.width).squareRoot() / 4
            let long = 6 + Double(max(s.keys, s.queries * s.heads / max(1, s.groups))).squareRoot() / 4
            func add(_ sum: inout Estimate, _ term: Double, _ error: Double) {
                sum.value += term
                sum.error += error + eps * long * abs(term)
            }
            reference.rows { row in
                let stored = Double(sums[row.at / s.width])
                var (delta, deltaSize) = (0.0, 0.0)
                for d in 0..<s.width {
                    let product = Double(dy[row.at + d]) * Double(y[row.at + d])
                    delta += product
                    deltaSize += abs(product)
                }
                for (place, key) in row.keys.enumerated() {
                    let (kept, steepness) = (row.kept[place], row.slopes[place])
                    let p = exp(row.scores[place] - stored)
                    let share = row.error + eps * (6 + 2 * abs(stored))
                    var (slope, slopeSize) = (0.0, 0.0)
                    for d in 0..<s.width {
                        let product = Double(dy[row.at + d]) * Double(reference.v[key + d])
                        slope += kept * product
                        slopeSize += kept * abs(product)
                    }
                    // Before the cap; where that is nearly flat, 1 − tanh² is what rounding leaves of it.
                    let whole = p * (slope - delta) * scale
                    let ds = whole * steepness
                    let flat = s.softCap.map { 8 * eps + 2 * row.error / Double($0) } ?? 0
                    let products = p * scale * eps * width * (slopeSize + deltaSize)
                    let error = abs(ds) * share + abs(whole) * flat + products * min(1, steepness + flat)
                    for d in 0..<s.width {
                        let (a, b) = (Double(reference.q[row.at + d]), Double(reference.k[key + d]))
                        let g = Double(dy[row.at + d])
                        add(&dv[key + d], kept * p * g, share * abs(kept * p * g))
                        add(&dk[key + d], ds * a, error * abs(a))
                        add(&dq[row.at + d], ds * b, error * abs(b))
                    }
                }
            }
            var expected: [String: Expected] = [:]
            if s.wanted.contains("q") { expected["dq"] = .near(dq.added(to: oldQ)) }
            if s.wanted.contains("k") { expected["dk"] = .near(dk.added(to: oldK)) }
            if s.wanted.contains("v") { expected["dv"] = .near(dv.added(to: oldV)) }
            return expected
        }
        return c
    }
}

extension OpDescription {
    static let attentions: [OpDescription] = [
        OpDescription(
            "flash_attention", "FlashAttention",
            (AttentionSample.forward + AttentionSample.decoding + AttentionSample.dropped + AttentionSample.capped)
                .map(forwardSample)),
        OpDescription(
            "flash_attention_backward", "FlashAttentionBackward", AttentionSample.backward.map(backwardSample)),
    ]
}
