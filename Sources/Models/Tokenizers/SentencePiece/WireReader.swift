import RetortSupport

/// Reads the fields of a message in protobuf's wire format, strictly: a length is compared with what is left before anything is made of
/// it, a varint has at most ten bytes and no bit beyond the 64th, groups are refused.
/// (https://protobuf.dev/programming-guides/encoding)
struct WireReader {
    /// A field: its number, what it holds and where in the file its key begins.
    struct Field {
        enum Value {
            case varint(UInt64)
            case fixed64
            case bytes(Range<Int>)
            case fixed32(UInt32)
        }

        let number: Int
        let value: Value
        let offset: Int
    }

    let file: String
    let bytes: [UInt8]

    /// - Throws: `RetortError` 66 when it is not there, 65 when it is too large, 74 on I/O errors.
    init(_ path: String) throws(RetortError) {
        file = path
        bytes = try InputFile.read(path, limit: TokenizerLimit.fileBytes)
    }

    /// Calls `body` with each field of the message in `range`.
    /// - Throws: `RetortError` 65 with the byte offset for what is no message; whatever `body` throws.
    func forEachField(in range: Range<Int>, _ body: (Field) throws -> Void) throws {
        var position = range.lowerBound
        while position < range.upperBound {
            let start = position
            let key = try varint(&position, range.upperBound)
            let number = key >> 3
            guard (1...0x1FFF_FFFF).contains(number) else {
                throw failure(start, "a field cannot have the number \(number)")
            }
            let value: Field.Value
            switch key & 7 {
            case 0: value = .varint(try varint(&position, range.upperBound))
            case 1:
                try need(8, position, range.upperBound)
                value = .fixed64
                position += 8
            case 2:
                let length = try varint(&position, range.upperBound)
                guard length <= UInt64(range.upperBound - position) else {
                    throw failure(
                        start,
                        "field \(number) is to have \(length) bytes, of which \(range.upperBound - position) are left")
                }
                value = .bytes(position..<position + Int(length))
                position += Int(length)
            case 5:
                try need(4, position, range.upperBound)
                value = .fixed32(word(position))
                position += 4
            case let type: throw failure(start, "field \(number) is of wire type \(type), which is not read")
            }
            try body(Field(number: Int(number), value: value, offset: start))
        }
    }

    private func need(_ count: Int, _ position: Int, _ end: Int) throws(RetortError) {
        guard end - position >= count else { throw failure(position, "the message ends in the middle of a number") }
    }

    private func varint(_ position: inout Int, _ end: Int) throws(RetortError) -> UInt64 {
        let start = position
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), through: 63, by: 7) {
            guard position < end else { throw failure(start, "the message ends in the middle of a number") }
            let byte = UInt64(bytes[position])
            position += 1
            guard shift < 63 || byte <= 1 else { break }
            value |= (byte & 0x7F) << shift
            if byte < 0x80 { return value }
        }
        throw failure(start, "a number has more than 64 bits")
    }

    /// The little-endian word at `offset`.
    func word(_ offset: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) }
    }

    func failure(_ offset: Int, _ why: String) -> RetortError {
        .badData(
            "\(file.quoted(limit: 200)) is not a SentencePiece model that can be used", at: .init(file: file),
            why: "at byte \(offset): \(why)",
            help:
                "Copy the file again (perhaps it is an incomplete download or a Git LFS pointer), or give the model's tokenizer.json."
        )
    }
}

extension WireReader.Field {
    private func wrong(_ wanted: String, _ reader: WireReader) -> RetortError {
        reader.failure(offset, "field \(number) must be \(wanted)")
    }

    func range(_ reader: WireReader) throws(RetortError) -> Range<Int> {
        guard case .bytes(let range) = value else { throw wrong("a string or a message", reader) }
        return range
    }

    /// Strict UTF-8.
    func string(_ reader: WireReader) throws(RetortError) -> String {
        let range = try range(reader)
        let text = Array(reader.bytes[range])
        if let place = UTF8Check.firstInvalidOffset(in: text) {
            throw reader.failure(range.lowerBound + place, "the text is not valid UTF-8 here")
        }
        return String(decoding: text, as: UTF8.self)
    }

    func float(_ reader: WireReader) throws(RetortError) -> Float {
        guard case .fixed32(let bits) = value else { throw wrong("a 32-bit float", reader) }
        let value = Float(bitPattern: bits)
        guard value.isFinite else { throw reader.failure(offset, "field \(number) is not a finite number") }
        return value
    }

    func bool(_ reader: WireReader) throws(RetortError) -> Bool {
        guard case .varint(let bits) = value, bits <= 1 else { throw wrong("0 or 1", reader) }
        return bits == 1
    }

    func int(_ reader: WireReader) throws(RetortError) -> Int {
        guard case .varint(let bits) = value else { throw wrong("a whole number", reader) }
        let number = Int64(bitPattern: bits)
        guard let narrow = Int32(exactly: number) else { throw wrong("a 32-bit number", reader) }
        return Int(narrow)
    }
}
