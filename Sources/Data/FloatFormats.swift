/// Small floating-point formats to Float, which is exact, and Float to them, to the nearest, ties to even. NaN stays NaN, its payload may
/// change.
public enum FloatFormats {
    /// To bfloat16. What is nearer to 2^128 than to the largest number becomes infinite.
    public static func bfloat16(_ value: Float) -> UInt16 {
        let bits = value.bitPattern
        if value.isNaN { return UInt16(bits >> 16) | 0x40 }
        return UInt16((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
    }

    /// To binary16. From 65520 on it becomes infinite.
    public static func float16(_ value: Float) -> UInt16 { Float16(value).bitPattern }

    /// IEEE 754 binary16.
    public static func float(float16 bits: UInt16) -> Float {
        Float(Float16(bitPattern: bits))
    }

    /// bfloat16: the upper half of a Float.
    public static func float(bfloat16 bits: UInt16) -> Float {
        Float(bitPattern: UInt32(bits) << 16)
    }

    /// 8 bits, 5 of exponent, 2 of fraction, with infinities: the upper half of a binary16.
    public static func float(float8E5M2 bits: UInt8) -> Float {
        float(float16: UInt16(bits) << 8)
    }

    /// 8 bits, 4 of exponent (bias 7), 3 of fraction; no infinities, NaN is S.1111.111 (OCP "E4M3", "fn" elsewhere).
    public static func float(float8E4M3 bits: UInt8) -> Float {
        let sign: Float = bits & 0x80 == 0 ? 1 : -1
        let exponent = Int(bits >> 3 & 0xF)
        let fraction = Float(bits & 7)
        if bits & 0x7F == 0x7F { return .nan }
        // A subnormal is fraction × 2^-9; a normal number (8 + fraction) × 2^(exponent - 10).
        if exponent == 0 { return sign * fraction / 512 }
        return sign * Float(sign: .plus, exponent: exponent - 10, significand: 8 + fraction)
    }
}
