import RetortKernels
import RetortSupport

/// What a float32 implementation may be off: eight times the error of the reference's own float32 run, plus 2e-6 of the
/// largest magnitude of the result.
struct GoldenTolerance: Sendable {
    let bound: Double

    init(bound: Double) { self.bound = bound }

    init(_ cursor: JSONCursor) throws {
        try cursor.expectKeys(["max_abs_err", "ref_max_abs"])
        bound =
            try 8 * cursor.member("max_abs_err").double(in: 0...1e300) + 2e-6
            * cursor.member("ref_max_abs").double(in: 0...1e300)
    }

    /// Compares element by element: finite numbers within the bound, the others equal in place and kind.
    /// - Returns: the worst place, or nil when all agree.
    func mismatch(_ actual: [Double], _ expected: [Double], shape: Dimensions, tensor: String) -> GoldenFailure? {
        var wrong = 0
        var worst = (index: 0, excess: -1.0)
        for (index, (a, e)) in zip(actual, expected).enumerated() {
            let agree = e.isNaN ? a.isNaN : e.isFinite ? abs(a - e) <= bound : a == e
            guard !agree else { continue }
            wrong += 1
            let difference = abs(a - e)
            let excess = difference.isFinite ? difference : .infinity
            if excess > worst.excess { worst = (index, excess) }
        }
        guard wrong > 0 else { return nil }
        let place = GoldenFailure.Place(
            index: Self.position(worst.index, in: shape), actual: actual[worst.index], expected: expected[worst.index],
            tolerance: bound)
        return GoldenFailure(tensor: tensor, message: "\(wrong) of \(actual.count) differ", worst: place)
    }

    /// The coordinates of an element from its row-major position.
    private static func position(_ flat: Int, in shape: Dimensions) -> [Int] {
        var rest = flat
        var coordinates: [Int] = []
        for size in shape.reversed() where size > 0 {
            coordinates.append(rest % size)
            rest /= size
        }
        return coordinates.reversed()
    }
}
