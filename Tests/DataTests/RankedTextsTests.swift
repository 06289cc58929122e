import RetortSupport
import TestSupport
import Testing

@testable import RetortData

@Suite("Queries with passages")
struct RankedTextsTests {
    private func read(_ text: String, _ name: String = "rows.jsonl", scores: String? = nil, limit: Int? = nil) throws
        -> [RankedTexts.Row]
    {
        var names = RankedTexts.Names()
        names.scores = scores
        return try RankedTexts.read(ScratchFolder().write(text, to: name), names, limit: limit).rows
    }

    @Test("lists, one text, labels and scores; JSON lines and an array")
    func forms() throws {
        let lines = [
            #"{"query": "q", "passages": ["a", "b", "é"], "labels": [0, 2, 1], "scores": [1, -2.5, 3]}"#,
            #"{"passages": "only", "query": "r", "other": [], "scores": [7]}"#,
        ]
        let rows = try read(lines.joined(separator: "\n\n"), scores: "scores")
        #expect(rows.map(\.query) == ["q", "r"] && rows.map(\.passages) == [["a", "b", "é"], ["only"]])
        #expect(rows.map(\.labels) == [[0, 2, 1], [1]] && rows.map(\.scores) == [[1, -2.5, 3], [7]])
        #expect(rows.map(\.place.line) == [1, 3])
        let array = try read("[" + lines.joined(separator: ",") + "]", "rows.json")
        #expect(array.map(\.passages) == rows.map(\.passages) && array.map(\.scores) == [nil, nil])
        #expect(try read(lines.joined(separator: "\n"), limit: 1).count == 1)
        // Without labels the first passage is relevant, and it alone.
        #expect(try read(#"{"query": "q", "passages": ["a", "b"]}"#)[0].labels == [1, 0])
    }

    @Test("other names")
    func names() throws {
        var names = RankedTexts.Names()
        (names.query, names.passages) = ("question", "answer")
        let path = try ScratchFolder().write(#"{"question": "q", "answer": "a"}"#, to: "rows.jsonl")
        #expect(try RankedTexts.read(path, names).rows[0].passages == ["a"])
    }

    @Test("what is wrong is said, with its place")
    func errors() throws {
        func expect(_ text: String, _ column: Int?, _ words: String) {
            let error = #expect(throws: RetortError.self) {
                try read(#"{"query": "q", "passages": "p", "scores": [1]}"# + "\n" + text, scores: "scores")
            }
            #expect(error?.exit == .badData && error?.location?.line == 2, "\(String(describing: error))")
            #expect(
                (column == nil || error?.location?.column == column) && "\(error!)".contains(words),
                "\(String(describing: error))")
        }
        expect(#"{"query": 1, "passages": "p", "scores": [1]}"#, 11, "a string")
        expect(#"{"query": "q", "passages": [], "scores": []}"#, 28, "needs a passage")
        expect(#"{"query": "q", "passages": ["a", 3], "scores": [1, 2]}"#, 34, "a string")
        expect(#"{"query": "q", "passages": ["a", "b"], "scores": [1]}"#, 50, "1 numbers for 2 passages")
        expect(#"{"query": "q", "passages": ["a"]}"#, nil, "'scores' is missing")
        expect(#"{"query": "q", "passages": ["a"], "labels": [0], "scores": [1]}"#, 45, "no passage is relevant")
        expect(#"{"query": "q", "passages": ["a", "b"], "labels": [1, -1], "scores": [1, 2]}"#, 54, "0 or more")
        expect(#"{"passages": "p"}"#, nil, "'query' is missing")
        expect("[]", 1, "an object")
        let empty = #expect(throws: RetortError.self) { try read("") }
        #expect(empty?.exit == .badData && empty?.what.contains("no rows") == true)
    }
}
