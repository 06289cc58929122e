@testable import RetortSupport
import Testing

@Suite struct DiagnosticTests {
    @Test func rendersEveryPart() {
        let error = RetortError.badData(
            "the key is wrong", at: RetortError.Location(file: "a.json", line: 3, column: 7),
            why: "first\nsecond", help: "do this\nthen that")
        #expect(
            error.description == """
                error: the key is wrong
                  --> a.json:3:7
                  first
                  second
                  help: do this
                        then that
                """)
    }

    @Test func leavesOutWhatIsEmpty() {
        #expect(RetortError.usage("no verb").description == "error: no verb")
        let located = RetortError.io("x", at: RetortError.Location(file: "f"))
        #expect(located.description == "error: x\n  --> f")
    }

    @Test func escapesControlCharacters() {
        let error = RetortError.badData(
            "a\nb\u{1B}[2J", at: RetortError.Location(file: "x\r\ny"), why: "one\r\ntwo\u{202E}")
        #expect(error.description == "error: a\\nb\\u{1B}[2J\n  --> x\\r\\ny\n  one\\r\n  two\\u{202E}")
    }

    @Test func exitCodesAreTheContract() {
        #expect(ExitCode.allCases.map(\.rawValue) == [64, 65, 66, 69, 70, 73, 74, 75, 78, 86])
        let made: [(RetortError, Int32)] = [
            (.usage(""), 64), (.badData(""), 65), (.missingInput(""), 66), (.device(""), 69), (.internalBug(""), 70),
            (.cannotCreate(""), 73), (.io(""), 74), (.stopped(""), 75), (.recipe(""), 78), (.diverged(""), 86),
        ]
        for (error, code) in made { #expect(error.exit.rawValue == code) }
    }

    @Test func quotesAndCuts() {
        #expect("ab".quoted() == "'ab'")
        #expect("abcdef".quoted(limit: 3) == "'abc…'")
        #expect("a\0".quoted() == "'a\\u{0}'")
    }
}

@Suite struct CheckedSizeTests {
    @Test func computes() throws {
        #expect(try CheckedSize(shape: [2, 3], bitsPerElement: 32, of: "t").bytes == 24)
        #expect(try CheckedSize(shape: [], bitsPerElement: 16, of: "t").bytes == 2)
        #expect(try CheckedSize(shape: [0, 7], bitsPerElement: 64, of: "t").bytes == 0)
        #expect(try CheckedSize(shape: [4], bitsPerElement: 4, of: "t").bytes == 2)
        let size = try CheckedSize(bytes: 513, of: "t")
        #expect(try size.rounded(upTo: 512, of: "t").bytes == 1024)
        #expect(try size.multiplied(by: 3, of: "t").adding(size, of: "t").bytes == 2052)
    }

    @Test func refusesWhatDoesNotFit() throws {
        let big = try CheckedSize(bytes: Int.max, of: "t")
        let one = try CheckedSize(bytes: 1, of: "t")
        let failures = [
            error { _ = try CheckedSize(bytes: -1, of: "t") },
            error { _ = try CheckedSize(shape: [1 << 62, 4], bitsPerElement: 8, of: "t") },
            error { _ = try CheckedSize(shape: [1 << 61], bitsPerElement: 32, of: "t") },
            error { _ = try CheckedSize(shape: [3], bitsPerElement: 4, of: "t") },
            error { _ = try CheckedSize(shape: [-1], bitsPerElement: 8, of: "t") },
            error { _ = try big.adding(one, of: "t") },
            error { _ = try big.multiplied(by: 2, of: "t") },
            error { _ = try one.multiplied(by: -1, of: "t") },
            error { _ = try big.rounded(upTo: 512, of: "t") },
            error { _ = try one.rounded(upTo: 0, of: "t") },
        ]
        for failure in failures {
            #expect(failure?.exit == .badData)
            #expect(failure?.what == "the size of t is impossible")
        }
    }
}

