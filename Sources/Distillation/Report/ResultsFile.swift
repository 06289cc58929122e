import RetortSupport

/// `results.json` of a run directory: everything a run knows, without loss, so that the report can be drawn again.
///
/// Curves are stored by column. Numbers that are not finite are the strings "NaN", "Infinity", "-Infinity"; seeds
/// beyond 63 bits are strings of digits.
extension RunResults {
    private static let format = "retort-results"
    private static let version = 1

    /// The content of `results.json`.
    public var fileJSON: JSON {
        .object(
            [
                ("format", .string(Self.format)), ("version", .int(Self.version)), ("recipe", .string(recipe)),
                ("device", .string(device)), ("device_summary", .string(deviceSummary)),
                ("seeds", .array(seeds.map(Self.json))), ("classes", .array(classes.map(JSON.string))),
                ("arms", .array(arms.map(Self.json))),
            ] + (quality == .accuracy ? [] : [("quality", .string(quality.rawValue))])
                + (timeUnit == .epoch ? [] : [("time_unit", .string(timeUnit.rawValue))])
                + (notes.isEmpty ? [] : [("notes", .array(notes.map(JSON.string)))])
                + (gallery.map { [("gallery", $0.json)] } ?? []))
    }

    /// Reads what `fileJSON` made.
    /// - `file`: what errors call the text.
    /// - Throws: exit 65 with the path of the value that is missing, unknown or of the wrong kind.
    public init(json: JSON, file: String) throws(RetortError) {
        let root = JSONCursor(json, file: file)
        let format = try root.member("format")
        guard try format.string() == Self.format else {
            throw format.failure(
                "it is not the results of a run", help: "Give the run directory that `retort train` made.")
        }
        let version = try root.member("version")
        guard try version.int() == Self.version else {
            throw version.failure(
                "this retort reads version \(Self.version)", help: "Use the retort that made the run.")
        }
        try root.expectKeys(
            [
                "format", "version", "recipe", "device", "device_summary", "seeds", "classes", "arms", "gallery",
                "quality", "time_unit", "notes",
            ])
        let quality = try root.optional("quality").map { (key) throws(RetortError) in
            guard let metric = Metric(rawValue: try key.string()) else { throw key.failure("it is no metric") }
            return metric
        }
        let unit = try root.optional("time_unit").map { (key) throws(RetortError) in
            guard let unit = TimeUnit(rawValue: try key.string()) else { throw key.failure("it is epoch or step") }
            return unit
        }
        self.init(
            recipe: try root.member("recipe").string(), device: try root.member("device").string(),
            deviceSummary: try root.member("device_summary").string(),
            seeds: try root.member("seeds").elements().map(Self.seed),
            classes: try root.member("classes").elements().map { (name) throws(RetortError) in try name.string() },
            arms: try root.member("arms").elements().map(Self.arm),
            gallery: try root.optional("gallery").map { (gallery) throws(RetortError) in try Gallery(gallery) },
            quality: quality ?? .accuracy, timeUnit: unit ?? .epoch)
        if let lines = try root.optional("notes") {
            notes = try lines.elements().map { (line) throws(RetortError) in try line.string() }
        }
    }

    // MARK: Writing

    private static func json(_ seed: UInt64) -> JSON {
        Int(exactly: seed).map(JSON.int) ?? .string(String(seed))
    }

    private static func json(_ arm: ArmResult) -> JSON {
        [
            "role": .string(arm.role), "contract": .array(arm.contract.map(JSON.string)),
            "seeds": .array(arm.seeds.map(json)),
        ]
    }

    fileprivate static func json(_ result: SeedResult) -> JSON {
        let known = Metric.allCases.map(\.rawValue).filter { result.metrics[$0] != nil }
        let keys = known + result.metrics.keys.filter { Metric(rawValue: $0) == nil }.sorted()
        var members: [(key: String, value: JSON)] = [
            ("seed", json(result.seed)),
            ("metrics", .object(keys.map { (key: $0, value: result.metrics[$0].map(JSON.double) ?? .null) })),
            ("curve", json(result.curve)), ("confusion", json(result.confusion)),
        ]
        if !result.teacherConfusion.isEmpty { members.append(("teacher_confusion", json(result.teacherConfusion))) }
        if !result.peers.isEmpty { members.append(("peers", .array(result.peers.map(json)))) }
        return .object(members)
    }

