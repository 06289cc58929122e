import Glibc

/// Numbers for people. Never depends on the locale: the program does not set one.
public enum NumberFormat {
    /// `decimals` digits after the point, correctly rounded; "nan", "inf", "-inf" otherwise.
    public static func fixed(_ value: Double, decimals: Int) -> String {
        guard value.isFinite else { return "\(value)" }
        return formatted("%.*f", [Int32(clamping: min(max(decimals, 0), 20)), value])
    }

    /// `digits` significant digits without needless zeros: 0.001234, 12.3, 1.2e+09.
    public static func significant(_ value: Double, digits: Int = 4) -> String {
        guard value.isFinite else { return "\(value)" }
        return formatted("%.*g", [Int32(clamping: min(max(digits, 1), 17)), value])
    }

    /// "0.912 ± 0.003"; without a deviation only the mean.
    public static func mean(_ mean: Double, deviation: Double?, decimals: Int) -> String {
        guard let deviation else { return fixed(mean, decimals: decimals) }
        return fixed(mean, decimals: decimals) + " ± " + fixed(deviation, decimals: decimals)
    }

    /// A share of 1 as a percentage: 0.9583 is "95.8 %".
    public static func percent(_ fraction: Double, decimals: Int = 1) -> String {
        fixed(fraction * 100, decimals: decimals) + " %"
    }

    /// "512 B", "1.5 KiB", "3.2 MiB": binary units, one decimal.
    public static func bytes(_ count: Int) -> String {
        guard count.magnitude >= 1024 else { return "\(count) B" }
        var value = Double(count)
        var unit = "B"
        // 1023.95 and more would be shown as 1024.0.
        for next in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] where abs(value) >= 1023.95 {
            value /= 1024
            unit = next
        }
        return fixed(value, decimals: 1) + " " + unit
    }

    /// "850 µs", "12.3 ms", "4.5 s", "3 m 05 s", "2 h 03 m" from seconds.
    public static func duration(seconds: Double) -> String {
        guard seconds.isFinite else { return "\(seconds)" }
        guard seconds >= 0 else { return "-" + duration(seconds: -seconds) }
        switch seconds {
        case ..<0.000_999_5: return fixed(seconds * 1e6, decimals: 0) + " µs"
        case ..<0.999_95: return fixed(seconds * 1e3, decimals: 1) + " ms"
        case ..<59.95: return fixed(seconds, decimals: 1) + " s"
        case ..<3599.5:
            let whole = Int(seconds.rounded())
            return "\(whole / 60) m \(twoDigits(whole % 60)) s"
        case ..<1e15:
            let minutes = Int((seconds / 60).rounded())
            return "\(minutes / 60) h \(twoDigits(minutes % 60)) m"
        default: return significant(seconds / 3600) + " h"
        }
    }

    /// "1 class", "2 classes".
    public static func counted(_ count: Int, _ one: String, _ many: String) -> String {
        "\(count) \(count == 1 ? one : many)"
    }

    /// As people write it in a recipe: whole numbers without a point.
    public static func plain(_ value: Double) -> String {
        value == value.rounded() && abs(value) < 9e15 ? String(Int(value)) : "\(value)"
    }

    /// An integer with thin groups of three: 1 234 567.
    public static func grouped(_ value: Int) -> String {
        let digits = String(value.magnitude)
        var text = value < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text += " " }
            text.append(digit)
        }
        return text
    }

    private static func twoDigits(_ value: Int) -> String {
        value < 10 ? "0\(value)" : "\(value)"
    }

    private static func formatted(_ format: String, _ arguments: [any CVarArg]) -> String {
        // The longest Double with 20 decimals has 330 characters.
        var buffer = [CChar](repeating: 0, count: 400)
        let length = withVaList(arguments) { vsnprintf(&buffer, buffer.count, format, $0) }
        let characters = buffer.prefix(min(max(Int(length), 0), buffer.count - 1))
        return String(decoding: characters.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
