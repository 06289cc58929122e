import RetortSupport

/// The objects of JSON lines or of a JSON array, which may be compressed, one after the other.
enum ObjectRows {
    /// - Parameters:
    ///   - most: objects at most.
    ///   - body: gets each as a cursor whose errors show the place.
    /// - Throws: exit 66 when the file is not there; 65 with file:line:column for what is no JSON; 69 for a compressed file without the
    ///   library for it; 74 on I/O errors; what `body` throws.
    static func read(
        _ path: String, _ limits: TextOptions.Limits, most: Int,
        _ body: (JSONCursor) throws -> Void
    ) throws {
        var window = try ScanWindow(try ContentReader(path: path, limits: limits))
        if try window.firstCharacter() == UInt8(ascii: "[") {
            var scanner = ArrayScanner(window, limit: limits.recordBytes)
            try readAll(&scanner, path, limits, most: most, body)
        } else {
            var scanner = LineScanner(window, limit: limits.recordBytes)
            try readAll(&scanner, path, limits, most: most, body)
        }
    }

    private static func readAll(
        _ scanner: inout some RecordScanner, _ path: String, _ limits: TextOptions.Limits, most: Int,
        _ body: (JSONCursor) throws -> Void
    ) throws {
        var count = 0
        while count < most, let found = try scanner.next() {
            if let failure = found.failure { throw failure }
            try body(
                JSONCursor.parse(
                    found.bytes, file: path, limits: RecordReader.limits(limits), origin: found.origin))
            count += 1
        }
    }
}
