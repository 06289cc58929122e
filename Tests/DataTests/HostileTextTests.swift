import RetortData
import RetortSupport
import Testing

@Suite("text files made to mislead")
struct HostileTextTests {
    @Test(
        "no crash and a place to look at",
        arguments: [
            ("{\"text\": \"a\"}\n{\"text\": \"b\u{1}\"}\n", 2, 12),
            ("{\"text\": \"a\", \"text\": \"b\"}\n", 1, 15),
            ("{\"text\": \"a\"} {\"text\": \"b\"}\n", 1, 15),
            ("{\"text\": \"a\nb\"}\n", 1, 10),
            ("{\"text\": NaN}\n", 1, 10),
            ("{\"text\": \"a\"", 1, 13),
            ("{\"text\": " + String(repeating: "[", count: 100_000) + "\n", 1, 73),
            ("[{\"text\": \"a\"} {\"text\": \"b\"}]", 1, 16),
            ("[{\"text\": \"a\"},]", 1, 16),
            ("[{\"text\": \"a\"}]\n]", 2, 1),
            ("[{\"text\": \"a\"},\n", 2, 1),
            ("[{\"text\": \"a\"},\n{\"text\": \"b}]\n", 2, 1),
            ("[1, 2]", 1, 2),
            ("[[{\"text\": \"a\"}]]", 1, 2),
            ("[{\"text\": \"a\"}, null]", 1, 17),
            ("{\"text\": \"a\"}\nnull\n", 2, 1),
        ])
    func places(_ text: String, _ line: Int, _ column: Int) throws {
        let failure = try #require(openingError(text))
        #expect(failure.exit == .badData)
        #expect(failure.location?.line == line && failure.location?.column == column, "\(failure)")
        #expect(failure.why.contains("\(line) | "), "\(failure)")
    }

    @Test("bytes that are not text")
    func bytes() throws {
        let invalid = openingError(Array("{\"text\": \"a\"}\n{\"text\": \"é".utf8) + [0xE9, 0x22, 0x7D, 0x0A])
        #expect(invalid?.location?.line == 2 && invalid?.location?.column == 12)
        #expect(openingError(Array("{\"text\": \"a".utf8) + [0] + Array("\"}\n".utf8))?.location?.column == 12)
        for format in [TextFormat.lines, .paragraphs, .document] {
            let options = TextOptions(format: format)
            let wrong = openingError([0x61, 0x0A, 0x62, 0xC0, 0x80], options)
            #expect(wrong?.location?.line == 2 && wrong?.location?.column == 2, "\(format)")
            let zero = openingError([0x61, 0x0A, 0x62, 0x63, 0x00], options)
            #expect(zero?.location?.line == 2 && zero?.location?.column == 3, "\(format)")
            #expect(zero?.what.contains("NUL") == true)
        }
        #expect(openingError([0xFF, 0xFE, 0x7B, 0x00])?.why.contains("UTF-16") == true)
        #expect(openingError(Array("PAR1".utf8) + [0, 1, 2])?.help.contains("to_json") == true)
    }

    @Test("nothing in it, or no file at all")
    func nothing() throws {
        for text in ["", "\n \n\t\n", "\u{FEFF}", "[]", " [ ] \n"] {
            let failure = openingError(text)
            #expect(failure?.exit == .badData && failure?.what.contains("no records") == true, "\(text.quoted())")
        }
        #expect(openingError("", TextOptions(format: .document))?.exit == .badData)
        #expect(openingError("\r\n\r\n", TextOptions(format: .paragraphs))?.exit == .badData)
        #expect(error { _ = try TextSource.open(["/tmp"]) }?.exit == .badData)
        #expect(error { _ = try TextSource.open(["/tmp/there is no such file"]) }?.exit == .missingInput)
        #expect(error { _ = try TextSource.open(["/dev/null"]) }?.exit == .badData)
    }

    @Test("lines, objects, paragraphs and documents beyond the limit")
    func tooLong() throws {
        let limits = TextOptions.Limits(recordBytes: 100, documentBytes: 1000)
        let long = String(repeating: "x", count: 3 << 20)
        let skipping = TextOptions(onBadLine: .skip, limits: limits)
        let lines = "{\"text\": \"a\"}\n{\"text\": \"\(long)\"}\n{\"text\": \"b\"}\n"
        let failure = openingError(lines, TextOptions(limits: limits))
        #expect(failure?.location?.line == 2 && failure?.what.contains("too long") == true)
        #expect(try contents(lines, skipping) == [.text("a"), .text("b")])
        // As many bytes as allowed, and one more.
        func line(_ count: Int) -> String { "{\"text\": \"" + String(repeating: "y", count: count - 12) + "\"}\n" }
        #expect(try contents(line(100), TextOptions(limits: limits)).count == 1)
        #expect(openingError(line(101), TextOptions(limits: limits)) != nil)

        let object = openingError("[{\"text\": \"\(long)\"}]", TextOptions(limits: limits))
        #expect(object?.what.contains("too long") == true)
        let words = String(repeating: "word\n", count: 50)
        let paragraphs = TextOptions(format: .paragraphs, onBadLine: .skip, limits: limits)
        #expect(try contents("a\n\n\(words)\nb\n", paragraphs) == [.text("a"), .text("b")])
        #expect(openingError(long, TextOptions(format: .document, limits: limits))?.help.contains("lines") == true)
    }

    @Test("compressed files: cut off, damaged, followed by something, and bombs")
    func compressed() throws {
        let content = Array(String(repeating: "{\"text\": \"abc\"}\n", count: 20_000).utf8)
        for whole in [gzip(content), zstd(content)] {
            for length in [5, 11, whole.count / 2, whole.count - 1] {
                let failure = openingError(Array(whole[..<length]))
                #expect(failure?.exit == .badData, "\(length) bytes")
                #expect(failure?.what.contains("damaged") == true, "\(length) bytes: \(String(describing: failure))")
            }
            #expect(openingError(whole + Array("rest".utf8))?.exit == .badData)
        }
        var wrong = gzip(content)
        wrong[1000] ^= 1
        #expect(openingError(wrong)?.exit == .badData)
        // 6 GiB of one letter in 200 kB: the line is too long long before.
        let bomb = zstd([], repeating: (UInt8(ascii: "{"), 49_152))
        #expect(openingError(bomb)?.what.contains("too long") == true)
        // 6 GiB of line feeds have no line that is too long.
        let feeds = zstd([], repeating: (UInt8(ascii: "\n"), 49_152))
        let tooMuch = openingError(feeds, TextOptions(limits: .init(decompressedBytes: 4 << 20)))
        #expect(tooMuch?.what.contains("too large to be read compressed") == true)
        #expect(tooMuch?.help.contains("Decompress") == true)
    }
}
