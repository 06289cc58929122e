import RetortData
import RetortRuntime
import RetortSupport

/// Runs cases of a golden folder on one or more backends.
public struct GoldenRun {
    private let suites: [GoldenSuite]
    private let caseName: String?
    private let backends: [GoldenBackend]

    /// - `suite`: "softmax" or "ops/softmax"; nil for all.
    /// - `caseName`: one case of that suite; nil for all.
    /// - Throws: exit 64 when there is no such suite or case.
    public init(_ folder: GoldenFolder, suite: String? = nil, caseName: String? = nil, on backends: [GoldenBackend])
        throws
    {
        suites = try folder.suites(named: suite)
        self.caseName = caseName
        self.backends = backends
        guard let caseName else { return }
        let known = try suites.flatMap { try Self.caseNames($0) }
        guard known.contains(caseName) else {
            throw RetortError.usage(
                "there is no case \(caseName.quoted(limit: 200)) in \(suite.map { "the suite " + $0 } ?? "any suite")",
                help: EditDistance.suggestion(for: caseName, among: known))
        }
    }

    /// - Parameter report: gets the results of each suite as it ends.
    @discardableResult
    public func run(_ report: (GoldenSuite, [GoldenResult]) -> Void = { _, _ in }) throws -> [GoldenResult] {
        var all: [GoldenResult] = []
        for suite in suites {
            let results = try run(suite)
            guard !results.isEmpty else { continue }
            report(suite, results)
            all += results
        }
        return all
    }

    private func run(_ suite: GoldenSuite) throws -> [GoldenResult] {
        let names = try Self.caseNames(suite).filter { caseName == nil || $0 == caseName }
        let family = GoldenFamilies.all[suite.name]
        let tensors = try family != nil && suite.root.optional("file") != nil ? suite.openTensors() : nil
        return backends.flatMap { backend in
            names.map { name in
                GoldenResult(
                    suite: suite.name, name: name, backend: backend,
                    outcome: Self.outcome(family, name, suite, tensors, backend.device))
            }
        }
    }

    private static func caseNames(_ suite: GoldenSuite) throws -> [String] {
        try GoldenFamilies.all[suite.name]?.caseNames(suite) ?? suite.caseNames()
    }

    private static func outcome(
        _ family: (any GoldenFamily)?, _ name: String, _ suite: GoldenSuite, _ tensors: SafeTensors?, _ device: Device
    ) -> GoldenResult.Outcome {
        guard let family else { return .skipped(reason: GoldenFamilies.notBuilt) }
        do {
            return try family.run(name, of: suite, tensors, on: device)
        } catch {
            return .failed([GoldenFailure(message: words(error))])
        }
    }
}
