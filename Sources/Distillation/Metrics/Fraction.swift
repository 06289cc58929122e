/// Quotients of numbers in their plainest form, so that equal ones are the same text: "6/4", "3/2" and "1.5" are "1.5", "2/6" is "1/3".
enum Fraction {
    /// - `above`, `below`: plain numbers, as "-12.5".
    /// - Returns: nil where nothing can be divided: by 0, or with more digits than are computed with (18).
    static func plain(_ above: String, over below: String) -> String? {
        guard let a = Scaled(above), let b = Scaled(below), b.digits != 0 else { return nil }
        let (top, overTop) = a.digits.multipliedReportingOverflow(by: b.scale)
        let (bottom, overBottom) = b.digits.multipliedReportingOverflow(by: a.scale)
        guard !overTop, !overBottom, top != .min, bottom != .min else { return nil }
        let divisor = greatestCommonDivisor(abs(top), abs(bottom))
        let sign = (top < 0) != (bottom < 0) ? "-" : ""
        let (numerator, denominator) = (abs(top) / divisor, abs(bottom) / divisor)
        return sign + (decimal(numerator, denominator) ?? "\(numerator)/\(denominator)")
    }

    /// digits / scale, scale a power of 10.
    private struct Scaled {
        let digits: Int
        let scale: Int

        init?(_ text: String) {
            let parts = text.split(separator: ".", omittingEmptySubsequences: false)
            let decimals = parts.count > 1 ? parts[1] : ""
            guard decimals.count < 18, let digits = Int(parts[0] + decimals) else { return nil }
            self.digits = digits
            scale = decimals.reduce(1) { power, _ in power * 10 }
        }
    }

    /// nil where the decimals never end, or where there are too many of them.
    private static func decimal(_ numerator: Int, _ denominator: Int) -> String? {
        var (rest, decimals, power) = (denominator, 0, 1)
        while !power.isMultiple(of: rest) {
            let (next, overflows) = power.multipliedReportingOverflow(by: 10)
            guard !overflows else { return nil }
            power = next
            decimals += 1
        }
        rest = power / rest
        let (digits, overflows) = numerator.multipliedReportingOverflow(by: rest)
        guard !overflows else { return nil }
        guard decimals > 0 else { return String(digits) }
        let text = String(digits)
        let padded = String(repeating: "0", count: max(0, decimals + 1 - text.count)) + text
        return padded.dropLast(decimals) + "." + padded.suffix(decimals)
    }

    private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }
}
