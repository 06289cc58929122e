import RetortSupport

extension RunResults {
    /// The object that `--json` prints: per arm the mean and the deviation of every metric, keys in a fixed order.
    /// Numbers that are not finite become null.
    public var summaryJSON: JSON {
        let formats = MetricFormat.all(in: self)
        let rows = arms.map { arm in
            let metrics = formats.compactMap { format in
                format.spread(arm).map { spread in
                    (
                        key: format.key,
                        value: ["mean": Self.finite(spread.mean), "sd": Self.finite(spread.deviation)] as JSON
                    )
                }
            }
            return ["role": .string(arm.role), "seeds": .int(arm.seeds.count), "metrics": .object(metrics)] as JSON
        }
        return .object(
            [("device", .string(device)), ("rows", .array(rows))]
                + (notes.isEmpty ? [] : [("notes", .array(notes.map(JSON.string)))]))
    }

    /// Whole numbers are written without a fraction.
    private static func finite(_ value: Double?) -> JSON {
        guard let value, value.isFinite else { return .null }
        return Int(exactly: value).map(JSON.int) ?? .double(value)
    }
}
