import RetortSupport

/// A regular expression that a user gives, matched by PCRE2 under limits of steps, depth and memory: neither it nor the text can make the
/// program run for ever. Safe to use from several threads.
public struct AnswerPattern: Sendable {
    private let pattern: Pattern

    /// - Throws: `RetortError` 64 when the expression is wrong, 69 when PCRE2 is not installed.
    public init(_ text: String) throws {
        do {
            pattern = try Pattern(text, at: nil)
        } catch let error as RetortError where error.exit == .internalBug {
            throw RetortError.usage(error.what, why: error.why)
        } catch let error as RetortError {
            throw RetortError(
                exit: error.exit, what: "PCRE2 cannot be loaded, and a pattern is looked for in texts",
                why: error.what, help: error.help)
        }
    }

    /// The last match that is not empty, without white space around it; nil where there is none. `\K` in the pattern forgets what was
    /// matched so far.
    /// - Throws: `RetortError` 65 when matching goes beyond its limits.
    public func lastMatch(in text: String) throws -> String? {
        var found: String?
        var text = text
        try text.withUTF8 { bytes in
            do {
                try pattern.forEachMatch(in: bytes) { range in
                    let match = String(decoding: bytes[range], as: UTF8.self)
                    let scalars = match.unicodeScalars
                    guard let first = scalars.firstIndex(where: { !$0.properties.isWhitespace }),
                        let last = scalars.lastIndex(where: { !$0.properties.isWhitespace })
                    else { return }
                    found = String(scalars[first...last])
                }
            } catch let error as RetortError where error.exit == .badData {
                throw RetortError.badData(
                    "matching the pattern \(pattern.text.quoted(limit: 200)) failed", why: error.why,
                    help: "write it so that it cannot match the same text in many ways")
            }
        }
        return found
    }
}
