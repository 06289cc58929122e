import RetortKernels
import RetortRuntime
import RetortSupport

/// What `retort plan` says of a recipe: what training it will take, before anything is trained.
public struct RunPlan: Sendable {
    public let roles: [PlannedRole]
    public let seeds: Int
    public let device: String
    /// Bytes of memory that the device has, and those that it gives in one piece; nil without a limit.
    public let capacity: (total: Int, piece: Int?)
    /// What was found while the data were read.
    public let findings: [String]
    private let summary: String
    private let rates: DeviceRates
    /// What makes a training smaller.
    private let remedy: String

    init(
        _ roles: [PlannedRole], seeds: Int, on device: Device, _ rates: DeviceRates, findings: [String] = [],
        remedy: String
    ) {
        self.roles = roles
        self.seeds = seeds
        self.device = device.description
        summary = device.summary
        capacity = device.compute.capacity
        self.rates = rates
        self.findings = findings
        self.remedy = remedy
    }

    /// Bytes that the program takes from the device at most.
    public var taken: Int { roles.map(\.taken).max() ?? 0 }
    /// Estimated, of all seeds.
    public var seconds: Double { roles.reduce(0) { $0 + $1.seconds } * Double(seeds) }
    /// Whether the device has what is asked of it.
    public var fits: Bool { obstacle == nil }

    private var obstacle: String? {
        if let most = roles.max(by: { $0.taken < $1.taken }), most.taken > capacity.total {
            return "\(most.name) takes \(NumberFormat.bytes(most.taken)), and \(device) has "
                + NumberFormat.bytes(capacity.total)
        }
        if let piece = capacity.piece, let most = roles.max(by: { $0.largestPiece < $1.largestPiece }),
            most.largestPiece > piece
        {
            return "\(most.name) needs \(NumberFormat.bytes(most.largestPiece)) in one piece, and \(device) gives "
                + "\(NumberFormat.bytes(piece)) at most"
        }
        return nil
    }

    /// - Throws: `RetortError` 69 when the device is too small.
    public func check() throws {
        guard let obstacle else { return }
        throw RetortError.device(
            "the recipe does not fit on the device: \(obstacle)", why: "nothing was trained", help: remedy)
    }

    public var json: JSON {
        [
            "device": .string(device), "device_memory_bytes": .int(capacity.total),
            "largest_allocation_bytes": capacity.piece.map(JSON.int) ?? .null, "fits": .bool(fits),
            "taken_bytes": .int(taken), "seeds": .int(seeds), "estimated_seconds": .double(seconds),
            "rates": [
                "product_gflops": .double(rates.product * 1e-9), "copy_gbps": .double(rates.roof.copyBandwidth * 1e-9),
                "launch_us": .double(rates.roof.launch * 1e6),
            ], "rows": .array(roles.map(\.json)),
        ]
    }

    public var text: String {
        return (["device: \(summary)\n"] + findings.map { $0 + "\n" }).joined() + "\n" + steps.text + "\n" + memory.text
            + "\n" + notes + conclusion
    }

    /// What numbers leave open, and for whom.
    private var notes: String {
        var names: [(note: String, roles: [String])] = []
        for role in roles {
            for note in role.notes {
                if let known = names.firstIndex(where: { $0.note == note }) {
                    names[known].roles.append(role.name)
                } else {
                    names.append((note, [role.name]))
                }
            }
        }
        return names.map { "\($0.roles.joined(separator: ", ")): \($0.note)\n" }.joined()
    }

    private var steps: Table {
        var table = Table(columns: [
            ("role", .left), ("parameters", .right), ("trained", .right), ("batch", .right), ("tokens", .right),
            ("steps", .right), ("peak memory", .right), ("GFLOP/step", .right), ("GB/step", .right), ("≈ step", .right),
            ("≈ training", .right),
        ])
        for role in roles {
            let (rows, part) = (role.batch.rows, role.batch.part)
            table.add([
                role.name, NumberFormat.grouped(role.parameters), NumberFormat.grouped(role.trained),
                part < rows ? "\(rows) in \(part)s" : "\(rows)",
                role.batch.tokens.map {
                    $0.largest == $0.usual ? "\($0.largest)" : "\($0.usual), at most \($0.largest)"
                } ?? "–", NumberFormat.grouped(role.steps), NumberFormat.bytes(role.memory.peak),
                NumberFormat.significant(role.stepCost.flops * 1e-9, digits: 3),
                NumberFormat.significant(role.stepCost.bytes * 1e-9, digits: 3),
                NumberFormat.duration(seconds: role.seconds / Double(max(1, role.steps))),
                NumberFormat.duration(seconds: role.seconds),
            ])
        }
        return table
    }

    /// The largest bytes for each purpose; together they may be more than the peak, for not all are largest at once.
    private var memory: Table {
        let rows = roles.map { role in (role.name, role.bytes(role.memory.most)) }
        let used = PlannedRole.purposes.indices.filter { column in rows.contains { $0.1[column].bytes > 0 } }
        var table = Table(
            columns: [("most bytes of", .left)]
                + used.map { (PlannedRole.purposes[$0].replacing("_", with: " "), .right) })
        for (name, bytes) in rows { table.add([name] + used.map { NumberFormat.bytes(bytes[$0].bytes) }) }
        return table
    }

    private var conclusion: String {
        let of = capacity.total < .max ? " of \(NumberFormat.bytes(capacity.total))" : ""
        return "taken from the device at most: \(NumberFormat.bytes(taken))\(of)\n"
            + "time: about \(NumberFormat.duration(seconds: seconds)) for \(seeds) seed\(seeds == 1 ? "" : "s"), an estimate "
            + "and no promise, from \(NumberFormat.fixed(rates.product * 1e-9, decimals: 0)) GFLOP/s of products, "
            + "\(NumberFormat.fixed(rates.roof.copyBandwidth * 1e-9, decimals: 1)) GB/s of copies and "
            + "\(NumberFormat.duration(seconds: rates.roof.launch)) a launch, measured now\n"
    }
}
