internal import CPCRE2
import RetortSupport

/// A regular expression of a tokenizer file, matched by PCRE2 under limits of steps, depth and memory.
///
/// The files are written for Oniguruma; `PatternDialect` says where that differs.
final class Pattern: Sendable {
    private static let longest = 1 << 16

    /// As the file has it.
    let text: String
    // Compiled patterns are read-only; each search has its own state.
    private nonisolated(unsafe) let compiled: OpaquePointer

    /// - Throws: `RetortError` 69 when PCRE2 is not installed; 65 when the pattern is wrong, at `place`.
    init(_ text: String, at place: JSONCursor?) throws {
        if let why = cpcre2_load_error() {
            throw RetortError.device(
                "PCRE2 cannot be loaded, and this tokenizer splits text by a pattern: \(String(cString: why))",
                help: "Install it (Debian, Ubuntu: apt install libpcre2-8-0).")
        }
        guard text.utf8.count <= Self.longest else {
            throw Self.failure(text, "it has more than \(Self.longest) bytes, the limit", place)
        }
        var translated: String
        do throws(PatternDialect.Refusal) {
            translated = try PatternDialect.translate(text)
        } catch {
            throw Self.failure(text, error.why, place)
        }
        var message = [CChar](repeating: 0, count: 256)
        var offset = 0
        let compiled = translated.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                cpcre2_compile($0.baseAddress, $0.count, &message, message.count, &offset)
            }
        }
        guard let compiled else {
            let why = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw Self.failure(text, "\(why) (at byte \(offset) of \(translated.quoted(limit: 500)))", place)
        }
        self.text = text
        self.compiled = compiled
    }

    deinit { cpcre2_free(compiled) }

    private static func failure(_ text: String, _ why: String, _ place: JSONCursor?) -> RetortError {
        place?.failure("the pattern cannot be used: \(why)")
            ?? .internalBug("the pattern \(text.quoted()) cannot be used", why: why)
    }

    /// Calls `body` with the byte range of each match, from left to right.
    /// - Throws: `RetortError` 65 when matching goes beyond its limits; whatever `body` throws.
    func forEachMatch(in text: Bytes, _ body: (Range<Int>) throws -> Void) throws {
        guard let address = text.baseAddress else { return }
        var search = cpcre2_search()
        guard cpcre2_begin(&search, compiled) else { throw RetortError.device("PCRE2 has no memory left") }
        defer { cpcre2_end(&search) }
        try withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 2 * Self.batch) { ranges in
            while true {
                let found = cpcre2_next(&search, compiled, address, text.count, ranges.baseAddress, Self.batch)
                guard found >= 0 else { throw exceeded(found) }
                for index in 0..<found { try body(Int(ranges[2 * index])..<Int(ranges[2 * index + 1])) }
                guard found == Self.batch else { return }
            }
        }
    }

    private static let batch = 64

    private func exceeded(_ code: Int) -> RetortError {
        .badData(
            "matching the tokenizer's pattern \(text.quoted(limit: 200)) failed",
            why: code == CPCRE2_LIMIT
                ? "it takes more steps or memory than allowed on this text" : "PCRE2 could not finish",
            help: "The pattern may be made to run for ever, or the text has an endless run of one kind of character.")
    }
}
