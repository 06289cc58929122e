@testable import RetortSupport
import Testing

@Suite struct JSONParserTests {
    private func parse(_ text: String) throws -> JSON { try JSON.parse(text, file: "t.json") }

    @Test func accepts() throws {
        let accepted: [(String, JSON)] = [
            ("null", nil), (" \t\r\n true ", true), ("0", 0), ("-0", .double(-0.0)), ("-12", -12),
            ("9223372036854775807", .int(Int.max)), ("-9223372036854775808", .int(Int.min)),
            ("9223372036854775808", .double(9_223_372_036_854_775_808)),
            ("-9223372036854775809", .double(-9_223_372_036_854_775_808)),
            ("1.0", .double(1)), ("1e2", .double(100)), ("0.1", .double(0.1)), ("1E-400", .double(0)),
            ("5e-324", .double(.leastNonzeroMagnitude)), ("1.7976931348623157e308", .double(1.7976931348623157e308)),
            ("123456789012345678901234567890", .double(123456789012345677877719597056)),
            ("\"\"", ""), (#""a\"\\\/\b\f\n\r\té""#, .string("a\"\\/\u{8}\u{C}\n\r\té")),
            (#""\uD83D\uDE00""#, "😀"), (#""\u0000""#, "\0"), ("\"\u{7F}\u{FEFF}\"", "\u{7F}\u{FEFF}"),
            ("[]", []), ("[1,[2]]", [1, [2]]), ("{}", .object(JSONObject())),
            (#"{"b":1,"a":{"c":null}}"#, ["b": 1, "a": ["c": nil]]), (#"{"":0}"#, ["": 0]),
        ]
        for (text, value) in accepted { #expect(try parse(text) == value, "\(text)") }
        guard case .double(let zero) = try parse("-0") else { return #expect(Bool(false)) }
        #expect(zero.sign == .minus)
    }

    /// Text, line, column, and a part of the reason.
    @Test(arguments: [
        ("", 1, 1, "empty"), ("   ", 1, 4, "empty"), ("[1,]", 1, 3, "comma before ']'"),
        ("{\"a\":1,}", 1, 7, "comma before '}'"), ("[1 2]", 1, 4, "',' or ']'"), ("[,1]", 1, 2, "a value"),
        ("{a:1}", 1, 2, "double quotes"), ("{'a':1}", 1, 2, "double quotes"), ("{\"a\" 1}", 1, 6, "':'"),
        ("{\"a\":}", 1, 6, "a value"), ("{\"a\":1", 1, 7, "ends where"), ("[", 1, 2, "ends where"),
        ("{\"a\":1 \"b\":2}", 1, 8, "',' or '}'"), ("1 2", 1, 3, "after the end"), ("[1]]", 1, 4, "after the end"),
        ("01", 1, 1, "begin with a zero"), ("-", 1, 2, "a digit"), ("-a", 1, 2, "a digit"), ("1.", 1, 3, "a digit"),
        (".5", 1, 1, "a value"), ("+1", 1, 1, "a value"), ("1e", 1, 3, "a digit"), ("1e+", 1, 4, "a digit"),
        ("0x10", 1, 2, "after the end"), ("1e400", 1, 1, "too large"), ("-1e400", 1, 1, "too large"),
        ("NaN", 1, 1, "a value"), ("Infinity", 1, 1, "a value"), ("nul", 1, 1, "a value"), ("True", 1, 1, "a value"),
        ("\"abc", 1, 1, "does not end"), ("\"a\\", 1, 3, "escape does not exist"), ("\"a\nb\"", 1, 3, "line break"),
        ("\"a\tb\"", 1, 3, "control character"), ("\"\\x\"", 1, 2, "escape does not exist"),
        ("\"\\u12g4\"", 1, 2, "four hexadecimal"), ("\"\\u12", 1, 2, "four hexadecimal"),
        ("\"\\uD800\"", 1, 2, "surrogate"), ("\"\\uDC00\"", 1, 2, "surrogate"), ("\"\\uD800x\"", 1, 2, "surrogate"),
        ("\"\\uD800\\n\"", 1, 2, "surrogate"), ("\"\\uD800\\uD800\"", 1, 2, "surrogate"),
        ("{\"a\":1,\n \"a\":2}", 2, 2, "'a' appears twice"), ("{\"a\":1,\"\\u0061\":2}", 1, 8, "'a' appears twice"),
        ("\u{FEFF}1", 1, 1, "byte order mark"), ("[1]\0", 1, 4, "after the end"), ("\0", 1, 1, "a value"),
        ("// c\n1", 1, 1, "a value"), ("é1", 1, 1, "a value"), ("[\"é\" 1]", 1, 6, "',' or ']'"),
    ])
    func rejects(text: String, line: Int, column: Int, reason: String) {
        let failure = error { _ = try parse(text) }
        #expect(failure?.exit == .badData)
        #expect(failure?.location == RetortError.Location(file: "t.json", line: line, column: column))
        #expect(failure?.why.contains(reason) == true, "\(failure?.why ?? "")")
        #expect(failure?.what == "'t.json' is not valid JSON")
    }

    @Test(
        arguments: [
            ([0x22, 0xFF, 0x22], 2), ([0x22, 0xC0, 0x80, 0x22], 2), ([0x22, 0xED, 0xA0, 0x80, 0x22], 2),
            ([0x22, 0xF4, 0x90, 0x80, 0x80, 0x22], 2), ([0x22, 0xE2, 0x82, 0x22], 2), ([0x22, 0x80, 0x22], 2),
            ([0x22, 0xF0, 0x9F, 0x98], 2), ([0x22, 0xE0, 0x9F, 0xBF, 0x22], 2), ([0xFE, 0xFF, 0, 0x31], 1),
        ] as [([UInt8], Int)])
    func rejectsBadUTF8(text: [UInt8], column: Int) {
        let failure = error { _ = try JSON.parse(text, file: "f") }
        #expect(failure?.location == RetortError.Location(file: "f", line: 1, column: column))
        #expect(failure?.why.contains("not valid UTF-8") == true)
    }

    @Test func showsAnExcerpt() {
        let failure = error { _ = try parse("{\n  \"a\": 1\n  \"b\": 2\n}") }
        #expect(
            failure?.description == """
                error: 't.json' is not valid JSON
                  --> t.json:3:3
                  ',' or '}' is expected here
                  3 |   "b": 2
                    |   ^
                """)
        let long = "[" + String(repeating: "1, ", count: 5000) + "x" + String(repeating: ", 1", count: 5000) + "]"
        #expect((error { _ = try parse(long) }?.description.utf8.count ?? .max) < 400)
    }

    @Test func keysDifferByBytes() throws {
        // "é" as one scalar and as two: equal for Swift, different names in a file.
        let value = try parse("{\"\u{E9}\":1,\"e\u{301}\":2}")
        #expect(value["\u{E9}"] == 1)
        #expect(value["e\u{301}"] == 2)
        #expect(JSON.string("\u{E9}") != JSON.string("e\u{301}"))
    }

    @Test func manyKeysAreIndexed() throws {
        let members = (0..<1000).map { "\"k\($0)\":\($0)" }.joined(separator: ",")
        let value = try parse("{\(members)}")
        #expect(value["k0"] == 0)
        #expect(value["k999"] == 999)
        #expect(value["k1000"] == nil)
        let failure = error { _ = try parse("{\(members),\"k500\":1}") }
        #expect(failure?.why.contains("'k500' appears twice") == true)
    }

    @Test func limitsHold() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
        }
        _ = try parse(nested(64))
        #expect(error { _ = try parse(nested(65)) }?.location?.column == 65)
        #expect(error { _ = try parse(String(repeating: "[", count: 1_000_000)) }?.exit == .badData)
        #expect(error { _ = try parse(String(repeating: "{\"a\":", count: 100_000)) }?.exit == .badData)
        let small = JSON.Limits(bytes: 10, depth: 2, values: 3)
        _ = try JSON.parse("[1,2]", file: "f", limits: small)
        #expect(error { _ = try JSON.parse("[1,2,3]", file: "f", limits: small) }?.exit == .badData)
        #expect(
            error { _ = try JSON.parse("[         ]", file: "f", limits: small) }?.what == "'f' is too large")
        let digits = String(repeating: "9", count: 1001)
        #expect(error { _ = try parse(digits) }?.why.contains("more than 1000 characters") == true)
    }

    @Test func readsFiles() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write("{\"a\": 1}", to: folder.file("a.json"))
        #expect(try JSON.read(folder.file("a.json")) == ["a": 1])
        #expect(error { _ = try JSON.read(folder.file("b.json")) }?.exit == .missingInput)
        let limits = JSON.Limits(bytes: 3)
        #expect(error { _ = try JSON.read(folder.file("a.json"), limits: limits) }?.exit == .badData)
    }

