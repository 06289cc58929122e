import RetortSupport

/// One line of a benchmark: a kernel at a shape on a device. Times are microseconds per call.
public struct BenchRow: Sendable, Equatable {
    public var kernel: String
    /// `MxNxK`, `rowsxcolumns`; "-" for what has no shape.
    public var shape: String
    public var dtype: String
    public var device: String
    /// Which kernels ran: `vector`, `simt`; on the CPU `openblas`, or `rows-<instruction set>`.
    public var family: String
    public var time: Spread
    public var gflops: Double?
    public var gbps: Double?
    /// Share of the smaller of the ceilings measured in the same run; 1 is the roof, above it see `isCached`.
    public var roof: Double?
    /// Largest error against a float64 reference, relative to the largest expected value of the sub-sample.
    public var maxRelErr: Double?
    /// False when `maxRelErr` is beyond what the kernel's rounding explains.
    public var isRight = true
    /// Further figures, by name; in JSON only.
    public var more: [String: Double] = [:]
    /// nil where nothing is asked of it.
    public var verdict: RowVerdict?

    public init(
        kernel: String, shape: String, dtype: String = "f32", device: String, family: String, time: Spread,
        gflops: Double? = nil, gbps: Double? = nil, roof: Double? = nil, maxRelErr: Double? = nil, isRight: Bool = true,
        more: [String: Double] = [:]
    ) {
        self.kernel = kernel
        self.shape = shape
        self.dtype = dtype
        self.device = device
        self.family = family
        self.time = time
        self.gflops = gflops
        self.gbps = gbps
        self.roof = roof
        self.maxRelErr = maxRelErr
        self.isRight = isRight
        self.more = more
    }

    /// Whether it went beyond its ceiling, which copies arrays that no cache holds: what it read or wrote lay in one.
    public var isCached: Bool { roof.map { rounded($0) > 1 } ?? false }

    /// Share of the processors that others took while this row was measured.
    var others: Double { more["others_share"] ?? 0 }

    /// What makes two rows of two runs comparable.
    public var key: String { [kernel, shape, dtype, device, family].joined(separator: " ") }

    /// The contract's columns (DESIGN.md), in its order.
    public static let columns = [
        "kernel", "shape", "dtype", "device", "family", "median_us", "p20_us", "p80_us", "gflops", "gbps", "roof",
        "max_rel_err",
    ]

    private var numbers: [Double?] { [time.median, time.p20, time.p80, gflops, gbps, roof, maxRelErr] }
}

// MARK: - JSON and CSV

extension BenchRow {
    public var json: JSON {
        let words = [kernel, shape, dtype, device, family].map(JSON.string)
        let values = words + numbers.map { $0.map { .double(rounded($0)) } ?? .null }
        var members = zip(Self.columns, values).map { (key: $0, value: $1) }
        if !isRight { members.append(("wrong", .bool(true))) }
        if isCached { members.append(("cached", .bool(true))) }
        members += more.sorted { $0.key < $1.key }.map { ($0.key, .double(rounded($0.value))) }
        if let verdict { members += verdict.members }
        return .object(members)
    }

    /// - Throws: exit 65 when a column is missing or of the wrong kind.
    public init(_ json: JSONCursor) throws {
        func number(_ key: String) throws -> Double? { try json.optional(key)?.double(allowingNonFinite: true) }
        func time(_ key: String) throws -> Double { try json.member(key).double(allowingNonFinite: true) }
        self.init(
            kernel: try json.member("kernel").string(), shape: try json.member("shape").string(),
            dtype: try json.member("dtype").string(), device: try json.member("device").string(),
            family: try json.member("family").string(),
            time: Spread(median: try time("median_us"), p20: try time("p20_us"), p80: try time("p80_us")),
            gflops: try number("gflops"), gbps: try number("gbps"), roof: try number("roof"),
            maxRelErr: try number("max_rel_err"), isRight: try json.optional("wrong")?.bool() != true)
    }

    /// The row as comma-separated values; an absent number is empty.
    public var csv: String {
        ([kernel, shape, dtype, device, family].map(csvField)
            + numbers.map { $0.map { "\(rounded($0))" } ?? "" }).joined(separator: ",")
    }
}

/// A text as one CSV field (RFC 4180).
func csvField(_ text: String) -> String {
    guard text.contains(where: { ",\"\n\r".contains($0) }) else { return text }
    return "\"" + text.replacing("\"", with: "\"\"") + "\""
}

/// Five significant digits: more is noise.
func rounded(_ value: Double) -> Double { Double(NumberFormat.significant(value, digits: 5)) ?? value }
