import RetortData
import RetortSupport
import Testing

@Suite("text records in every format")
struct TextFormatTests {
    typealias Content = TextRecord.Content

    struct Case: Sendable {
        let format: TextFormat
        let json: String
        let content: Content
    }

    static let cases: [Case] = [
        Case(
            format: .messages,
            json: #"""
                {"id": 7, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"},
                {"role": "assistant", "content": "4", "weight": 0}, {"role": "tool", "content": "ok"}]}
                """#,
            content: .conversation([
                TextMessage(.system, "Be brief."), TextMessage(.user, "2+2?"),
                TextMessage(.assistant, "4", isLearned: false), TextMessage(.tool, "ok"),
            ])),
        Case(
            format: .completion, json: #"{"prompt": "2+2=", "completion": "4"}"#,
            content: .completion(prompt: "2+2=", completion: "4")),
        Case(format: .prompt, json: #"{"prompt": "Tell me."}"#, content: .prompt("Tell me.")),
        Case(
            format: .alpaca, json: #"{"instruction": "Add.", "input": "2 and 2", "output": "4"}"#,
            content: .conversation([TextMessage(.user, "Add.\n\n2 and 2"), TextMessage(.assistant, "4")])),
        Case(
            format: .alpaca,
            json: #"""
                {"instruction": "And 3?", "input": "", "output": "9", "system": "Square.", "history": [["2?", "4"]]}
                """#,
            content: .conversation([
                TextMessage(.system, "Square."), TextMessage(.user, "2?"), TextMessage(.assistant, "4"),
                TextMessage(.user, "And 3?"), TextMessage(.assistant, "9"),
            ])),
        Case(
            format: .shareGPT,
            json: #"""
                {"system": "Be brief.", "conversations": [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "4"}]}
                """#,
            content: .conversation([
                TextMessage(.system, "Be brief."), TextMessage(.user, "2+2?"), TextMessage(.assistant, "4"),
            ])),
        Case(format: .text, json: #"{"text": "Once upon a time"}"#, content: .text("Once upon a time")),
        Case(
            format: .preference, json: #"{"prompt": "2+2?", "chosen": "4", "rejected": "5"}"#,
            content: .preference(
                prompt: [TextMessage(.user, "2+2?")], chosen: [TextMessage(.assistant, "4")],
                rejected: [TextMessage(.assistant, "5")])),
        Case(
            format: .preference,
            json: #"""
                {"chosen": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}],
                "rejected": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "5"}]}
                """#,
            content: .preference(
                prompt: [TextMessage(.user, "2+2?")], chosen: [TextMessage(.assistant, "4")],
                rejected: [TextMessage(.assistant, "5")])),
        Case(
            format: .shareGPTPreference,
            json: #"""
                {"conversations": [{"from": "human", "value": "2+2?"}], "chosen": {"from": "gpt", "value": "4"},
                "rejected": {"from": "gpt", "value": "5"}}
                """#,
            content: .preference(
                prompt: [TextMessage(.user, "2+2?")], chosen: [TextMessage(.assistant, "4")],
                rejected: [TextMessage(.assistant, "5")])),
    ]

    @Test("the first record says which format it is, in lines and in an array", arguments: 0..<cases.count)
    func detected(_ index: Int) throws {
        let example = Self.cases[index]
        let line = example.json.replacing("\n", with: " ")
        for text in ["\(line)\n\(line)\n", "[\(example.json),\n  \(line)]\n", "\u{FEFF}\r\n\(line)\r\n\r\n\(line)"] {
            for format in [nil, example.format] {
                let (source, file) = try TextSource.of(text, TextOptions(format: format))
                #expect(source.format == example.format)
                #expect(try source.all().map(\.content) == [example.content, example.content])
                withExtendedLifetime(file) {}
            }
        }
    }

    @Test("fields by the file's names, and members to keep")
    func fields() throws {
        let text = #"{"question": "2+2?", "answer": "4", "level": 1}"# + "\n"
        let options = TextOptions(fields: ["prompt": "question", "completion": "answer"], keep: ["level", "answer"])
        let (source, file) = try TextSource.of(text, options)
        let record = try source.record(0)
        #expect(record.content == .completion(prompt: "2+2?", completion: "4"))
        #expect(record.kept["answer"] == "4" && record.kept["level"] == 1 && record.kept.count == 2)
        #expect(record.place == TextRecord.Place(file: file.path, line: 1, column: 1))

        #expect(openingError(text)?.help.contains("fields") == true)
        #expect(openingError(text, TextOptions(fields: ["promt": "question"]))?.exit == .recipe)
        #expect(openingError(text, TextOptions(format: .lines, fields: ["text": "question"]))?.exit == .recipe)
        let missing = TextOptions(fields: options.fields, keep: ["levle"])
        #expect(openingError(text, missing)?.what.contains("levle") == true)
    }

    @Test("a format that cannot be told, or changes, is an error")
    func unclear() throws {
        let ambiguous =
            #"{"messages": [{"role": "user", "content": "a"}], "chosen": "b", "rejected": "c", "prompt": "d"}"#
        #expect(openingError(ambiguous)?.why.contains("several formats") == true)
        #expect(try contents(ambiguous, TextOptions(format: .messages)).count == 1)
        #expect(openingError("{\"x\": 1}\n")?.why.contains("no format") == true)
        #expect(openingError("Plain text.\n")?.help.contains("lines") == true)

        let mixed = "{\"text\": \"a\"}\n{\"prompt\": \"b\", \"completion\": \"c\"}\n"
        let change = openingError(mixed)
        #expect(change?.location?.line == 2)
        #expect(change?.why.contains("prompt-completion") == true)
        #expect(openingError("{\"text\": \"a\"}\n{\"txt\": \"b\"}\n")?.what.contains("'text' is missing") == true)
    }

    @Test("plain text: lines, paragraphs, the whole file")
    func plain() throws {
        let text = "\u{FEFF}one\r\ntwo\r\n\r\n \t\r\nthree\r\nfour"
        let lines = try contents(text, TextOptions(format: .lines))
        #expect(lines == [.text("one"), .text("two"), .text("three"), .text("four")])
        let prompts = try contents(text, TextOptions(format: .promptLines))
        #expect(prompts == [.prompt("one"), .prompt("two"), .prompt("three"), .prompt("four")])
        let paragraphs = try contents(text, TextOptions(format: .paragraphs))
        #expect(paragraphs == [.text("one\ntwo"), .text("three\nfour")])
        let whole = try contents(text, TextOptions(format: .document))
        #expect(whole == [.text("one\ntwo\n\n \t\nthree\nfour")])
        let (source, file) = try TextSource.of(text, TextOptions(format: .lines))
        #expect(source.summary.blankLines == 2)
        #expect(source.summary.byteOrderMarks == 1 && source.summary.carriageReturns == 1)
        #expect(try source.record(2).place?.line == 5)
        withExtendedLifetime(file) {}
    }

    @Test(
        "what a conversation may not have",
        arguments: [
            (#"{"messages": [{"role": "sytem", "content": "a"}]}"#, "system", 1, 24),
            (#"{"messages": []}"#, "no messages", 1, 14),
            (#"{"messages": [{"role": "user", "content": 3}]}"#, "a whole number", 1, 43),
            (#"{"messages": [{"role": "assistant", "content": "a", "tool_calls": [1]}]}"#, "calls of tools", 1, 67),
            (#"{"messages": [{"role": "user", "content": "a"}], "tools": [1]}"#, "tools", 1, 59),
            (#"{"messages": [{"role": "assistant", "content": "a", "weight": 2}]}"#, "range", 1, 63),
            (#"{"conversations": [{"from": "humn", "value": "a"}]}"#, "human", 1, 29),
            (
                #"{"prompt": "a", "chosen": [{"role": "user", "content": "b"}], "rejected": [{"role": "user", "content": "c"}]}"#,
                "not an answer", 1, 27
            ),
            (#"{"prompt": null, "chosen": "a", "rejected": "b"}"#, "null", 1, 12),
            (#"{"instruction": "a", "output": "b", "history": [["c"]]}"#, "a question and an answer", 1, 49),
        ])
    func refused(_ json: String, _ word: String, _ line: Int, _ column: Int) throws {
        let failure = try #require(openingError(json + "\n"))
        #expect(failure.exit == .badData)
        #expect(failure.description.contains(word), "\(failure)")
        #expect(failure.location?.line == line && failure.location?.column == column, "\(failure)")
        #expect(failure.why.contains("^"), "\(failure)")
    }
}