    @Test func randomBytesNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = bytes("{}[]\",:0123456789.eE+-\\untrfalse \n\u{E9}") + [0xFF, 0x00, 0x1B]
        for _ in 0..<5000 {
            let text = (0..<Int.random(in: 0...60)).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            _ = try? JSON.parse(text, file: "random")
        }
    }
}

@Suite struct JSONWriterTests {
    @Test func compactAndPretty() {
        let value: JSON = ["b": [1, 2.5, nil, true], "a": [:], "c": [], "d": ["x": "y"]]
        let compact = #"{"b":[1,2.5,null,true],"a":{},"c":[],"d":{"x":"y"}}"#
        #expect(value.text() == compact)
        #expect(
            value.text(.pretty) == """
                {
                  "b": [
                    1,
                    2.5,
                    null,
                    true
                  ],
                  "a": {},
                  "c": [],
                  "d": {
                    "x": "y"
                  }
                }
                """)
    }

    @Test func escapesAndNonFinite() {
        let text = JSON.string("\"\\\n\r\t\u{8}\u{C}\u{0}\u{1F}\u{7F}\u{85}\u{2028}é😀/").text()
        #expect(text == #""\"\\\n\r\t\b\f\u0000\u001f\u007f\u0085\u2028é😀/""#)
        let values: JSON = [.double(.nan), .double(.infinity), .double(-.infinity), .double(-0.0)]
        #expect(values.text() == #"["NaN","Infinity","-Infinity",-0.0]"#)
    }

    @Test func roundTrips() throws {
        var numbers: [Double] = [0.1, 1e-5, 1e16, 1 / 3, 123456789.125, -2.5e-300]
        numbers += [.leastNonzeroMagnitude, .greatestFiniteMagnitude]
        for _ in 0..<5000 {
            let number = Double(bitPattern: UInt64.random(in: 0...UInt64.max))
            if number.isFinite { numbers.append(number) }
        }
        let value: JSON = [
            "numbers": .array(numbers.map { .double($0) }), "integers": [.int(Int.min), .int(Int.max), 0],
            "text\u{0}\n": .string(String(String.UnicodeScalarView((0..<0x3000).compactMap(Unicode.Scalar.init)))),
        ]
        #expect(try JSON.parse(value.text(), file: "f") == value)
        #expect(try JSON.parse(value.bytes(.pretty), file: "f") == value)
    }

    @Test func repeatedKeysKeepTheLast() {
        #expect(JSON.object([("a", 1), ("b", 2), ("a", 3)]).text() == #"{"a":3,"b":2}"#)
    }
}

