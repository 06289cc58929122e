import Foundation
import RetortKernels

/// A small floating point format, decoded by its definition.
struct SmallFloat {
    let dtype: DType
    let exponentBits: Int
    let mantissaBits: Int
    /// e4m3fn has no infinity: its topmost pattern is NaN, the others there are numbers.
    var hasInfinity = true

    var bitCount: Int { 1 + exponentBits + mantissaBits }

    func value(_ bits: UInt32) -> Double {
        let mantissa = Double(bits & ((1 << mantissaBits) - 1)) / Double(1 << mantissaBits)
        let exponent = Int(bits >> mantissaBits) & ((1 << exponentBits) - 1)
        let sign = bits >> (bitCount - 1) == 1 ? -1.0 : 1.0
        let bias = (1 << (exponentBits - 1)) - 1
        if exponent == (1 << exponentBits) - 1 {
            if hasInfinity { return mantissa == 0 ? sign * .infinity : .nan }
            if mantissa == 1 - 1 / Double(1 << mantissaBits) { return .nan }
        }
        let magnitude =
            exponent == 0 ? mantissa * pow(2, Double(1 - bias)) : (1 + mantissa) * pow(2, Double(exponent - bias))
        return sign * magnitude
    }

    /// Every bit pattern.
    var patterns: [UInt32] { (0..<UInt32(1 << bitCount)).map { $0 } }

    /// The pattern nearest to x, the even one of two; by search, so that no rounding trick is shared with the kernels.
    func nearest(_ x: Float) -> UInt32 {
        let sign: UInt32 = x.sign == .minus ? 1 << (bitCount - 1) : 0
        let magnitude = Double(abs(x))
        let infinity = UInt32((1 << exponentBits) - 1) << mantissaBits
        // Positive patterns are ordered like their values: the last one not above x, then the nearer of it and the next.
        var (low, high) = (UInt32(0), infinity)
        while high - low > 1 {
            let middle = (low + high) / 2
            if value(middle) <= magnitude { low = middle } else { high = middle }
        }
        // The step beyond the largest number counts as if the format went on.
        let above = high == infinity ? 2 * value(infinity - 1) - value(infinity - 2) : value(high)
        let middle = (value(low) + above) / 2
        if magnitude > middle || magnitude == middle && low % 2 == 1 { low = high }
        return sign | low
    }

    static let f16 = SmallFloat(dtype: .f16, exponentBits: 5, mantissaBits: 10)
    static let bf16 = SmallFloat(dtype: .bf16, exponentBits: 8, mantissaBits: 7)
    static let f8e4m3 = SmallFloat(dtype: .f8e4m3, exponentBits: 4, mantissaBits: 3, hasInfinity: false)
    static let f8e5m2 = SmallFloat(dtype: .f8e5m2, exponentBits: 5, mantissaBits: 2)
}

extension DType {
    /// How a sample's name says what activations are stored as; f32 needs no word.
    var sampleText: String { self == .f32 ? "" : " \(self)" }
}

extension [Float] {
    /// Numbers that bf16 holds exactly, near these: cut off.
    func held(by dtype: DType) -> [Float] {
        dtype == .bf16 ? map { Float(bitPattern: $0.bitPattern & 0xFFFF_0000) } : self
    }
}

extension Expected {
    /// What becomes of it where results are rounded to `dtype`, f32 or bf16: half of the distance between two neighbours is 2⁻⁸ of either.
    func rounded(to dtype: DType) -> Expected {
        guard dtype == .bf16 else { return self }
        switch self {
        case .near(let estimates):
            return .near(estimates.map { Estimate($0.value, $0.error * (1 + 0x1p-8) + 0x1p-8 * abs($0.value)) })
        case .exact(let values):
            return .exact(values.map { SmallFloat.bf16.value(SmallFloat.bf16.nearest(Float($0))) })
        default: return self
        }
    }
}
