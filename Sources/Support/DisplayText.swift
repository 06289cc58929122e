extension String {
    /// The text with control characters, line breaks and direction overrides written as escapes (`\n`, `\u{1B}`),
    /// safe to print whatever file it came from.
    public var displayable: String {
        guard unicodeScalars.contains(where: { $0.isUnprintable }) else { return self }
        var shown = ""
        for scalar in unicodeScalars {
            switch scalar {
            case "\n": shown += "\\n"
            case "\r": shown += "\\r"
            case "\t": shown += "\\t"
            case _ where scalar.isUnprintable: shown += "\\u{" + String(scalar.value, radix: 16, uppercase: true) + "}"
            default: shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }

    /// `displayable`, cut to `limit` scalars with a trailing `…`: for quoting a value from a file in an error.
    public func quoted(limit: Int = 60) -> String {
        let scalars = unicodeScalars
        let head = scalars.prefix(limit)
        let isCut = head.endIndex != scalars.endIndex
        return "'" + String(head).displayable + (isCut ? "…'" : "'")
    }
}

extension Unicode.Scalar {
    /// Control characters (C0, DEL, C1), line and paragraph separators, and the marks that reorder a line on screen.
    fileprivate var isUnprintable: Bool {
        switch value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069, 0x200E, 0x200F, 0x061C, 0xFEFF: true
        default: false
        }
    }
}
