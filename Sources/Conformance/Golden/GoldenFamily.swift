import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport

/// How the cases of one family are run.
protocol GoldenFamily: Sendable {
    func caseNames(_ suite: GoldenSuite) throws -> [String]
    /// Runs one case. Errors count as failures of the case.
    func run(_ name: String, of suite: GoldenSuite, _ tensors: SafeTensors?, on device: Device) throws
        -> GoldenResult.Outcome
}

extension GoldenFamily {
    func caseNames(_ suite: GoldenSuite) throws -> [String] { try suite.caseNames() }
}

/// One way to compute the results of a family, written with the operations under test.
struct GoldenWay: Sendable {
    /// What a failure calls it; "" when there is only one.
    let label: String
    /// Inputs that this way does not differentiate: another way must.
    let constants: Set<String>
    let compute: @Sendable (GoldenTrial) throws -> Void

    init(_ label: String, constants: Set<String> = [], _ compute: @escaping @Sendable (GoldenTrial) throws -> Void) {
        self.label = label
        self.constants = constants
        self.compute = compute
    }
}

/// A family whose cases have the usual form: tensors in, tensors and gradients out. Every way must give every output;
/// together they must give every gradient.
struct TensorFamily: GoldenFamily {
    let ways: [GoldenWay]
    /// The reason a case is not built yet, or nil.
    var skip: @Sendable (GoldenParameters) throws -> String? = { _ in nil }
    /// Cases that are not built yet and have no parameter that says so.
    var skipNames: Set<String> = []

    init(_ compute: @escaping @Sendable (GoldenTrial) throws -> Void) { ways = [GoldenWay("", compute)] }
    init(_ ways: [GoldenWay]) { self.ways = ways }

    func run(_ name: String, of suite: GoldenSuite, _ tensors: SafeTensors?, on device: Device) throws
        -> GoldenResult.Outcome
    {
        let golden = try suite.goldenCase(name)
        if skipNames.contains(name) { return .skipped(reason: GoldenFamilies.notBuilt) }
        if let reason = try skip(GoldenParameters(golden.parameters)) { return .skipped(reason: reason) }
        guard let tensors else { throw suite.root.failure("it names no safetensors file") }
        var missing = golden.expected
        var comparisons = 0
        var failures: [GoldenFailure] = []
        for way in ways {
            let trial = GoldenTrial(golden, tensors, on: device, constants: way.constants)
            do {
                try way.compute(trial)
                let verdict = try trial.verdict()
                missing.subtract(verdict.compared)
                comparisons += verdict.compared.count
                failures += verdict.failures.map { $0.by(way) }
            } catch {
                failures.append(GoldenFailure(message: words(error)).by(way))
            }
        }
        if failures.isEmpty {
            failures = missing.sorted().map { GoldenFailure(tensor: $0, message: "was not compared") }
        }
        if failures.isEmpty, comparisons == 0 { failures = [GoldenFailure(message: "nothing was compared")] }
        return failures.isEmpty ? .passed(comparisons: comparisons) : .failed(failures)
    }
}

extension GoldenFailure {
    fileprivate func by(_ way: GoldenWay) -> GoldenFailure {
        way.label.isEmpty ? self : GoldenFailure(tensor: tensor, message: "(\(way.label)) " + message, worst: worst)
    }
}

/// An error in one line.
func words(_ error: any Error) -> String {
    switch error {
    case let error as RetortError: error.what + (error.why.isEmpty ? "" : ": " + error.why)
    case let error as KernelError: error.message
    default: "\(error)"
    }
}
