import RetortSupport
import TestSupport
import Testing

@testable import RetortData

@Suite("Texts with labels")
struct LabelledTextsTests {
    private static let pairs = LabelledTexts.Columns(
        texts: ["a", "b"], value: "score", wanted: "a number", meaning: { $0.score })

    private func read(_ text: String, _ name: String, _ columns: LabelledTexts.Columns = pairs, limit: Int? = nil)
        throws -> [LabelledTexts.Row]
    {
        try LabelledTexts.read(ScratchFolder().write(text, to: name), columns, limit: limit).rows
    }

    @Test("CSV, TSV, JSON lines and an array say the same")
    func formats() throws {
        let wanted = [
            LabelledTexts.Row(texts: ["one, two", "tw\"o"], value: 4.5), .init(texts: ["é", ""], value: -1),
        ]
        #expect(
            try read("score,b,a,other\r\n4.5,\"tw\"\"o\",\"one, two\",x\r\n-1,,é,y\r\n", "rows.csv") == wanted)
        #expect(try read("a\tb\tscore\none, two\t\"tw\"\"o\"\t4.5\né\t\t-1\n", "rows.tsv") == wanted)
        let objects = [
            #"{"a": "one, two", "b": "tw\"o", "score": 4.5, "c": 1}"#, #"{"score": "-1", "b": "", "a": "é"}"#,
        ]
        #expect(try read(objects.joined(separator: "\n\n") + "\n", "rows.jsonl") == wanted)
        #expect(try read("[" + objects.joined(separator: ",\n") + "]", "rows.json") == wanted)
        #expect(try read(objects.joined(separator: "\n"), "rows.jsonl", limit: 1) == [wanted[0]])
    }

    @Test("a table in pieces of whole rows is the same table, wherever it is cut")
    func pieces() throws {
        let text =
            "\u{FEFF}a,b,score\r\n\"x\ny\",\"\"\"q\"\"\",1\r\n\r\n\n\"é,\n\n\",\"\",2\nlast,\"\n\",3\n\u{FEFF}b,,4\n\n\r\n"
        let whole = Array(text.utf8)
        let path = try ScratchFolder().write(whole, to: "rows.csv")
        func rows(_ all: CSVScanner) throws -> [[String]] {
            var scanner = all
            var fields: [CSVScanner.Field] = []
            var rows: [[String]] = []
            while try scanner.next(&fields) { rows.append(fields.map { scanner.text($0) }) }
            return rows
        }
        let wanted = try rows(CSVScanner(bytes: whole, file: "f", lineLimit: 100))
        #expect(wanted.count == 7 && wanted[2] == [""] && wanted[4][0] == "é," + "\n\n" && wanted[6][0] == "\u{FEFF}b")
        for block in 1...whole.count {
            var pieces = try TablePieces(path, limit: 100, block: block)
            var (bytes, found): ([UInt8], [[String]]) = ([], [])
            while let piece = try pieces.next() {
                #expect(piece.origin == SourceOrigin(line: 1 + bytes.count { $0 == 0x0A }, column: 1))
                bytes += piece.bytes
                found += try rows(
                    CSVScanner(bytes: piece.bytes, file: "f", lineLimit: 100, origin: piece.origin))
            }
            #expect(bytes == whole && found == wanted, "\(block)")
        }
        // More than one piece, of which the last has an error at the end.
        var long = "a,b,score\n" + String(repeating: "\"x\ny\",z,1\n", count: 150_000)
        #expect(
            try read(long, "rows.csv")
                == [LabelledTexts.Row](repeating: .init(texts: ["x\ny", "z"], value: 1), count: 150_000))
        long += "x,y,high\n"
        let wrong = #expect(throws: RetortError.self) { try read(long, "rows.csv") }
        #expect(wrong?.location?.line == 300_002 && wrong?.location?.column == 5)
        #expect(wrong?.why.contains("300002 | x,y,high") == true)
        // A row without an end, and one that is none.
        let limits = TextOptions.Limits(recordBytes: 1000)
        for (content, words) in [
            ("a\n\"" + String(repeating: "x\n", count: 2000), "too long"),
            ("a\n" + String(repeating: "\n", count: 2 << 20) + "b\n", "empty lines"),
        ] {
            let path = try ScratchFolder().write(content, to: "rows.csv")
            let error = #expect(throws: RetortError.self) {
                try LabelledTexts.read(path, .init(texts: ["a"]), limits: limits)
            }
            #expect(error?.exit == .badData && error?.what.contains(words) == true, "\(String(describing: error))")
        }
    }

    @Test("classes by name, by number, by a number's text")
    func classes() throws {
        let names = ["no", "yes", "0"]
        func index(_ value: LabelledTexts.Value) -> Double? { value.index(in: names) }
        #expect(index(.text("yes")) == 1 && index(.number(2)) == 2 && index(.text("1")) == 1)
        #expect(index(.text("0")) == 2, "a name counts before a number")
        for wrong: LabelledTexts.Value in [.text("Yes"), .number(3), .number(0.5), .text("-1"), .text(""), .number(-1)]
        {
            #expect(index(wrong) == nil, "\(wrong)")
        }
    }

    @Test("what is wrong is said, with its place")
    func errors() throws {
        func expect(_ text: String, _ name: String, _ line: Int?, _ column: Int?, _ words: String) {
            let error = #expect(throws: RetortError.self) { try read(text, name) }
            #expect(error?.exit == .badData && error?.location?.line == line, "\(String(describing: error))")
            #expect(error?.location?.column == column && "\(error!)".contains(words), "\(String(describing: error))")
        }
        expect("a,b,score\nx,y,1\nx,y,high\n", "r.csv", 3, 5, "not a number")
        expect("a,b,score\nx,y\n", "r.csv", 2, 4, "truncated")
        expect("a,c,score\nx,y,1\n", "r.csv", 1, 1, "'b'")
        expect("a,b,score\n", "r.csv", nil, nil, "no rows")
        expect("a,b,score\nx,\u{7F}\"y,1\n", "r.csv", 2, 4, "quote")
        expect(
            "{\"a\": \"x\", \"b\": \"y\", \"score\": 1}\n{\"a\": 7, \"b\": \"y\", \"score\": 1}\n", "r.jsonl", 2, 7,
            "a string")
        expect("{\"a\": \"x\", \"b\": \"y\", \"score\": null}", "r.jsonl", 1, 31, "a number")
        expect("{\"a\": \"x\", \"b\": \"y\"}", "r.jsonl", 1, 1, "score")
        expect("{\"a\": ", "r.jsonl", 1, 7, "not valid JSON")
        expect("\n\n", "r.jsonl", nil, nil, "no rows")
        let missing = #expect(throws: RetortError.self) { try LabelledTexts.read("/nowhere.csv", Self.pairs) }
        #expect(missing?.exit == .missingInput)
        let bytes = try ScratchFolder().write(Array("a,b,score\n".utf8) + [0xFF], to: "bad.csv")
        let bad = #expect(throws: RetortError.self) { try LabelledTexts.read(bytes, Self.pairs) }
        #expect(bad?.location?.line == 2 && bad?.exit == .badData)
    }
}