@Suite struct EditDistanceTests {
    @Test(arguments: [
        ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3),
        ("tempreature", "temperature", 1),
    ])
    func distance(first: String, second: String, expected: Int) {
        #expect(EditDistance.between(first, second) == expected)
    }

    @Test func suggestsOnlyWhatIsNear() {
        let keys = ["temperature", "alpha", "epochs", "lr"]
        #expect(EditDistance.nearest(to: "temprature", among: keys) == "temperature")
        #expect(EditDistance.nearest(to: "Alfa", among: keys) == "alpha")
        #expect(EditDistance.nearest(to: "seeds", among: keys) == nil)
        #expect(EditDistance.nearest(to: "x", among: keys) == nil)
        #expect(EditDistance.nearest(to: "", among: keys) == nil)
        #expect(EditDistance.nearest(to: String(repeating: "a", count: 100_000), among: keys) == nil)
        #expect(EditDistance.suggestion(for: "epoch", among: keys) == "Did you mean 'epochs'?")
        #expect(
            EditDistance.suggestion(for: "zzzzzz", among: keys)
                == "There is: 'temperature', 'alpha', 'epochs', 'lr'.")
    }
}

@Suite struct FormatTests {
    @Test func numbers() {
        #expect(NumberFormat.fixed(2.345, decimals: 1) == "2.3")
        #expect(NumberFormat.fixed(-0.05, decimals: 0) == "-0")
        #expect(NumberFormat.fixed(.nan, decimals: 2) == "nan")
        #expect(NumberFormat.fixed(1e300, decimals: 20).utf8.count == 322)
        #expect(NumberFormat.significant(0.00123456, digits: 3) == "0.00123")
        #expect(NumberFormat.plain(-1e9) == "-1000000000" && NumberFormat.plain(0.5) == "0.5")
        #expect(
            NumberFormat.plain(1e15) == "1000000000000000" && NumberFormat.plain(-0.0) == "0"
                && NumberFormat.plain(1e16) == "1e+16")
        #expect(NumberFormat.counted(1, "class", "classes") == "1 class")
        #expect(NumberFormat.counted(0, "class", "classes") == "0 classes")
        #expect(NumberFormat.mean(0.9123, deviation: 0.0031, decimals: 3) == "0.912 ± 0.003")
        #expect(NumberFormat.mean(0.9123, deviation: nil, decimals: 1) == "0.9")
        #expect(NumberFormat.percent(0.958333) == "95.8 %")
        #expect(NumberFormat.grouped(-1_234_567) == "-1 234 567")
        #expect(NumberFormat.grouped(Int.min) == "-9 223 372 036 854 775 808")
    }

    @Test(arguments: [
        (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1_048_575, "1.0 MiB"),
        (Int.max, "8.0 EiB"), (Int.min, "-8.0 EiB"),
    ])
    func byteCounts(count: Int, expected: String) {
        #expect(NumberFormat.bytes(count) == expected)
    }

    @Test(arguments: [
        (0.00085, "850 µs"), (0.0123, "12.3 ms"), (4.52, "4.5 s"), (59.96, "1 m 00 s"), (185, "3 m 05 s"),
        (3599.7, "1 h 00 m"), (7380, "2 h 03 m"), (-1, "-1.0 s"), (.infinity, "inf"), (1e300, "2.778e+296 h"),
    ])
    func durations(seconds: Double, expected: String) {
        #expect(NumberFormat.duration(seconds: seconds) == expected)
    }

    @Test func tableAligns() {
        var table = Table(columns: [("role", .left), ("accuracy", .right)])
        table.add(["student", "0.91"])
        table.add(["té\n", "12.345678901"])
        table.add(["alone"])
        #expect(
            table.text == """
                role         accuracy
                student          0.91
                té\\n     12.345678901
                alone

                """)
    }
}

@Suite struct ContentHashTests {
    @Test func knownDigests() throws {
        #expect(
            ContentHash.hexadecimal(of: bytes("abc"))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        let folder = try TemporaryFolder()
        let content = [UInt8](repeating: 7, count: (1 << 20) + 5)
        try AtomicFile.write(content, to: folder.file("a"))
        #expect(try ContentHash.hexadecimal(ofFile: folder.file("a")) == ContentHash.hexadecimal(of: content))
        #expect(error { _ = try ContentHash.hexadecimal(ofFile: folder.file("none")) }?.exit == .missingInput)
    }
}