    private static func json(_ counts: [[Int]]) -> JSON { .array(counts.map { .array($0.map(JSON.int)) }) }

    static func json(_ curve: [CurvePoint]) -> JSON {
        [
            "epoch": .array(curve.map { .int($0.epoch) }),
            "step": .array(curve.map { .int($0.step) }),
            "loss": .array(curve.map { .double($0.loss) }),
            "accuracy": .array(curve.map { $0.accuracy.map(JSON.double) ?? .null }),
        ]
    }

    // MARK: Reading

    private static func seed(_ cursor: JSONCursor) throws(RetortError) -> UInt64 {
        if case .string(let digits) = cursor.value {
            guard let seed = UInt64(digits) else { throw cursor.failure("it must be a whole number below 2^64") }
            return seed
        }
        return UInt64(try cursor.int(in: 0...Int.max))
    }

    private static func arm(_ cursor: JSONCursor) throws(RetortError) -> ArmResult {
        try cursor.expectKeys(["role", "contract", "seeds"])
        return ArmResult(
            role: try cursor.member("role").string(),
            contract: try cursor.member("contract").elements().map { (line) throws(RetortError) in try line.string() },
            seeds: try cursor.member("seeds").elements().map(result))
    }

    fileprivate static func result(_ cursor: JSONCursor) throws(RetortError) -> SeedResult {
        try cursor.expectKeys(["seed", "metrics", "curve", "confusion", "teacher_confusion", "peers"])
        var metrics: [String: Double] = [:]
        for (key, value) in try cursor.member("metrics").members() {
            metrics[key] = try value.double(allowingNonFinite: true)
        }
        var peers: [SeedResult] = []
        if let others = try cursor.optional("peers") { peers = try others.elements().map(result) }
        return SeedResult(
            seed: try seed(cursor.member("seed")), metrics: metrics, curve: try curve(cursor.member("curve")),
            confusion: try counts(cursor.member("confusion")),
            teacherConfusion: try cursor.optional("teacher_confusion").map(counts) ?? [], peers: peers)
    }

    private static func counts(_ cursor: JSONCursor) throws(RetortError) -> [[Int]] {
        try cursor.elements().map { (row) throws(RetortError) in
            try row.elements().map { (count) throws(RetortError) in try count.int(in: 0...1 << 53) }
        }
    }

    static func curve(_ cursor: JSONCursor) throws(RetortError) -> [CurvePoint] {
        try cursor.expectKeys(["epoch", "step", "loss", "accuracy"])
        let epochs = try cursor.member("epoch").elements()
        let steps = try cursor.member("step").elements()
        let losses = try cursor.member("loss").elements()
        let accuracies = try cursor.member("accuracy").elements()
        guard [steps.count, losses.count, accuracies.count].allSatisfy({ $0 == epochs.count }) else {
            throw cursor.failure("its columns differ in length")
        }
        var points: [CurvePoint] = []
        for index in epochs.indices {
            let accuracy = accuracies[index]
            points.append(
                CurvePoint(
                    epoch: try epochs[index].int(in: 0...1 << 53), step: try steps[index].int(in: 0...1 << 53),
                    loss: try losses[index].double(allowingNonFinite: true),
                    accuracy: accuracy.isNull ? nil : try accuracy.double(allowingNonFinite: true)))
        }
        return points
    }
}

/// One seed by itself: the `result.json` that ends a finished seed of an arm.
extension SeedResult {
    var json: JSON { RunResults.json(self) }

    init(json: JSON, file: String) throws(RetortError) { self = try RunResults.result(JSONCursor(json, file: file)) }
}
