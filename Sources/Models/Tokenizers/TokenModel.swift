/// Cuts one word into tokens.
protocol TokenModel: Sendable {
    /// Appends the ids of `word`, which is not empty.
    /// - Throws: `RetortError` 65 for a word that it has no ids for, unknown ones included.
    func append(_ word: Bytes, to ids: inout [Int32], _ scratch: inout ModelScratch) throws
}

/// Memory that models use again and again. Belongs to one thread at a time.
struct ModelScratch {
    var symbols: [Int32] = []
    var ranks: [UInt32] = []
    var queue = MergeQueue()
    var lattice = UnigramModel.Lattice()
}
