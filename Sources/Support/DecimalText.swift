/// Decimal text to a number, without locale and without the words and hexadecimal forms `Double(_: String)` accepts.
public enum DecimalText {
    /// Longer number texts are refused: no writer needs them, and reading them exactly can take very long.
    public static let maximumLength = 1000

    /// The correctly rounded value of `[+-] digits [. digits] [e [+-] digits]`, where the digits on one side of the
    /// point may be missing. The result is infinite when the text exceeds the range of Double.
    /// - Returns: nil when the range holds anything else, or more than `maximumLength` bytes.
    public static func double(in bytes: [UInt8], _ range: Range<Int>) -> Double? {
        guard range.count <= maximumLength else { return nil }
        var position = range.lowerBound
        let end = range.upperBound
        var isNegative = false
        if position < end, bytes[position] == UInt8(ascii: "-") || bytes[position] == UInt8(ascii: "+") {
            isNegative = bytes[position] == UInt8(ascii: "-")
            position += 1
        }

        // The significand as an integer of up to 19 digits, which always fits in 64 bits.
        var significand: UInt64 = 0
        var significantDigits = 0
        var digits = 0
        var exponent = 0
        var seenPoint = false
        while position < end {
            let byte = bytes[position]
            if byte == UInt8(ascii: ".") {
                guard !seenPoint else { return nil }
                seenPoint = true
            } else if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
                digits += 1
                if significantDigits > 0 || byte != UInt8(ascii: "0") { significantDigits += 1 }
                if significantDigits <= 19 {
                    significand = significand &* 10 &+ UInt64(byte &- UInt8(ascii: "0"))
                    if seenPoint { exponent -= 1 }
                } else if !seenPoint {
                    exponent += 1
                }
            } else {
                break
            }
            position += 1
        }
        guard digits > 0 else { return nil }

        if position < end {
            guard bytes[position] | 0x20 == UInt8(ascii: "e") else { return nil }
            position += 1
            var exponentIsNegative = false
            if position < end, bytes[position] == UInt8(ascii: "-") || bytes[position] == UInt8(ascii: "+") {
                exponentIsNegative = bytes[position] == UInt8(ascii: "-")
                position += 1
            }
            guard position < end else { return nil }
            var written = 0
            while position < end {
                let byte = bytes[position]
                guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
                // Beyond 100 000 every value is 0 or infinite; stop counting before Int overflows.
                if written < 100_000 { written = written * 10 + Int(byte &- UInt8(ascii: "0")) }
                position += 1
            }
            exponent += exponentIsNegative ? -written : written
        }

        // Exact when significand and power of ten are both exact in Double (Clinger 1990); one rounding remains.
        if significantDigits <= 19, significand <= 1 << 53, exponent >= -22, exponent <= 22 {
            let magnitude =
                exponent < 0
                ? Double(significand) / powersOfTen[-exponent] : Double(significand) * powersOfTen[exponent]
            return isNegative ? -magnitude : magnitude
        }
        return Double(String(decoding: bytes[range], as: UTF8.self))
    }

    /// `double(in:_:)` for a whole string.
    public static func double(_ text: String) -> Double? {
        let bytes = Array(text.utf8)
        return double(in: bytes, 0..<bytes.count)
    }

    private static let powersOfTen: [Double] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20, 1e21, 1e22,
    ]
}
