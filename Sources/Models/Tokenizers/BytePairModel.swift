import RetortSupport

/// Byte-pair encoding: a word's symbols are merged, the earliest learned pair first, until no pair is left that was learned.
/// (Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units", 2016.)
struct BytePairModel: TokenModel {
    /// What a word is spelled with before merging.
    enum Alphabet: Sendable {
        /// Bytes; the id of each, -1 for one without.
        case bytes([Int32])
        case scalars(ScalarAlphabet)
        /// Of a tokenizer.model.
        case pieces(PieceAlphabet)
    }

    struct ScalarAlphabet: Sendable {
        var ascii = [Int32](repeating: -1, count: 128)
        var others: [UInt32: Int32] = [:]
        /// Written before every character but the first, behind the last.
        var prefix: [UInt8] = []
        var suffix: [UInt8] = []
        /// The ids of `<0x00>` to `<0xFF>`, for characters without an id; empty without byte fallback.
        var byteFallback: [Int32?] = []
    }

    let vocabulary: Vocabulary
    let merges: MergeTable
    let rankCount: Int
    var alphabet: Alphabet
    /// For characters without an id; without it they are left out.
    let unknown: Int32?
    /// Unknown characters in a row count as one.
    let fusesUnknown: Bool
    /// A word that is a token is not cut.
    let ignoresMerges: Bool

    /// Up to this many symbols the smallest rank is looked for one by one.
    private static let shortWord = 40

    func append(_ word: Bytes, to ids: inout [Int32], _ scratch: inout ModelScratch) {
        if ignoresMerges, let id = wholeWord(word) { return ids.append(id) }
        scratch.symbols.removeAll(keepingCapacity: true)
        spell(word, into: &scratch.symbols)
        if scratch.symbols.count > Self.shortWord {
            scratch.queue.merge(&scratch.symbols, merges, rankCount: rankCount)
        } else if scratch.symbols.count > 1 {
            mergeShort(&scratch.symbols, &scratch.ranks)
        }
        if case .pieces(let alphabet) = alphabet, alphabet.needsResolving,
            scratch.symbols.contains(where: alphabet.isUnfinished)
        {
            return ids += resolved(word, alphabet, &scratch)
        }
        ids += scratch.symbols
    }

    /// The ids of a word in which merging made a piece that is not used: taken apart into what it was last seen to be made of.
    private func resolved(_ word: Bytes, _ alphabet: PieceAlphabet, _ scratch: inout ModelScratch) -> [Int32] {
        var symbols: [Int32] = []
        spell(word, into: &symbols)
        let parts = symbols.count > 1 ? scratch.queue.mergeNotingParts(&symbols, merges, rankCount: rankCount) : [:]
        return alphabet.resolve(symbols, parts, vocabulary)
    }

    private func wholeWord(_ word: Bytes) -> Int32? {
        guard case .bytes = alphabet else { return vocabulary.find(word) }
        return ByteAlphabet.spell(word).withUnsafeBufferPointer { vocabulary.find($0) }
    }

    private func mergeShort(_ symbols: inout [Int32], _ ranks: inout [UInt32]) {
        merges.withLookup { lookup in
            ranks.removeAll(keepingCapacity: true)
            for index in 1..<symbols.count { ranks.append(lookup(symbols[index - 1], symbols[index]).rank) }
            while !ranks.isEmpty {
                var place = 0
                for index in 1..<max(ranks.count, 1) where ranks[index] < ranks[place] { place = index }
                guard ranks[place] != MergeTable.noRank else { return }
                symbols[place] = lookup(symbols[place], symbols[place + 1]).result
                symbols.remove(at: place + 1)
                ranks.remove(at: place)
                if place < ranks.count { ranks[place] = lookup(symbols[place], symbols[place + 1]).rank }
                if place > 0 { ranks[place - 1] = lookup(symbols[place - 1], symbols[place]).rank }
            }
        }
    }

    /// The ids of the word's characters.
    private func spell(_ word: Bytes, into symbols: inout [Int32]) {
        switch alphabet {
        case .bytes(let table): spell(word, table, into: &symbols)
        case .scalars(let alphabet): spell(word, alphabet, into: &symbols)
        case .pieces(let alphabet): alphabet.spell(word, into: &symbols)
        }
    }

    private func spell(_ word: Bytes, _ table: [Int32], into symbols: inout [Int32]) {
        var pending = false
        table.withUnsafeBufferPointer { table in
            for byte in word {
                let id = table[Int(byte)]
                if id >= 0 {
                    flush(&pending, into: &symbols)
                    symbols.append(id)
                } else {
                    addUnknown(&pending, into: &symbols)
                }
            }
        }
        flush(&pending, into: &symbols)
    }

    private func spell(_ word: Bytes, _ alphabet: ScalarAlphabet, into symbols: inout [Int32]) {
        var pending = false
        var position = 0
        while position < word.count {
            let (scalar, length) = word.scalar(at: position)
            let id = id(of: word, position..<position + length, scalar, alphabet)
            if id >= 0 {
                flush(&pending, into: &symbols)
                symbols.append(id)
            } else if let bytes = fallback(word, position..<position + length, alphabet) {
                // A pending unknown stays behind them, as in the reference implementation.
                symbols += bytes
            } else {
                addUnknown(&pending, into: &symbols)
            }
            position += length
        }
        flush(&pending, into: &symbols)
    }

    private func id(of word: Bytes, _ range: Range<Int>, _ scalar: Unicode.Scalar, _ alphabet: ScalarAlphabet) -> Int32
    {
        if alphabet.prefix.isEmpty, alphabet.suffix.isEmpty {
            if scalar.value < 0x80 { return alphabet.ascii[Int(scalar.value)] }
            return alphabet.others[scalar.value] ?? -1
        }
        var text = range.lowerBound > 0 ? alphabet.prefix : []
        text += word[range]
        if range.upperBound == word.count { text += alphabet.suffix }
        return text.withUnsafeBufferPointer { vocabulary.find($0) } ?? -1
    }

    private func fallback(_ word: Bytes, _ range: Range<Int>, _ alphabet: ScalarAlphabet) -> [Int32]? {
        guard !alphabet.byteFallback.isEmpty else { return nil }
        var ids: [Int32] = []
        // With the prefix and suffix, which belong to the character here.
        let spelled =
            (range.lowerBound > 0 ? alphabet.prefix : []) + word[range]
            + (range.upperBound == word.count ? alphabet.suffix : [])
        for byte in spelled {
            guard let id = alphabet.byteFallback[Int(byte)] else { return nil }
            ids.append(id)
        }
        return ids
    }

    private func addUnknown(_ pending: inout Bool, into symbols: inout [Int32]) {
        guard let unknown else { return }
        if pending, !fusesUnknown { symbols.append(unknown) }
        pending = true
    }

    private func flush(_ pending: inout Bool, into symbols: inout [Int32]) {
        if pending, let unknown { symbols.append(unknown) }
        pending = false
    }
}
