/// The numbers that attention.cl's kernels get, and how their work is cut. A pure function of the shape and the device's units.
struct AttentionPlan {
    private let q: View
    private let k: View
    private let v: View
    private let spans: AttentionSpans?
    private let dropout: Dropout?
    private let softCap: Float?

    /// Rows and keys of a tile: `vector` and the CPU take up to 96 rows × 64 keys (ATTENTION_BLOCK, ATTENTION_TILE), `simt` 64 × 64.
    static let block = 96
    static let tile = 64
    static let side = 64

    init(q: View, k: View, v: View, spans: AttentionSpans?, dropout: Dropout?, softCap: Float?) {
        self.q = q
        self.k = k
        self.v = v
        self.spans = spans
        self.dropout = dropout.flatMap { $0.probability > 0 ? $0 : nil }
        self.softCap = softCap
    }

    var batch: Int { q.shape[0] }
    var queries: Int { q.shape[1] }
    var heads: Int { q.shape[2] }
    var width: Int { q.shape[3] }
    var keys: Int { k.shape[1] }
    var groups: Int { k.shape[2] }
    var drops: Bool { dropout != nil }
    var caps: Bool { softCap != nil }
    /// What is computed apart from everything else: a group of a row of the batch.
    var units: Int { batch * groups }
    /// Queries of all heads that share a group's keys.
    var rows: Int { queries * (heads / groups) }
    /// Rows of all groups: `[batch, queries, heads]`.
    var allRows: Int { batch * queries * heads }
    /// Numbers of everything like k.
    var keyNumbers: Int { batch * keys * groups * width }
    /// Multiply-adds of one product of the forward pass.
    var work: Int { batch * heads * width * (spans?.pairs ?? queries * keys) }

    private var padded: Int { width.roundedUp(to: 16) }
    /// Floats for a tile of keys or values that is widened.
    private var widened: Int { k.dtype == .bf16 ? Self.tile * padded : 0 }
    var forwardSlot: Int { (2 * padded + Self.tile + 3) * Self.block + widened }
    var backwardSlot: Int {
        ((5 * padded + 2 * Self.tile + 3) * Self.block + Self.tile * padded + widened).roundedUp(to: 16)
    }

    /// Pieces of the keys that are attended to apart, where blocks of rows alone would leave units of the device idle: a token at a time
    /// has one block.
    func splits(blockRows: Int, workers: Int) -> Int {
        let items = units * rows.dividedUp(by: blockRows)
        guard items > 0, items < workers else { return 1 }
        return max(1, min(workers.dividedUp(by: items), keys / 256, 64))
    }

    /// Parts of the rows whose dk and dv are summed apart: the fewest that keep all workers busy most of the time.
    func chunks(_ pieces: Int, blockRows: Int, workers: Int) -> Int {
        let most = max(1, min(8, rows.dividedUp(by: blockRows)))
        func idle(_ chunks: Int) -> Double {
            let items = pieces * chunks
            return Double(items.dividedUp(by: workers) * workers) / Double(max(1, items))
        }
        return (1...most).first { idle($0) <= 1.2 } ?? most
    }

    struct Gradients {
        var dy: View?
        var dq: Output?
        var dk: Output?
        var dv: Output?
        var chunks = 1

        /// dk and dv of chunks: one behind the other in memory of their own, summed later.
        mutating func share(_ storage: Storage, _ plan: AttentionPlan) {
            let size = chunks * plan.keyNumbers
            if dk != nil { dk = .write(View(storage: storage, shape: plan.k.shape)) }
            if dv != nil { dv = .write(View(storage: storage, offset: size, shape: plan.k.shape)) }
        }
    }

    var inputs: [View] { [q, k, v] }
    /// What is like q, in f32 and memory of its own.
    func dense(_ storage: Storage) -> View { View(storage: storage, shape: q.shape) }
    /// All chunks of a dk or dv, from its first.
    func parts(_ first: View, _ chunks: Int) -> View {
        View(storage: first.storage, offset: first.offset, shape: [chunks, keyNumbers])
    }

    /// The fields of attention.cl's AttentionShape, in its order.
    func fields(y: View, splits: Int = 1, _ gradients: Gradients = Gradients()) -> [Int] {
        func strides(_ view: View?) -> [Int] { view.map { Array($0.strides.prefix(3)) } ?? [0, 0, 0] }
        func half(_ view: View) -> Int { view.dtype == .bf16 ? 1 : 0 }
        func mode(_ output: Output?) -> Int { output.map { $0.mode == .write ? 1 : 2 } ?? 0 }
        let spanRow = spans.map { $0.view.shape[0] == 1 ? 0 : 2 * queries } ?? 0
        let chunk = gradients.chunks > 1 ? keyNumbers : 0
        let drawing = dropout?.attentionFields ?? [0, 0, 0, 0, 0, 0]
        let cap = softCap.map { Int($0.bitPattern) } ?? 0
        return [batch, queries, keys, heads, groups, width, spans == nil ? 0 : 1, spanRow]
            + strides(q) + strides(k) + strides(v) + strides(y) + strides(gradients.dy)
            + strides(gradients.dq?.view) + strides(gradients.dk?.view) + strides(gradients.dv?.view)
            + [splits, splits > 1 ? allRows * width : 0, gradients.chunks, chunk, chunk]
            + [mode(gradients.dq), mode(gradients.dk), mode(gradients.dv)] + [half(q), half(k), half(y)]
            + drawing + [cap]
    }

    /// dk or dv of all chunks `[chunks, numbers]`, to be summed in order into what is seen as `[1, numbers]`.
    func sum(_ parts: View, into view: View, _ mode: WriteMode) -> Reduce.Operands {
        Reduce.Operands(x: parts, axis: 0, y: Output(view.reshaped([1, keyNumbers]), mode))
    }
}

extension Dropout {
    fileprivate var attentionFields: [Int] {
        [
            1, Int(bitPattern: UInt(seed)), Int(bitPattern: UInt(stream)), firstElement, threshold,
            Int(scale.bitPattern),
        ]
    }
}