@Suite struct JSONCursorTests {
    private func cursor(_ text: String) throws -> JSONCursor {
        JSONCursor(try JSON.parse(text, file: "c.json"), file: "c.json")
    }

    @Test func reads() throws {
        let root = try cursor(#"{"a":{"b":[1,2.5,"x",true,null]},"n":null,"i":"-Infinity"}"#)
        let list = try root.member("a").member("b").elements()
        #expect(try list[0].int() == 1)
        #expect(try list[0].double() == 1)
        #expect(try list[1].double(in: 0...3) == 2.5)
        #expect(try list[2].string() == "x")
        #expect(try list[3].bool())
        #expect(list[4].isNull)
        #expect(list[2].path == "a.b[2]")
        #expect(try root.optional("n") == nil)
        #expect(try root.optional("missing") == nil)
        #expect(try root.member("i").double(allowingNonFinite: true) == -.infinity)
        #expect(try root.members().map(\.key) == ["a", "n", "i"])
    }

    @Test func errorsNameTheKeyPath() throws {
        let root = try cursor(#"{"model":{"layers":[{"width":1.5}],"heads":4,"name":"x"}}"#)
        let width = try root.member("model").member("layers").elements()[0].member("width")
        let failures: [(RetortError?, String, String)] = [
            (error { _ = try width.int() }, "the value of 'model.layers[0].width' is wrong", "whole number; found 1.5"),
            (error { _ = try width.string() }, "the value of 'model.layers[0].width' is wrong", "found a number"),
            (
                error { _ = try root.member("model").member("heads").int(in: 1...2) },
                "the value of 'model.heads' is wrong", "4 is outside the allowed range, 1 to 2"
            ),
            (error { _ = try root.member("model").member("head") }, "the key 'model.head' is missing", ""),
            (error { _ = try root.elements() }, "the JSON text is wrong", "an array; found an object"),
            (error { _ = try root.member("model").bool() }, "the value of 'model' is wrong", "true or false"),
            (error { _ = try root.member("model").member("name").double() }, "the value of 'model.name' is wrong", ""),
            (error { _ = try width.member("x") }, "the value of 'model.layers[0].width' is wrong", "an object"),
            (error { try root.member("model").expectKeys(["layers", "names", "heads"]) }, "", ""),
        ]
        for (failure, what, why) in failures {
            #expect(failure?.exit == .badData)
            #expect(failure?.location?.file == "c.json")
            if !what.isEmpty { #expect(failure?.what == what) }
            if !why.isEmpty { #expect(failure?.why.contains(why) == true) }
        }
        #expect(failures[3].0?.help == "Did you mean 'heads'?")
        #expect(failures[8].0?.what == "the key 'model.name' is not known")
        #expect(failures[8].0?.help == "Did you mean 'names'?")
    }
}

@Suite struct DecimalTextTests {
    @Test(arguments: [
        "", "+", "-", ".", "e5", "1e", "1e+", "1.2.3", "nan", "inf", "0x10", "1_0", " 1", "1 ", "--1", "1f",
    ])
    func refuses(text: String) {
        #expect(DecimalText.double(text) == nil)
    }

    @Test func agreesWithTheStandardLibrary() {
        var texts = ["1", "+1.5", ".5", "5.", "007", "1e22", "1e23", "1e400", "-1e400", "1e-400", "0e999999999"]
        texts += [
            "9007199254740993", "12345678901234567890123", "0.000000000000000000000000000001234", "1e99999999999",
        ]
        for _ in 0..<5000 {
            let number = Double(bitPattern: UInt64.random(in: 0...UInt64.max))
            if number.isFinite { texts.append("\(number)") }
            texts.append("\(Int.random(in: -99_999...99_999)).\(UInt32.random(in: 0...99_999))")
        }
        for text in texts {
            #expect(DecimalText.double(text)?.bitPattern == Double(text)?.bitPattern, "\(text)")
        }
    }
}
