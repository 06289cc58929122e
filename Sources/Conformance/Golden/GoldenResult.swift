/// What became of one case on one backend.
public struct GoldenResult: Sendable {
    public enum Outcome: Sendable {
        /// With the number of tensors and scalars compared; never 0.
        case passed(comparisons: Int)
        case failed([GoldenFailure])
        case skipped(reason: String)
    }

    public let suite: String
    public let name: String
    public let backend: GoldenBackend
    public let outcome: Outcome
}

/// Why a case fails: one line for each tensor that is wrong, or for what kept the case from running.
public struct GoldenFailure: Sendable {
    /// Where actual and expected value differ most.
    public struct Place: Sendable {
        public let index: [Int]
        public let actual: Double
        public let expected: Double
        public let tolerance: Double
    }

    /// "out/y", "grad/x", "scalars/loss"; "" when no tensor is to blame.
    public var tensor: String
    public let message: String
    public let worst: Place?

    init(tensor: String = "", message: String, worst: Place? = nil) {
        self.tensor = tensor
        self.message = message
        self.worst = worst
    }
}

extension GoldenFailure: CustomStringConvertible {
    public var description: String {
        let place = worst.map { place in
            "; worst at \(place.index): \(place.actual), expected \(place.expected), "
                + "tolerance \(Float(place.tolerance))"
        }
        return (tensor.isEmpty ? "" : tensor + ": ") + message + (place ?? "")
    }
}

/// How many cases (times backends) ended how.
public struct GoldenCount: Sendable, Equatable, CustomStringConvertible {
    public var passed = 0
    public var failed = 0
    public var skipped = 0

    public init(_ results: some Sequence<GoldenResult>) {
        for result in results {
            switch result.outcome {
            case .passed: passed += 1
            case .failed: failed += 1
            case .skipped: skipped += 1
            }
        }
    }

    public var description: String { "\(passed) passed, \(failed) failed, \(skipped) skipped" }
}
