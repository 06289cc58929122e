import RetortModels

/// One text of a batch: tokens that see each other and nothing else.
struct BatchText {
    /// Where its tokens stand in the batch, row-major.
    let range: Range<Int>
    let tokens: ArraySlice<Int32>
    /// Of each place in the text: its successor is learned.
    let isLearned: [Bool]

    var learned: [Int] { isLearned.indices.filter { isLearned[$0] } }
}

extension LanguageBatch {
    /// The texts, row by row: documents of packed rows, else the rows without their padding.
    var texts: [BatchText] {
        var texts: [BatchText] = []
        for row in 0..<rows {
            let end = (row + 1) * length
            var start = row * length
            while start < end {
                guard valid?[start] ?? true else {
                    start += 1
                    continue
                }
                var stop = start + 1
                while stop < end, valid?[stop] ?? true, documents.map({ $0[stop] == $0[start] }) ?? true { stop += 1 }
                texts.append(
                    BatchText(
                        range: start..<stop, tokens: tokens[start..<stop],
                        isLearned: targets[start..<stop].map { $0 >= 0 }))
                start = stop
            }
        }
        return texts
    }
}
