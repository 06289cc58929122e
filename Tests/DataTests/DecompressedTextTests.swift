import Foundation
import RetortData
import TestSupport
import Testing

@testable import RetortSupport

@Suite("compressed text in a temporary file")
struct DecompressedTextTests {
    private static let texts: [String] = (0..<300).map { number in
        String(repeating: "\(number) tête-à-tête {[\"\\,", count: 1 + (number * 7919) % 400)
    }

    private static let lines: [UInt8] = texts.flatMap {
        JSON.object([(key: "text", value: .string($0))]).bytes() + [0x0A]
    }

    private static let packed = gzip(lines)

    private static func names(_ folder: ScratchFolder) throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path)
    }

    // With the larger limit the first pieces wait in memory; a file without content stands among the others.
    @Test("the same records and places as in memory, of several files in one temporary one", arguments: [0, 1_500_000])
    func same(limit: Int) throws {
        try #require(Self.lines.count > 1_500_000)
        let (folder, opened) = (try ScratchFolder(), Counter())
        let array = JSON.array(Self.texts.map { JSON.object([(key: "text", value: .string($0))]) }).bytes(.pretty)
        let members = gzip(Array(Self.lines[..<5000])) + gzip(Array(Self.lines[5000...]))
        let frames = zstd(Self.lines) + zstd(Array("{\"text\": \"last\"}".utf8))
        let contents: [[UInt8]] = [Self.packed, Self.lines, zstd([]), zstd(array), members, frames]
        let files = try contents.map { try TemporaryFile($0) }
        let wanted = try TextSource.open(files.map(\.path))
        let found = try inFiles(folder.path, limit: limit, opened: opened) { try TextSource.open(files.map(\.path)) }
        #expect(opened.value == 1)
        #expect(try Self.names(folder) == [])
        try #require(found.count == 5 * Self.texts.count + 1 && wanted.count == found.count)
        #expect(found.summary.digest == wanted.summary.digest)
        for step in 0..<found.count {
            let number = (step * 397) % found.count
            let record = try found.record(number)
            #expect(try record.content == wanted.record(number).content && record.place == found.place(of: number))
            #expect(found.place(of: number) == wanted.place(of: number))
            let text = number == found.count - 1 ? "last" : Self.texts[number % Self.texts.count]
            #expect(record.content == .text(text))
        }
        // The array begins behind two files of lines; its objects have three lines each.
        #expect(found.place(of: 3 * 300 - 1) == TextRecord.Place(file: files[3].path, line: 2 + 299 * 3, column: 3))
    }

    @Test("little content opens no file; all compressed files of a source share the limit; a plain one needs none")
    func few() throws {
        let (folder, opened) = (try ScratchFolder(), Counter())
        let line = Array("{\"text\": \"a\"}\n".utf8)
        let files = try [gzip(line), zstd(line), line].map { try TemporaryFile($0) }
        for (limit, count) in [(2 * line.count, 0), (2 * line.count - 1, 1)] {
            let source = try inFiles(folder.path, limit: limit, opened: opened) {
                try TextSource.open(files.map(\.path))
            }
            #expect(opened.value == count)
            #expect(try (0..<3).map { try source.record($0).content } == [.text("a"), .text("a"), .text("a")])
        }
        _ = try inFiles(folder.path, opened: opened) { try TextSource.open([files[2].path]) }
        #expect(opened.value == 1)
    }

    @Test("errors have the place in the decompressed text; cut off and followed by something is damaged")
    func places() throws {
        let folder = try ScratchFolder()
        let wrong = Self.lines + Array("{\"text\": 3}\n".utf8)
        for packed in [gzip(wrong), zstd(wrong)] {
            let failure = try inFiles(folder.path) { openingError(packed) }
            #expect(failure?.exit == .badData)
            #expect(failure?.location?.line == 301 && failure?.location?.column == 10)
        }
        for whole in [Self.packed, zstd(Self.lines)] {
            let wrong: [[UInt8]] = [
                Array(whole[..<(whole.count / 2)]), Array(whole.dropLast()), whole + Array("rest".utf8),
            ]
            for damaged in wrong {
                let failure = try inFiles(folder.path) { openingError(damaged) }
                #expect(failure?.exit == .badData && failure?.what.contains("damaged") == true)
            }
        }
        #expect(try Self.names(folder) == [])
    }

    @Test("bombs: more than so many times the bytes, or more than the limit")
    func bombs() throws {
        let folder = try ScratchFolder()
        // 4 bytes in the file are 128 KiB: 32 768 times as much. Together 2.5 MiB.
        let packed = zstd([], repeating: (UInt8(ascii: "x"), 20))
        func failure(_ limits: TextOptions.Limits) throws -> RetortError? {
            try inFiles(folder.path) { openingError(packed, TextOptions(format: .document, limits: limits)) }
        }
        let ratio = try failure(.init(anyRatioBytes: 1 << 20))
        #expect(ratio?.exit == .badData && ratio?.what.contains("too large to be read compressed") == true)
        #expect(ratio?.why.contains("256 times") == true && ratio?.help.contains("Decompress") == true)
        let most = try failure(.init(decompressedBytes: 1 << 20))
        #expect(most?.exit == .badData && most?.why.contains("beyond 1.0 MiB") == true)
        #expect(try Self.names(folder) == [])
        // As much as is allowed.
        for limits in [
            TextOptions.Limits(), .init(decompressedBytes: 2_621_440, anyRatioBytes: 2_621_440),
            .init(decompressionRatio: 1 << 15, anyRatioBytes: 0),
        ] {
            let source = try inFiles(folder.path) {
                try TextSource.of(packed, TextOptions(format: .document, limits: limits)).0
            }
            #expect(try source.record(0).content == .text(String(repeating: "x", count: 2_621_440)))
        }
        let usual = TextOptions.Limits()
        #expect(usual.decompressionRatio == 256 && usual.anyRatioBytes == 64 << 20)
        #expect(usual.decompressedBytes == 64 << 30)
    }

    @Test("no such folder: 73; a full disk: 74; both name TMPDIR")
    func failures() throws {
        let folder = try ScratchFolder()
        let file = try TemporaryFile(Self.packed)
        let missing = thrown(RetortError.self) {
            try inFiles(folder.path("none")) { _ = try TextSource.open([file.path]) }
        }
        #expect(missing?.exit == .cannotCreate && missing?.help.contains("TMPDIR") == true)

        let (path, writes) = (folder.path, Counter())
        var failing = FileCalls.real
        failing.write = { descriptor, bytes in
            writes.increment()
            return writes.value < 2 ? FileCalls.real.write(descriptor, bytes) : -Int(ENOSPC)
        }
        let calls = failing
        let spill = Spill(limit: 0, open: { () throws(RetortError) in try ScratchFile(in: path, calls: calls) })
        // Bad records may be left out; a full disk is none.
        let full = thrown(RetortError.self) {
            try Spill.$current.withValue(spill) {
                _ = try TextSource.open([file.path], TextOptions(onBadLine: .skip))
            }
        }
        #expect(full?.exit == .io && full?.why == "the disk is full" && full?.location?.file == path)
        #expect(full?.help.contains("TMPDIR") == true)
        #expect(try Self.names(folder) == [])
    }
}
