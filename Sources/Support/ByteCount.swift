/// Sizes as people write them.
public enum ByteCount {
    /// "0", "4096", "512MiB", "1.5 GiB": digits, then nothing or a binary unit. nil for anything else, below 0 or beyond 63 bits.
    public static func parse(_ text: String) -> Int? {
        let units: [(String, Int)] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)]
        let unit = units.first { text.hasSuffix($0.0) }
        let digits = unit == nil ? text[...] : text.dropLast(3)
        let number = digits.hasSuffix(" ") ? digits.dropLast() : digits
        guard number.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }) else { return nil }
        guard let unit else { return Int(number) }
        guard let value = DecimalText.double(String(number)), value.isFinite else { return nil }
        return Int(exactly: (value * Double(unit.1)).rounded())
    }
}
