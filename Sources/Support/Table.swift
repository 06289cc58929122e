/// A plain text table: a header line, aligned columns two spaces apart, no frames. Widths count Unicode scalars.
public struct Table: Sendable {
    public enum Alignment: Sendable {
        case left, right
    }

    private let headers: [String]
    private let alignments: [Alignment]
    private var rows: [[String]] = []

    /// - Parameter columns: header and alignment of each column (numbers read best to the right).
    public init(columns: [(header: String, alignment: Alignment)]) {
        headers = columns.map(\.header)
        alignments = columns.map(\.alignment)
    }

    /// Adds a row; missing cells are empty, cells beyond the last column are dropped.
    public mutating func add(_ cells: [String]) {
        let missing = max(headers.count - cells.count, 0)
        rows.append(cells.prefix(headers.count).map(\.displayable) + Array(repeating: "", count: missing))
    }

    /// The table, each line ended by a newline, without trailing spaces.
    public var text: String {
        let lines = [headers] + rows
        let widths = headers.indices.map { column in lines.map { $0[column].unicodeScalars.count }.max() ?? 0 }
        return lines.map { cells in
            var line = ""
            for column in cells.indices {
                let padding = String(repeating: " ", count: widths[column] - cells[column].unicodeScalars.count)
                if column > 0 { line += "  " }
                line += alignments[column] == .right ? padding + cells[column] : cells[column] + padding
            }
            while line.last == " " { line.removeLast() }
            return line + "\n"
        }.joined()
    }
}
