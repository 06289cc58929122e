/// "Did you mean": the nearest known key to a mistyped one.
public enum EditDistance {
    /// Words longer than this are not compared: the cost is the product of the lengths.
    private static let maximumLength = 128

    /// The number of insertions, deletions, replacements and swaps of neighbours that turn `first` into `second`
    /// (optimal string alignment), counted in Unicode scalars.
    public static func between(_ first: String, _ second: String) -> Int {
        let rows = Array(first.unicodeScalars)
        let columns = Array(second.unicodeScalars)
        guard !rows.isEmpty else { return columns.count }
        guard !columns.isEmpty else { return rows.count }
        var beforePrevious = [Int](repeating: 0, count: columns.count + 1)
        var previous = Array(0...columns.count)
        var current = previous
        for row in 1...rows.count {
            current[0] = row
            for column in 1...columns.count {
                let isSame = rows[row - 1] == columns[column - 1]
                var cost = min(previous[column] + 1, current[column - 1] + 1, previous[column - 1] + (isSame ? 0 : 1))
                if row > 1, column > 1, rows[row - 1] == columns[column - 2], rows[row - 2] == columns[column - 1] {
                    cost = min(cost, beforePrevious[column - 2] + 1)
                }
                current[column] = cost
            }
            (beforePrevious, previous, current) = (previous, current, beforePrevious)
        }
        return previous[columns.count]
    }

    /// The candidate nearest to `word`, ignoring case, when it is near enough to suggest: at most 2 edits or a third
    /// of the word's length, and fewer edits than the word has letters. The first of equals wins.
    public static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let length = word.unicodeScalars.count
        guard length > 0, length <= maximumLength else { return nil }
        let limit = min(max(2, length / 3), length - 1)
        let lowercased = word.lowercased()
        var best: (candidate: String, distance: Int)?
        for candidate in candidates {
            let candidateLength = candidate.unicodeScalars.count
            guard candidateLength <= maximumLength, abs(candidateLength - length) <= max(limit, 0) else { continue }
            let distance = between(lowercased, candidate.lowercased())
            if distance <= limit, distance < best?.distance ?? Int.max { best = (candidate, distance) }
        }
        return best?.candidate
    }

    /// "did you mean 'x'?" or, when nothing is near, the list of what there is (at most `limit` entries).
    public static func suggestion(for word: String, among candidates: [String], limit: Int = 20) -> String {
        if let nearest = nearest(to: word, among: candidates) { return "Did you mean \(nearest.quoted())?" }
        guard !candidates.isEmpty else { return "" }
        let shown = candidates.prefix(limit).map { $0.quoted() }.joined(separator: ", ")
        return "There is: " + shown + (candidates.count > limit ? ", … (\(candidates.count) in all)." : ".")
    }
}
