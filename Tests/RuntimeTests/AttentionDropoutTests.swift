import RetortKernels
import RetortRuntime
import TestSupport
import Testing

/// Dropout of attention's probabilities inside of flash attention, beside that of the tensor that the composed attention makes of them.
@Suite("Attention dropout")
struct AttentionDropoutTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        var batch = 2
        let queries: Int
        let keys: Int
        var heads = 4
        var groups = 2
        var width = 8
        let mask: AttentionMask
        var testDescription: String { name }
    }

    static let cases: [Case] = [
        Case(name: "causal, grouped", queries: 13, keys: 13, mask: AttentionMask(isCausal: true)),
        Case(name: "causal, grouped, blocks of four", queries: 72, keys: 72, mask: AttentionMask(isCausal: true)),
        Case(name: "everything", queries: 9, keys: 70, heads: 3, groups: 3, mask: AttentionMask(isCausal: false)),
        Case(
            name: "windows", batch: 1, queries: 75, keys: 75, heads: 2, groups: 1,
            mask: AttentionMask(isCausal: true, window: 6)),
        Case(
            name: "padding", queries: 11, keys: 11,
            mask: AttentionMask(isCausal: false, validKeys: (0..<22).map { $0 >= 3 && $0 < 18 })),
        Case(
            name: "padding in front, causal", queries: 12, keys: 12,
            mask: AttentionMask(isCausal: true, validKeys: (0..<24).map { $0 % 12 >= 2 + $0 / 12 })),
        Case(
            name: "documents", queries: 70, keys: 70,
            mask: AttentionMask(isCausal: true, documents: (0..<140).map { Int32($0 < 9 ? 0 : $0 < 101 ? 1 : 2) })),
        Case(name: "few rows", queries: 1, keys: 37, heads: 4, groups: 1, mask: AttentionMask(isCausal: true)),
    ]

    private static let key = DropoutKey(seed: 11, step: 6, firstSample: 5)

    private func layer(_ probability: Float, _ key: DropoutKey = Self.key) -> DropoutLayer {
        let layer = DropoutLayer("layers.0.attention", probability: probability)
        layer.setDropout(key)
        return layer
    }

    private func numbers(_ count: Int, _ stream: UInt64) -> [Float] {
        Philox(seed: 3, stream: stream).uniforms(count, -1, 1)
    }

    /// Answers `[batch, queries, heads, width]` and the gradients of queries, keys and values.
    private func attend(_ c: Case, flash: Bool, _ dropout: DropoutLayer, _ device: Device, rows: Range<Int>? = nil)
        throws -> [[Float]]
    {
        let rows = rows ?? 0..<c.batch
        func leaf(_ tokens: Int, _ heads: Int, _ stream: UInt64) throws -> (Tensor, Parameter) {
            let size = tokens * heads * c.width
            let all = numbers(c.batch * size, stream)[(rows.lowerBound * size)..<(rows.upperBound * size)]
            return try Tensor.variable(Array(all), [rows.count, tokens, heads, c.width], on: device)
        }
        let leaves = [
            try leaf(c.queries, c.heads, 1), try leaf(c.keys, c.groups, 2), try leaf(c.keys, c.groups, 3),
        ]
        let (q, k, v) = (leaves[0].0, leaves[1].0, leaves[2].0)
        let size = c.queries * c.heads * c.width
        let dy = try Tensor(
            Array(numbers(c.batch * size, 4)[(rows.lowerBound * size)..<(rows.upperBound * size)]),
            [rows.count, c.queries, c.heads, c.width], on: device)
        func part(_ values: [Bool]?) -> [Bool]? {
            values.map { Array($0[(rows.lowerBound * c.keys)..<(rows.upperBound * c.keys)]) }
        }
        let mask = AttentionMask(
            isCausal: c.mask.isCausal, window: c.mask.window, validKeys: part(c.mask.validKeys),
            documents: c.mask.documents.map { Array($0[(rows.lowerBound * c.keys)..<(rows.upperBound * c.keys)]) })
        let y: Tensor
        if flash {
            let spans: AttentionSpans? =
                switch try mask.sight(batch: rows.count, queries: c.queries, keys: c.keys, on: device.compute) {
                case .everything: nil
                case .spans(let spans): spans
                case .holes: throw TensorError("\(c.name) has holes")
                }
            y = try q.flashAttention(keys: k, values: v, scale: 0.9, spans: spans, dropout: dropout)
        } else {
            func byHeads(_ x: Tensor) throws -> Tensor {
                try x.permuted([0, 2, 1, 3]).reshaped([x.shape[0], x.shape[2], x.shape[1], x.shape[3]])
            }
            let bias = try mask.bias(batch: rows.count, queries: c.queries, keys: c.keys, on: device.compute)
            y = try byHeads(q).attention(keys: byHeads(k), values: byHeads(v), scale: 0.9, mask: bias, dropout: dropout)
                .output.permuted([0, 2, 1, 3])
        }
        try y.backward(upstream: dy)
        return [try y.values()] + (try leaves.map { try $0.1.gradientValues() })
    }

    private func expectAlike(_ a: [[Float]], _ b: [[Float]], _ what: String) {
        for (i, name) in ["answers", "queries", "keys", "values"].enumerated() {
            let size = Double(b[i].map(abs).max() ?? 0)
            expectClose(a[i], b[i].map(Double.init), absolute: 4e-6 * size + 1e-7, "\(what), \(name)")
        }
    }

    @Test("flash drops what composed drops: answers and gradients", arguments: cases, TestBackend.available)
    func equalsComposed(_ c: Case, _ backend: TestBackend) throws {
        let device = try backend.device()
        let flash = try attend(c, flash: true, layer(0.3), device)
        expectAlike(flash, try attend(c, flash: false, layer(0.3), device), c.name)
        // It does drop, in every one of them; again, it drops the same; at another step, something else.
        let whole = try attend(c, flash: true, layer(0), device)
        for i in flash.indices { #expect(flash[i] != whole[i], "\(i)") }
        #expect(try attend(c, flash: true, layer(0.3), device) == flash)
        let later = try attend(c, flash: true, layer(0.3, .init(seed: 11, step: 7, firstSample: 5)), device)
        #expect(later[0] != flash[0])
    }

    @Test("a micro-batch drops what its samples drop in the batch", arguments: cases, TestBackend.available)
    func microBatches(_ c: Case, _ backend: TestBackend) throws {
        let device = try backend.device()
        let whole = try attend(c, flash: true, layer(0.3), device)
        var parts = [[Float]](repeating: [], count: 4)
        for row in 0..<c.batch {
            let key = DropoutKey(seed: 11, step: 6, firstSample: 5 + row)
            for (i, part) in try attend(c, flash: true, layer(0.3, key), device, rows: row..<(row + 1)).enumerated() {
                parts[i] += part
            }
        }
        expectAlike(parts, whole, c.name)
    }

    /// Equal scores and values that are unit vectors show the mask itself.
    @Test("the mask is that of the dropout op, to the last bit", arguments: TestBackend.available)
    func mask(_ backend: TestBackend) throws {
        let device = try backend.device()
        // Rows that begin inside of a block of four, and rows that do not; the last number of a step's batch beyond 2³⁴.
        for (keys, first) in [(61, 0), (64, 3), (37, 1 << 27)] {
            let (batch, queries, heads) = (2, 70, 2)
            func zeros(_ shape: Dimensions) throws -> Tensor {
                try Tensor([Float](repeating: 0, count: shape.product), shape, on: device)
            }
            let unit = (0..<(batch * keys * heads * keys)).map { i in
                Float(i % keys == i / (keys * heads) % keys ? 1 : 0)
            }
            let dropout = layer(0.4, .init(seed: (1 << 40) + 7, step: 2, firstSample: first))
            let shown = try zeros([batch, queries, heads, keys]).flashAttention(
                keys: zeros([batch, keys, heads, keys]),
                values: Tensor(unit, [batch, keys, heads, keys], on: device), scale: 1, dropout: dropout)
            let ones = try Tensor(
                [Float](repeating: 1, count: batch * heads * queries * keys), [batch, heads, queries, keys], on: device)
            let drawn = try dropout(ones).permuted([0, 2, 1, 3]).values().map { $0 != 0 }
            #expect(try shown.values().map { $0 != 0 } == drawn, "\(keys)")
            let share = Double(drawn.count { $0 }) / Double(drawn.count)
            #expect(abs(share - 0.6) < 0.03, "\(share)")
        }
    }

    @Test("one projection's queries, keys and values", arguments: TestBackend.available)
    func packed(_ backend: TestBackend) throws {
        let device = try backend.device()
        let values = numbers(2 * 9 * 3 * 2 * 8, 9)
        func run(_ attend: (Tensor) throws -> Tensor) throws -> [[Float]] {
            let (x, leaf) = try Tensor.variable(values, [2, 9, 3, 2, 8], on: device)
            let y = try attend(x)
            try y.squared().sum().backward()
            return [try y.values(), try leaf.gradientValues()]
        }
        let packed = try run { try $0.packedAttention(scale: 0.5, dropout: layer(0.3)) }
        let apart = try run { x in
            let parts = try (0..<3).map { try x.narrowed(axis: 2, $0..<($0 + 1)).reshaped([2, 9, 2, 8]) }
            return try parts[0].flashAttention(keys: parts[1], values: parts[2], scale: 0.5, dropout: layer(0.3))
        }
        #expect(packed == apart)
        #expect(try run { try $0.packedAttention(scale: 0.5) } != packed)
    }

    @Test("memory grows with the length, not with its square", arguments: TestBackend.fast)
    func memory(_ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        func peak(_ length: Int) throws -> Int {
            let (q, _) = try Tensor.variable(numbers(length * 32, 1), [1, length, 4, 8], on: device)
            device.compute.resetPeakMemory()
            let before = device.compute.memory.live
            let y = try q.flashAttention(
                keys: q.narrowed(axis: 2, 0..<2), values: q.narrowed(axis: 2, 2..<4), scale: 0.3, dropout: layer(0.1))
            try y.squared().sum().backward()
            return device.compute.memory.peak - before
        }
        let (short, long) = (try peak(256), try peak(1024))
        #expect(long < 5 * short, "\(short) bytes for 256 tokens, \(long) for 1024")
    }

    @Test("what cannot be dropped, and a step that nobody named")
    func refused() throws {
        let device = try TestBackend.cpu.device()
        let q = try Tensor([Float](repeating: 0, count: 8), [1, 1, 1, 8], on: device)
        let unset = DropoutLayer("layers.3.attention", probability: 0.1)
        let error = thrown(TensorError.self) {
            _ = try q.flashAttention(keys: q, values: q, scale: 1, dropout: unset)
        }
        #expect(error?.description.contains("layers.3.attention") == true)
        let sums = try device.compute.empty([1, 1, 1])
        let all = thrown(KernelError.self) {
            try run(
                FlashAttention(scale: 1, dropout: Dropout(probability: 1, seed: 1, stream: 1)),
                .init(q: q.view, k: q.view, v: q.view, spans: nil, y: q.view, logSumExp: sums), on: device.compute)
        }
        #expect(all?.message.contains("probability 1.0 is outside [0, 1)") == true, "\(all?.message ?? "")")
    }
}
