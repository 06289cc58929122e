import RetortKernels
import RetortRuntime
import TestSupport
import Testing

/// What queries see, as spans and as the numbers that are added to scores.
@Suite("Attention masks")
struct AttentionMaskTests {
    /// Pairs that a mask lets see each other, by its bias: `[rows, queries, keys]`.
    private func seen(_ mask: AttentionMask, _ batch: Int, _ queries: Int, _ keys: Int, _ device: Device) throws
        -> [Bool]
    {
        guard let bias = try mask.bias(batch: batch, queries: queries, keys: keys, on: device.compute) else {
            return [Bool](repeating: true, count: batch * queries * keys)
        }
        let values = try bias.values().map { $0 == 0 }
        return bias.shape[0] == batch ? values : (0..<batch).flatMap { _ in values }
    }

    private func spans(_ mask: AttentionMask, _ batch: Int, _ queries: Int, _ keys: Int, _ device: Device) throws
        -> [Bool]?
    {
        switch try mask.sight(batch: batch, queries: queries, keys: keys, on: device.compute) {
        case .holes: return nil
        case .everything: return [Bool](repeating: true, count: batch * queries * keys)
        case .spans(let spans):
            let ends = try device.compute.read(spans.view, as: Int32.self).map(Int.init)
            let rows = spans.view.shape[0]
            let all = (0..<batch).flatMap { row in
                (0..<queries).flatMap { query in
                    let at = 2 * ((rows == 1 ? 0 : row) * queries + query)
                    return (0..<keys).map { $0 >= ends[at] && $0 < ends[at + 1] }
                }
            }
            #expect(spans.pairs == all.count { $0 } / batch)
            return all
        }
    }

    @Test("spans say what the bias says")
    func spansAgree() throws {
        let device = try TestBackend.cpu.device()
        let paddings: [[Bool]?] = [
            nil, [true, true, true, true, true, false, true, true, true, false, false, false],
            [false, false, true, true, true, true, false, false, false, false, false, true],
            [Bool](repeating: true, count: 12),
            [false, false, false, false, false, false, true, true, true, true, true, true],
        ]
        let packings: [[Int32]?] = [nil, [0, 0, 1, 1, 1, 2, 5, 5, 5, 5, 4, 4], [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]]
        var cases = 0
        for valid in paddings {
            for documents in packings {
                for (isCausal, window) in [(false, nil), (true, nil), (true, 2), (true, 1)] as [(Bool, Int?)] {
                    for queries in [6, 1, 4] {
                        let mask = AttentionMask(
                            isCausal: isCausal, window: window, validKeys: valid, documents: documents)
                        let found = try #require(try spans(mask, 2, queries, 6, device), "\(mask)")
                        #expect(try found == seen(mask, 2, queries, 6, device), "\(mask) \(queries)")
                        cases += 1
                    }
                }
            }
        }
        #expect(cases == 180)
    }

    @Test("padding in the middle and documents in two pieces are not spans")
    func holes() throws {
        let device = try TestBackend.cpu.device()
        let middle = AttentionMask(isCausal: true, validKeys: [true, false, true, true])
        #expect(try spans(middle, 1, 4, 4, device) == nil)
        // Seen through a window or from one place only, it has none.
        let near = AttentionMask(isCausal: true, window: 2, validKeys: [true, false, true, true])
        #expect(try spans(near, 1, 4, 4, device) == seen(near, 1, 4, 4, device))
        let torn = AttentionMask(isCausal: true, documents: [1, 2, 1, 1])
        #expect(try spans(torn, 1, 4, 4, device) == nil)
    }

    @Test("masks and operands that do not fit")
    func refused() throws {
        let device = try TestBackend.cpu.device()
        let compute = device.compute
        for mask in [
            AttentionMask(isCausal: true, validKeys: [true]), AttentionMask(isCausal: true, documents: [1]),
            AttentionMask(isCausal: true, window: 0), AttentionMask(isCausal: false, window: 2),
        ] {
            #expect(thrown(TensorError.self) { _ = try mask.sight(batch: 1, queries: 4, keys: 4, on: compute) } != nil)
            #expect(thrown(TensorError.self) { _ = try mask.bias(batch: 1, queries: 4, keys: 4, on: compute) } != nil)
        }
        func error(
            _ q: Dimensions, _ k: Dimensions, scale: Float = 1, softCap: Float? = nil, spans: [Int32]? = nil
        ) throws -> String {
            func zeros(_ shape: Dimensions) throws -> Tensor {
                try Tensor([Float](repeating: 0, count: shape.product), shape, on: device)
            }
            let spans = try spans.map {
                AttentionSpans(view: try compute.view($0, [1, $0.count / 2, 2], .i32), pairs: 1)
            }
            let error = thrown(KernelError.self) {
                _ = try zeros(q).flashAttention(
                    keys: zeros(k), values: zeros(k), scale: scale, spans: spans, softCap: softCap)
            }
            return try #require(error).message
        }
        #expect(try error([1, 2, 1, 257], [1, 2, 1, 257]).contains("up to 256"))
        #expect(try error([1, 2, 3, 8], [1, 2, 2, 8]).contains("heads divide"))
        #expect(try error([1, 2, 2, 8], [1, 2, 2, 16]).contains("heads divide"))
        #expect(try error([1, 2, 2, 8], [2, 2, 2, 8]).contains("heads divide"))
        #expect(try error([1, 2, 2, 8], [1, 2, 2, 8], scale: 0).contains("scale"))
        #expect(try error([1, 2, 2, 8], [1, 2, 2, 8], softCap: 0).contains("soft cap"))
        #expect(try error([1, 2, 2, 8], [1, 2, 2, 8], spans: [0, 1]).contains("spans"))
    }

    @Test("memory grows with the length, not with its square", arguments: TestBackend.fast)
    func memory(_ backend: TestBackend) throws {
        let device = try backend.ownDevice()
        func peak(_ length: Int) throws -> Int {
            let (q, _) = try Tensor.variable(
                (0..<(length * 32)).map { Float($0 % 7) / 7 }, [1, length, 4, 8], on: device)
            device.compute.resetPeakMemory()
            let before = device.compute.memory.live
            let y = try q.flashAttention(
                keys: q.narrowed(axis: 2, 0..<2), values: q.narrowed(axis: 2, 2..<4), scale: 0.3)
            try y.squared().sum().backward()
            return device.compute.memory.peak - before
        }
        let (short, long) = (try peak(256), try peak(1024))
        #expect(long < 5 * short, "\(short) bytes for 256 tokens, \(long) for 1024")
    }
}
