import RetortSupport

/// What became of one row since an earlier run.
public struct BaselineChange: Sendable, Equatable {
    public enum Verdict: String, Sendable {
        case faster, slower
        /// The spans from p20 to p80 overlap.
        case same
        case new
    }
    public let row: BenchRow
    public let before: Spread?

    public init(row: BenchRow, before: Spread?) {
        self.row = row
        self.before = before
    }

    /// before / now: above 1 is faster.
    public var ratio: Double? { before.map { $0.median / row.time.median } }

    public var verdict: Verdict {
        guard let before else { return .new }
        if row.time.p20 > before.p80 { return .slower }
        return row.time.p80 < before.p20 ? .faster : .same
    }
}

/// The rows of an earlier `--json`.
public struct Baseline: Sendable {
    private let rows: [String: Spread]

    public init(_ rows: [BenchRow]) {
        self.rows = Dictionary(rows.map { ($0.key, $0.time) }) { first, _ in first }
    }

    /// - Throws: exit 66 when the file is not there, 65 when it is no `retort bench --json`.
    public init(path: String) throws {
        let json = JSONCursor(
            try JSON.read(path, limits: .init(bytes: 16 << 20, depth: 16, values: 1_000_000)), file: path)
        self.init(try json.member("rows").elements().map { try BenchRow($0) })
    }

    public func changes(_ rows: [BenchRow]) -> [BaselineChange] {
        rows.map { BaselineChange(row: $0, before: self.rows[$0.key]) }
    }
}
