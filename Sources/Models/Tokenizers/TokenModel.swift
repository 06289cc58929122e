/// Cuts one word into tokens.
protocol TokenModel: Sendable {
    /// Appends the ids of `word`, which is not empty.
    func append(_ word: Bytes, to ids: inout [Int32], _ scratch: inout ModelScratch)
}

/// Memory that models use again and again. Belongs to one thread at a time.
struct ModelScratch {
    var symbols: [Int32] = []
    var ranks: [UInt32] = []
    var queue = MergeQueue()
}
