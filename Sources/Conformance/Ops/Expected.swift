/// 2⁻²³, the distance of 1 to the next fp32 number; rounding costs half of it. All tolerances are multiples.
let eps = 0x1p-23

/// A reference result and how far from it a correct fp32 result may lie.
struct Estimate {
    var value: Double
    var error: Double

    init(_ value: Double, _ error: Double = 0) {
        self.value = value
        self.error = error
    }

    /// Added to what the output held: the sum is rounded once more.
    func added(to old: Float) -> Estimate {
        let sum = value + Double(old)
        return Estimate(sum, error + eps * Swift.max(abs(sum), abs(value)))
    }
}

/// What an output must hold after the run.
enum Expected {
    /// Each number within its own allowance; infinities equal, NaN where NaN is expected.
    case near([Estimate])
    /// These numbers and no others.
    case exact([Double])
    /// These bit patterns; any NaN stands for any other.
    case bits([UInt32])
    /// Infinite or NaN, it does not matter which.
    case notFinite
    /// The contract says nothing.
    case anything

    static func exact(_ values: [Float]) -> Expected { .exact(values.map(Double.init)) }
    static func exact(_ values: [Int]) -> Expected { .exact(values.map(Double.init)) }
    static func exact(_ values: [Int32]) -> Expected { .exact(values.map(Double.init)) }
}

extension Expected {
    /// How far `value` is from what element `i` should be, as a share of what is allowed: at most 1 is right.
    func share(_ i: Int, _ value: Double, bits: UInt32) -> Double {
        switch self {
        case .anything: return 0
        case .notFinite: return value.isFinite ? .infinity : 0
        case .bits(let expected): return bits == expected[i] ? 0 : .infinity
        case .exact(let expected): return value == expected[i] || value.isNaN && expected[i].isNaN ? 0 : .infinity
        case .near(let expected):
            // What fp32 cannot hold is infinite; what lies below its normal numbers may be flushed to 0.
            let target =
                abs(expected[i].value) > Double(Float.greatestFiniteMagnitude)
                ? expected[i].value * .infinity : expected[i].value
            if target.isNaN { return value.isNaN ? 0 : .infinity }
            guard target.isFinite else { return value == target ? 0 : .infinity }
            let share = abs(value - target) / (expected[i].error + 0x1p-125)
            return share.isNaN ? .infinity : share
        }
    }

    /// The number that element `i` should be; nil where a number is not what is expected.
    func number(_ i: Int) -> Double? {
        switch self {
        case .anything, .notFinite, .bits: nil
        case .exact(let expected): expected[i]
        case .near(let expected): expected[i].value
        }
    }

    func text(_ i: Int) -> String {
        switch self {
        case .anything: "anything"
        case .notFinite: "inf or NaN"
        case .bits(let expected): "0x" + String(expected[i], radix: 16)
        case .exact(let expected): "\(expected[i])"
        case .near(let expected): "\(expected[i].value) ± \(Float(expected[i].error))"
        }
    }

    var count: Int? {
        switch self {
        case .anything, .notFinite: nil
        case .bits(let e): e.count
        case .exact(let e): e.count
        case .near(let e): e.count
        }
    }
}
