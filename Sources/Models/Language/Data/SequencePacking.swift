/// How examples become rows. A raw value is the name in a recipe (`packing`).
public enum Packing: String, Sendable, CaseIterable {
    /// An example a row, filled up to the longest of the batch.
    case none
    /// Whole examples behind each other in rows of one length, as many as fit.
    case examples
    /// All examples behind each other, cut into rows of one length: for plain text. No token is lost, none is padding but at the end.
    case split
}

/// A stretch of an example in a row.
struct RowPiece: Equatable {
    let example: Int32
    /// Its tokens `start..<start + count`.
    let start: Int32
    let count: Int32
}

/// The rows of an epoch: of each its pieces, in order. A function of the examples' order and lengths alone.
struct RowPlan: Equatable {
    private(set) var pieces: [RowPiece] = []
    /// Of each row where its pieces begin; one more at the end.
    private(set) var offsets = [0]

    var count: Int { offsets.count - 1 }

    subscript(row: Int) -> ArraySlice<RowPiece> { pieces[offsets[row]..<offsets[row + 1]] }

    private mutating func append(_ row: some Sequence<RowPiece>) {
        pieces += row
        offsets.append(pieces.count)
    }

    /// An example a row.
    static func single(_ order: [Int32], length: (Int32) -> Int) -> RowPlan {
        var plan = RowPlan()
        for example in order {
            plan.append(CollectionOfOne(RowPiece(example: example, start: 0, count: Int32(length(example)))))
        }
        return plan
    }

    /// Each example goes into the first row with room for it, of the last `window` rows begun; else it begins a row.
    /// - Parameter rowLength: tokens; no example is longer.
    static func firstFit(_ order: [Int32], rowLength: Int, window: Int = 64, length: (Int32) -> Int) -> RowPlan {
        var rows: [[RowPiece]] = []
        var room: [Int] = []
        for example in order {
            let count = length(example)
            let piece = RowPiece(example: example, start: 0, count: Int32(count))
            if let row = (max(0, rows.count - window)..<rows.count).first(where: { room[$0] >= count }) {
                rows[row].append(piece)
                room[row] -= count
            } else {
                rows.append([piece])
                room.append(rowLength - count)
            }
        }
        var plan = RowPlan()
        for row in rows { plan.append(row) }
        return plan
    }

    /// All behind each other, cut every `rowLength` tokens. An example's last token predicts nothing and is left out where it would begin
    /// a row.
    static func split(_ order: [Int32], rowLength: Int, length: (Int32) -> Int) -> RowPlan {
        var plan = RowPlan()
        var row: [RowPiece] = []
        var room = rowLength
        for example in order {
            let total = length(example)
            var start = 0
            while start < total {
                if room == rowLength, start > 0, start == total - 1 { break }
                let count = min(room, total - start)
                row.append(RowPiece(example: example, start: Int32(start), count: Int32(count)))
                start += count
                room -= count
                if room == 0 {
                    plan.append(row)
                    row.removeAll(keepingCapacity: true)
                    room = rowLength
                }
            }
        }
        if !row.isEmpty { plan.append(row) }
        return plan
    }
}
