import Foundation
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("damaged and hostile tokenizer files")
struct TokenizerErrorTests {
    /// A small tokenizer, laid out so that each part has its line.
    private static let lines = [
        "{",
        #"  "version": "1.0", "truncation": null, "padding": null,"#,
        #"  "added_tokens": [{"id": 5, "content": "<s>", "special": true}],"#,
        #"  "normalizer": null,"#,
        #"  "pre_tokenizer": {"type": "Whitespace"},"#,
        #"  "post_processor": null,"#,
        #"  "decoder": {"type": "Fuse"},"#,
        #"  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "abb": 3, "ba": 4},"#,
        #"    "merges": [["a", "b"], ["ab", "b"]]}"#,
        "}",
    ]

    private func load(_ changes: [Int: String], in folder: ScratchFolder) throws -> Tokenizer {
        var lines = Self.lines
        for (line, text) in changes { lines[line - 1] = text }
        return try Tokenizer.load(try folder.write(lines.joined(separator: "\n") + "\n", to: "tokenizer.json"))
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let line: Int
        let text: String
        let column: Int
        let words: String
        var testDescription: String { words }
    }

    static let cases = [
        Case(line: 2, text: #"  "version": "2.0","#, column: 14, words: "version 1.0"),
        Case(line: 2, text: #"  "colour": 1,"#, column: 13, words: "'colour' is not known"),
        Case(line: 2, text: #"  "truncation": {"max_length": -1},"#, column: 32, words: "-1 is outside"),
        Case(
            line: 2, text: #"  "padding": {"strategy": {"Fixed": 99999999999}, "pad_id": 0, "pad_type_id": 0},"#,
            column: 37, words: "outside"),
        Case(line: 3, text: #"  "added_tokens": [{"id": 0, "content": "<s>"}],"#, column: 20, words: "belongs to 'a'"),
        Case(
            line: 3, text: #"  "added_tokens": [{"id": 9, "content": "a"}],"#, column: 20,
            words: "has the id 9 here and 0"),
        Case(
            line: 3, text: #"  "added_tokens": [{"id": 9, "content": "x"}, {"id": 9, "content": "y"}],"#, column: 47,
            words: "the id 9 is there already"),
        Case(
            line: 3, text: #"  "added_tokens": [{"id": 9, "content": "x"}, {"id": 8, "content": "x"}],"#, column: 47,
            words: "'x' has the id 8"),
        Case(
            line: 3, text: #"  "added_tokens": [{"id": 99999999999999999999, "content": "x"}],"#, column: 27,
            words: "whole number"),
        Case(line: 3, text: #"  "added_tokens": [{"id": 4194304, "content": "x"}],"#, column: 27, words: "outside"),
        Case(
            line: 3, text: #"  "added_tokens": [{"content": "x"}],"#, column: 20,
            words: "'added_tokens[0].id' is missing"),
        Case(
            line: 4, text: #"  "normalizer": {"type": "Lowercas"},"#, column: 26,
            words: "the normalizer 'Lowercas' is not known"),
        Case(
            line: 4,
            text: #"  "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Nmt"}]},"#,
            column: 80, words: "'Nmt'"),
        Case(
            line: 4, text: #"  "normalizer": {"type": "Precompiled", "precompiled_charsmap": "*"},"#, column: 65,
            words: "not base64"),
        Case(
            line: 4, text: #"  "normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAQAAAA="},"#, column: 65,
            words: "at byte 0 of what it encodes: its array is to have 1024 bytes, of 1"),
        Case(
            line: 5, text: #"  "pre_tokenizer": {"type": "UnicodeScripts"},"#, column: 29,
            words: "pre-tokenizer 'UnicodeScripts'"),
        Case(
            line: 5,
            text: #"  "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"},"#,
            column: 59, words: "missing closing parenthesis"),
        Case(
            line: 5, text: #"  "pre_tokenizer": {"type": "Split", "pattern": {"String": "a"}, "behavior": "Isolate"},"#,
            column: 78, words: "behavior 'Isolate'"),
        Case(
            line: 5, text: #"  "pre_tokenizer": {"type": "Metaspace", "replacement": "__"},"#, column: 57,
            words: "one character"),
        Case(
            line: 6, text: #"  "post_processor": {"type": "Roberta"},"#, column: 30, words: "post-processor 'Roberta'"),
        Case(
            line: 6, text: #"  "post_processor": {"type": "BertProcessing", "sep": ["a", 0], "cls": ["b", 77]},"#,
            column: 21, words: "the id 77"),
        Case(line: 7, text: #"  "decoder": {"type": "CTC"},"#, column: 23, words: "decoder 'CTC'"),
        Case(
            line: 8, text: #"  "model": {"type": "Unigramm", "vocab": {},"#, column: 21,
            words: "the model 'Unigramm' is not known"),
        Case(
            line: 8, text: #"  "model": {"type": "BPE", "vocab": {"a": 0, "b": 0, "ab": 2, "abb": 3},"#, column: 51,
            words: "the id 0 belongs to 'a' already"),
        Case(
            line: 8, text: #"  "model": {"type": "BPE", "vocab": {"a": -1, "b": 1, "ab": 2, "abb": 3},"#, column: 43,
            words: "the id -1 is outside"),
        Case(
            line: 8, text: #"  "model": {"type": "BPE", "vocab": {"a": 4194304, "b": 1, "ab": 2, "abb": 3},"#,
            column: 43, words: "outside"),
        Case(
            line: 8, text: #"  "model": {"type": "BPE", "vocab": {"a": 1e3, "b": 1, "ab": 2, "abb": 3},"#, column: 43,
            words: "a whole number"),
        Case(
            line: 8, text: #"  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "b": 2},"#, column: 54,
            words: "appears twice"),
        Case(
            line: 8,
            text: #"  "model": {"type": "BPE", "unk_token": "?", "vocab": {"a": 0, "b": 1, "ab": 2, "abb": 3},"#,
            column: 41, words: "'?' is not in the vocabulary"),
        Case(
            line: 8, text: #"  "model": {"type": "BPE", "dropout": 0.1, "vocab": {"a": 0, "b": 1, "ab": 2, "abb": 3},"#,
            column: 39, words: "dropped at random"),
        Case(
            line: 9, text: #"    "merges": [["a", "b"], ["ab", "c"]]}"#, column: 28,
            words: "'c' is not in the vocabulary"),
        Case(line: 9, text: #"    "merges": ["a b", "b b"]}"#, column: 23, words: "'bb' is not in the vocabulary"),
        Case(line: 9, text: #"    "merges": [["a", "b"], "ab  b"]}"#, column: 28, words: "two tokens"),
        Case(line: 9, text: #"    "merges": [["a", "b", "b"]]}"#, column: 16, words: "two tokens"),
        Case(line: 9, text: #"    "merges": {"a": "b"}}"#, column: 15, words: "must be an array"),
    ]

    @Test("each says what is wrong at line and column", arguments: cases)
    func located(_ entry: Case) throws {
        let folder = try ScratchFolder()
        let error = try #require(thrown(RetortError.self) { _ = try load([entry.line: entry.text], in: folder) })
        #expect(error.exit == .badData)
        #expect(
            error.location == .init(file: folder.path("tokenizer.json"), line: entry.line, column: entry.column),
            "\(error)")
        #expect(error.description.contains(entry.words), "\(error)")
    }

    @Test("the file they are made from works, and merges that go round in circles end")
    func sound() throws {
        let folder = try ScratchFolder()
        let tokenizer = try load([:], in: folder)
        #expect(try tokenizer.encode("abb ba <s> ab").ids == [3, 1, 0, 5, 2])
        // ab and ba can each be made of the other's letters; of a merge written twice the later place counts, so that ba is first.
        let circle = try load([9: #"    "merges": [["a", "b"], ["b", "a"], ["a", "b"], ["ab", "b"]]}"#], in: folder)
        #expect(try circle.encode(String(repeating: "ab", count: 50)).ids.count == 51)
        // An empty token makes nothing new.
        let empty = try #require(
            thrown(RetortError.self) {
                _ = try load(
                    [
                        8: #"  "model": {"type": "BPE", "vocab": {"a": 0, "": 1, "b": 2},"#,
                        9: #"    "merges": [["a", ""]]}"#,
                    ], in: folder)
            })
        #expect(empty.description.contains("it makes no new token"))
    }

    @Test("a unigram model's tokens and scores; a character for which there is nothing")
    func unigram() throws {
        let folder = try ScratchFolder()
        func load(_ members: String) throws -> Tokenizer {
            try Tokenizer.load(
                folder.write(#"{"model": {"type": "Unigram", "# + members + "}}", to: "tokenizer.json"))
        }
        for (members, column, words) in [
            (#""vocab": [["a", 0], ["a", -1]]"#, 51, "there already, with the id 0"),
            (#""vocab": [["a", 0], ["b", "1"]]"#, 51, "a text and a score"),
            (#""vocab": [["a", 0], ["b"]]"#, 51, "a text and a score"),
            (#""unk_id": 1, "vocab": [["a", 0]]"#, 41, "1 is outside"), (#""vocab": []"#, 40, "it has no token"),
            (#""vocab": {"a": 0}"#, 40, "must be an array"),
        ] {
            let error = try #require(thrown(RetortError.self) { _ = try load(members) })
            #expect(error.exit == .badData && error.location?.column == column, "\(error)")
            #expect(error.description.contains(words), "\(error)")
        }
        let bare = try load(#""vocab": [["a", -1], ["b", -1], ["ab", -1.5]]"#)
        #expect(try bare.encode("abba").ids == [2, 1, 0])
        let error = try #require(thrown(RetortError.self) { _ = try bare.encode("abcd") })
        #expect(error.exit == .badData && error.what.contains("'cd'") && error.why.contains("unk_id"))
        // Unknown characters in a row are looked up together: two of them score 40 here, the token "cd" 30.
        let joined = try load(#""unk_id": 0, "vocab": [["?", 50], ["cd", 30], ["a", 90]]"#)
        #expect(try joined.encode("acdaee").ids == [2, 1, 2, 0])
    }

    @Test("a pattern made to run for ever is stopped, on the first text that it takes for ever on")
    func limits() throws {
        let folder = try ScratchFolder()
        let slow = try load(
            [5: #"  "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+[^ab]"}, "behavior": "Isolated"},"#],
            in: folder)
        #expect(try slow.encode("ab").ids == [2])
        let error = try #require(
            thrown(RetortError.self) { _ = try slow.encode(String(repeating: "a", count: 64) + "b") })
        #expect(error.exit == .badData && error.why.contains("more steps or memory than allowed"))
        for pattern in [
            #"\\C"#, "[a[b]]", "[a&&b]", "(?m)a.b", #"[\\W]"#, "(?<a>", "a{99999}",
            String(repeating: "(", count: 300) + String(repeating: ")", count: 300),
        ] {
            let line =
                #"  "pre_tokenizer": {"type": "Split", "pattern": {"Regex": ""# + pattern
                + #""}, "behavior": "Isolated"},"#
            #expect(thrown(RetortError.self) { _ = try load([5: line], in: folder) }?.exit == .badData)
        }
    }

    @Test("cut anywhere or with any byte changed, a file loads or is refused; nothing else happens")
    func mutilated() throws {
        let folder = try ScratchFolder()
        let whole = Array(
            try Data(contentsOf: URL(fileURLWithPath: TokenizerFixtures.folder + "/llama3/tokenizer.json")))
        var state: UInt64 = 7
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        var refused = 0
        for round in 0..<300 {
            var bytes = whole
            switch round % 3 {
            case 0: bytes.removeLast(1 + random(bytes.count))
            case 1: for _ in 0..<1 + random(3) { bytes[random(bytes.count)] = UInt8(random(256)) }
            default:
                // A number becomes another one.
                let digits = bytes.indices.filter { (0x30...0x39).contains(bytes[$0]) }
                for _ in 0..<1 + random(3) { bytes[digits[random(digits.count)]] = UInt8(0x30 + random(10)) }
            }
            let path = folder.path("tokenizer.json")
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            do {
                let tokenizer = try Tokenizer.load(path)
                let ids = try tokenizer.encode("the teacher's 123 students\n").ids
                #expect(ids.allSatisfy { $0 >= 0 && $0 < tokenizer.idLimit })
            } catch let error as RetortError {
                refused += 1
                #expect(error.exit == .badData, "\(error)")
                if error.what.contains("tokenizer's pattern") { continue }
                #expect(error.location?.file == path && error.location?.line != nil, "\(error)")
            }
        }
        #expect(refused > 150)
    }

    @Test("vocab.json, merges.txt and vocab.txt")
    func vocabularyFiles() throws {
        let folder = try ScratchFolder()
        try folder.write(#"{"a": 0, "b": 1, "ab": 2}"#, to: "vocab.json")
        let merges = try folder.write("#version: 0.2\na b\n\nab c\n", to: "merges.txt")
        let unknown = try #require(thrown(RetortError.self) { _ = try Tokenizer.load(folder.path) })
        #expect(
            unknown.location == .init(file: merges, line: 4, column: 1)
                && unknown.why.hasPrefix("the token 'c' is not in"))
        try folder.write("#version: 0.2\na b\n", to: "merges.txt")
        #expect(try Tokenizer.load(folder.path).encode("abab").ids == [2, 2])
        let config = try folder.write("{\n \"tokenizer_class\": \"T5Tokenizer\"}\n", to: "tokenizer_config.json")
        let other = try #require(thrown(RetortError.self) { _ = try Tokenizer.load(folder.path) })
        #expect(other.location == .init(file: config, line: 2, column: 21) && other.why.contains("T5Tokenizer"))

        let words = try ScratchFolder()
        let vocabulary = try words.write("[PAD]\n[UNK]\n[CLS]\n[SEP]\nab\n##c\nab\n", to: "vocab.txt")
        let twice = try #require(thrown(RetortError.self) { _ = try Tokenizer.load(words.path) })
        #expect(twice.location == .init(file: vocabulary, line: 7, column: 1) && twice.why.contains("already"))
        try words.write("[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\nab\r\n##c\r\n", to: "vocab.txt")
        #expect(try Tokenizer.load(words.path).encode("ABCC x").ids == [2, 4, 5, 5, 1, 3])
        let nothing = try ScratchFolder()
        #expect(thrown(RetortError.self) { _ = try Tokenizer.load(nothing.path) }?.exit == .missingInput)
        #expect(thrown(RetortError.self) { _ = try Tokenizer.load(nothing.path("none")) }?.exit == .missingInput)
    }

    @Test("without PCRE2 a tokenizer that needs it is an error that names the package, another one works")
    func withoutPCRE2() async {
        await #expect(processExitsWith: .success) {
            setenv("RETORT_PCRE2_LIBRARY", "/nonexistent.so", 1)
            let failure = thrown(RetortError.self) { _ = try Tokenizer.load(TokenizerFixtures.folder + "/llama3") }
            #expect(failure?.exit == .device)
            #expect(failure?.help.contains("apt install libpcre2-8-0") == true)
            #expect(failure?.what.contains("/nonexistent.so") == true)
            let other = try? Tokenizer.load(TokenizerFixtures.folder + "/stories260K").encode("a")
            #expect(other?.count == 2)
        }
    }
}
