import RetortSupport

/// Golden results as a user reads them.
public enum GoldenReport {
    /// One line for a suite, then one for each failure, each skipped case and, when verbose, each case that passed.
    public static func text(_ suite: GoldenSuite, _ results: [GoldenResult], verbose: Bool) -> String {
        var lines: [String] = []
        let counts = backends(results).map { backend in
            "\(backend) \(GoldenCount(results.filter { $0.backend.name == backend }))"
        }
        lines.append("\(suite.name): \(counts.joined(separator: "; "))")
        var skipped: Set<String> = []
        for result in results {
            switch result.outcome {
            case .passed(let comparisons):
                if verbose {
                    lines.append(
                        "  passed \(result.name.displayable) on \(result.backend.name), \(comparisons) compared")
                }
            case .failed(let failures):
                lines.append("  FAILED \(result.name.displayable) on \(result.backend.name)")
                lines += failures.map { "    \($0.description.displayable)" }
                lines.append("    again: \(repeatCommand(result))")
            case .skipped(let reason):
                // The reason is the same on every backend.
                if skipped.insert(result.name).inserted {
                    lines.append("  skipped \(result.name.displayable): \(reason)")
                }
            }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// `12 passed, 0 failed, 3 skipped`; a case counts once for each backend.
    public static func closingLine(_ results: [GoldenResult]) -> String { GoldenCount(results).description }

    /// The command that runs one case again.
    public static func repeatCommand(_ result: GoldenResult) -> String {
        let family = result.backend.forcedFamily.map { "RETORT_FAMILY=\(quoted($0)) " } ?? ""
        return "\(family)retort test-ops golden --suite \(quoted(result.suite)) --case \(quoted(result.name)) "
            + "--device \(quoted(result.backend.name))"
    }

    /// `{"folder": …, "devices": […], "results": [{"suite", "case", "device", "outcome", …}], "passed": n, "failed": n,
    /// "skipped": n}`.
    public static func json(_ folder: GoldenFolder, _ results: [GoldenResult]) -> JSON {
        let count = GoldenCount(results)
        return [
            "folder": .string(folder.path), "devices": .array(backends(results).map(JSON.string)),
            "results": .array(results.map(json)), "passed": .int(count.passed), "failed": .int(count.failed),
            "skipped": .int(count.skipped),
        ]
    }

    private static func json(_ result: GoldenResult) -> JSON {
        var members: [(key: String, value: JSON)] = [
            ("suite", .string(result.suite)), ("case", .string(result.name)), ("device", .string(result.backend.name)),
        ]
        switch result.outcome {
        case .passed(let comparisons): members += [("outcome", "passed"), ("comparisons", .int(comparisons))]
        case .failed(let failures):
            members += [
                ("outcome", "failed"), ("failures", .array(failures.map(json))),
                ("command", .string(repeatCommand(result))),
            ]
        case .skipped(let reason): members += [("outcome", "skipped"), ("reason", .string(reason))]
        }
        return .object(members)
    }

    private static func json(_ failure: GoldenFailure) -> JSON {
        var members: [(key: String, value: JSON)] = [
            ("tensor", .string(failure.tensor)), ("message", .string(failure.message)),
        ]
        if let worst = failure.worst {
            members += [
                ("index", .array(worst.index.map(JSON.int))), ("actual", .double(worst.actual)),
                ("expected", .double(worst.expected)), ("tolerance", .double(worst.tolerance)),
            ]
        }
        return .object(members)
    }

    /// The backends in the order they ran.
    private static func backends(_ results: [GoldenResult]) -> [String] {
        results.reduce(into: []) { names, result in
            if !names.contains(result.backend.name) { names.append(result.backend.name) }
        }
    }

    /// A word as a shell takes it.
    private static func quoted(_ word: String) -> String {
        let plain = word.utf8.allSatisfy { byte in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || "._-/:".utf8.contains(byte)
        }
        if plain, !word.isEmpty { return word }
        return "'"
            + word.displayable.split(separator: "'", omittingEmptySubsequences: false).joined(separator: #"'\''"#) + "'"
    }
}
