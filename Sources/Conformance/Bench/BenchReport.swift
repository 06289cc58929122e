import RetortKernels
import RetortSupport

/// Everything one `retort bench` found out.
public struct BenchReport: Sendable {
    public var facts: [(key: String, value: String)]
    public var roof: Roof?
    public var rows: [BenchRow] = []
    public var comparisons: [Comparison] = []
    public var changes: [BaselineChange] = []

    public init(facts: [(key: String, value: String)], roof: Roof?) {
        self.facts = facts
        self.roof = roof
    }

    /// Rows whose numbers are wrong.
    public var wrong: [BenchRow] { rows.filter { !$0.isRight } }

    public var json: JSON {
        var ceilings: [(key: String, value: JSON)] = []
        if let roof {
            ceilings = [
                ("copy_gbps", .double(rounded(roof.copyBandwidth * 1e-9))),
                ("fma_gflops", .double(rounded(roof.arithmetic * 1e-9))),
                ("launch_us", .double(rounded(roof.launch * 1e6))),
            ]
            if let units = roof.matrixArithmetic {
                ceilings.append(("matrix_bf16_gflops", .double(rounded(units * 1e-9))))
            }
        }
        return [
            "ceilings": .object(ceilings), "rows": .array(rows.map(\.json)),
            "comparisons": .array(comparisons.map(\.json)),
            "facts": .object(facts.map { (key: $0.key, value: .string($0.value)) }),
        ]
    }

    public var csv: String {
        ([BenchRow.columns.joined(separator: ",")] + rows.map(\.csv)).joined(separator: "\n") + "\n"
    }

    // MARK: Tables

    public var text: String {
        var parts = [header]
        if !rows.isEmpty { parts.append(rowTable) }
        if !comparisons.isEmpty { parts.append(comparisonTable) }
        if !changes.isEmpty { parts.append(changeTable) }
        return parts.joined(separator: "\n")
    }

    private var header: String {
        var lines = facts.filter { !$0.value.isEmpty }.map { "\($0.key): \($0.value)" }
        if let roof {
            lines.append(
                "ceilings: copy \(fixed(roof.copyBandwidth * 1e-9, 1)) GB/s, fp32 \(fixed(roof.arithmetic * 1e-9, 0)) GFLOP/s, "
                    + (roof.matrixArithmetic.map { "bf16 on matrix units \(fixed($0 * 1e-9, 0)) GFLOP/s, " } ?? "")
                    + "launch \(fixed(roof.launch * 1e6, 1)) µs")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private var rowTable: String {
        var table = Table(
            columns: BenchRow.columns.enumerated().map { ($1, $0 < 5 ? .left : .right) } + [("", .left)])
        for row in rows {
            var note = row.isRight ? [] : ["WRONG"]
            if row.others > QuietWait.threshold {
                note.append("others took \(NumberFormat.percent(row.others, decimals: 0))")
            }
            if let tokens = row.more["tokens_per_second"] { note.append("\(fixed(tokens, 0)) tokens/s") }
            if let peak = row.more["peak_bytes"] { note.append("peak \(fixed(peak / 1e6, 1)) MB") }
            if let share = row.more["products_share"] {
                note.append("products \(NumberFormat.percent(share, decimals: 0))")
            }
            if let bytes = row.more["extra_bytes"] { note.append("\(NumberFormat.bytes(Int(bytes))) more memory") }
            if let speed = row.more["mb_per_second"] { note.append("\(fixed(speed, 1)) MB/s") }
            if let ratio = row.more["letter_ratio"] { note.append("\(fixed(ratio, 2)) × the time of prose") }
            if let pictures = row.more["images_per_second"], let step = row.more["step_images_per_second"] {
                note.append("\(fixed(pictures, 0)) images/s, the step \(fixed(step, 0))")
            }
            if let verdict = row.verdict { note.append(verdict.description) }
            table.add([
                row.kernel, row.shape, row.dtype, row.device, row.family, time(row.time.median), time(row.time.p20),
                time(row.time.p80), row.gflops.map { fixed($0, 1) } ?? "-", row.gbps.map { fixed($0, 1) } ?? "-",
                row.roof.map { fixed($0, 2) + (row.isCached ? " cache" : "") } ?? "-",
                row.maxRelErr.map { NumberFormat.significant($0, digits: 2) } ?? "-",
                note.joined(separator: ", "),
            ])
        }
        return table.text + Self.roofLegend
    }

    private static let roofLegend =
        "roof: share of the smaller of the ceilings that bound the kernel; cache: above the ceiling of a copy of arrays beyond all caches, for "
        + "what the kernel reads or writes lay in one (a product's 1.0x can be the noise of its ceiling)\n"

    private var comparisonTable: String {
        var table = Table(
            columns: Comparison.columns.enumerated().map { ($1, $0 < 2 ? .left : .right) } + [("", .left)])
        for c in comparisons {
            table.add([
                c.name, c.shape, time(c.ours), time(c.theirs), fixed(c.ratio.median, 2), fixed(c.ratio.p20, 2),
                fixed(c.ratio.p80, 2), "\(c.rounds)", c.goal.map { NumberFormat.significant($0) } ?? "-",
                [c.isMet.map { $0 ? "met" : "NOT met" } ?? "", c.speeds ?? "", c.memory?.description ?? ""].filter {
                    !$0.isEmpty
                }
                .joined(separator: ", "),
            ])
        }
        return table.text + "ratio: theirs / ours, median over rounds; above 1 we are faster\n"
    }

    private var changeTable: String {
        var table = Table(columns: [
            ("kernel", .left), ("shape", .left), ("device", .left), ("before_us", .right), ("now_us", .right),
            ("ratio", .right),
            ("", .left),
        ])
        for change in changes {
            table.add([
                change.row.kernel, change.row.shape, change.row.device, change.before.map { time($0.median) } ?? "-",
                time(change.row.time.median), change.ratio.map { fixed($0, 2) } ?? "-", change.verdict.rawValue,
            ])
        }
        return table.text
            + "ratio: before / now; faster and slower only where the spans from p20 to p80 do not overlap\n"
    }

    private func fixed(_ value: Double, _ decimals: Int) -> String { NumberFormat.fixed(value, decimals: decimals) }
    private func time(_ microseconds: Double) -> String { fixed(microseconds, microseconds < 1000 ? 1 : 0) }
}
