/// The number that a text comes to: "so she has 1,234.50 dollars left" → "1234.5".
enum NumberAnswer {
    /// GSM8K (Cobbe et al. 2021, arXiv:2110.14168) writes `#### 42`, MATH (Hendrycks et al. 2021, arXiv:2103.03874) `\boxed{42}`. A box that
    /// holds more than a number, such as two of them, a root or a power, has no number, and nothing else in the text stands in for it.
    static func find(in text: String) -> String? {
        if let boxed = lastBoxed(text) {
            let content = BoxedNumber.plain(boxed)
            let found = numbers(content[...])
            if BoxedNumber.isMore(content) || found.count > 1 { return nil }
            if let number = found.first { return number }
        }
        if let mark = text[...].lastRange(of: "####"), let number = numbers(text[mark.upperBound...]).first {
            return number
        }
        return numbers(text[...]).last
    }

    /// All numbers, left to right, each without sign where that is +, thousands separators, leading zeros and zeros at the end of its
    /// decimals. `3/2` is one of them.
    static func numbers(_ text: Substring) -> [String] {
        let bytes = Array(text.replacing("\u{2212}", with: "-").utf8)
        var found: [String] = []
        var position = 0
        while position < bytes.count {
            guard let (number, end) = number(bytes, at: position) else {
                position += 1
                continue
            }
            if bytes.indices.contains(end), bytes[end] == UInt8(ascii: "/"),
                let (below, last) = self.number(bytes, at: end + 1),
                let quotient = Fraction.plain(number, over: below)
            {
                found.append(quotient)
                position = last
            } else {
                found.append(number)
                position = end
            }
        }
        return found
    }

    /// The number that begins at a place, and where it ends.
    private static func number(_ bytes: [UInt8], at start: Int) -> (String, end: Int)? {
        func isDigit(_ index: Int) -> Bool { index < bytes.count && (0x30...0x39).contains(bytes[index]) }
        func byte(_ index: Int) -> UInt8? { bytes.indices.contains(index) ? bytes[index] : nil }
        var position = start
        if byte(position) == UInt8(ascii: "-") {
            // The sign of a number, not the dash of 3-2 or of x-1.
            if start > 0, isWordPart(bytes[start - 1]) { return nil }
            position += 1
            if byte(position) == UInt8(ascii: "$") { position += 1 }
        }
        let isNegative = position > start
        var whole: [UInt8] = []
        while isDigit(position) {
            whole.append(bytes[position])
            position += 1
        }
        // Thousands: up to three digits, then groups of exactly three.
        if (1...3).contains(whole.count) {
            while byte(position) == UInt8(ascii: ","), (1...3).allSatisfy({ isDigit(position + $0) }),
                !isDigit(position + 4)
            {
                whole += bytes[position + 1...position + 3]
                position += 4
            }
        }
        var decimals: [UInt8] = []
        if byte(position) == UInt8(ascii: "."), isDigit(position + 1) {
            position += 1
            while isDigit(position) {
                decimals.append(bytes[position])
                position += 1
            }
        }
        guard !whole.isEmpty || !decimals.isEmpty else { return nil }
        return (plain(isNegative, whole, decimals), position)
    }

    private static func plain(_ isNegative: Bool, _ whole: [UInt8], _ decimals: [UInt8]) -> String {
        let zero = UInt8(ascii: "0")
        var decimals = decimals
        while decimals.last == zero { decimals.removeLast() }
        let significant = whole.drop { $0 == zero }
        let head = significant.isEmpty ? "0" : String(decoding: significant, as: UTF8.self)
        let text = decimals.isEmpty ? head : head + "." + String(decoding: decimals, as: UTF8.self)
        return isNegative && text != "0" ? "-" + text : text
    }

    private static func isWordPart(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte) || byte >= 0x80
            || byte == UInt8(ascii: ")")
    }
}
