/// Rows that are read one after the other, as often as they are asked for: they are never all in memory.
struct RowStream<Row> {
    private let read: (_ body: (Row) throws -> Void) throws -> Void

    /// - Parameter read: calls `body` with each row.
    init(_ read: @escaping (_ body: (Row) throws -> Void) throws -> Void) { self.read = read }

    /// Rows that are there.
    init(_ rows: [Row]) {
        self.init { body in for row in rows { try body(row) } }
    }

    func forEach(_ body: (Row) throws -> Void) throws { try read(body) }

    /// Two parts of it: each n-th row, the first among them, and the others.
    func parted(every: Int) -> (others: RowStream, each: RowStream) {
        func part(_ isEach: Bool) -> RowStream {
            RowStream { body in
                var number = 0
                try forEach { row in
                    if (number % every == 0) == isEach { try body(row) }
                    number += 1
                }
            }
        }
        return (part(false), part(true))
    }
}
