import RetortSupport

/// The lines of a text file that is read whole: strict UTF-8, lines end at LF or CR LF.
struct TextLines {
    private let path: String
    private let bytes: [UInt8]
    private var lines: [Range<Int>] = []

    /// - Throws: `RetortError` 66 when it is not there, 65 when it is too large or not UTF-8, 74 on I/O errors.
    init(_ path: String) throws(RetortError) {
        self.path = path
        bytes = try InputFile.read(path, limit: TokenizerLimit.fileBytes)
        if let offset = UTF8Check.firstInvalidOffset(in: bytes) {
            throw failure(atByte: offset, "the text is not valid UTF-8 here")
        }
        var start = 0
        for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") {
            lines.append(start..<index)
            start = index + 1
        }
        if start < bytes.count { lines.append(start..<bytes.count) }
    }

    var count: Int { lines.count }

    func text(_ index: Int) -> String {
        var line = lines[index]
        if let last = bytes[line].last, last == UInt8(ascii: "\r") { line = line.lowerBound..<line.upperBound - 1 }
        return String(decoding: bytes[line], as: UTF8.self)
    }

    /// An error about a line.
    func failure(_ index: Int, _ why: String) -> RetortError { failure(atByte: lines[index].lowerBound, why) }

    private func failure(atByte offset: Int, _ why: String) -> RetortError {
        let place = SourcePosition(offset: offset, in: bytes)
        return .badData(
            "\(path.quoted(limit: 200)) cannot be used", at: place.location(in: path), why: why + "\n" + place.excerpt)
    }
}

/// What tokenizer files may cost.
enum TokenizerLimit {
    static let fileBytes = 64 << 20
    static let configBytes = 4 << 20
    /// Bytes of one text to encode, also of what normalizers make of it.
    static let textBytes = 1 << 30
    /// Bytes of a string that a component puts into texts.
    static let partBytes = 1024

    /// A string that a component puts into texts.
    /// - Throws: `RetortError` 65 when it is longer than `partBytes`.
    static func part(_ cursor: JSONCursor) throws(RetortError) -> [UInt8] {
        let part = Array(try cursor.string().utf8)
        guard part.count <= partBytes else { throw cursor.failure("it has more than \(partBytes) bytes, the limit") }
        return part
    }

    /// - Throws: `RetortError` 65 when a component would make a text of this many bytes.
    static func check(textBytes count: Int) throws(RetortError) {
        guard count <= textBytes else {
            throw .badData(
                "the tokenizer makes a text too long", why: "its limit is \(NumberFormat.bytes(textBytes))",
                help: "Its components may be made to multiply what they are given.")
        }
    }
}
