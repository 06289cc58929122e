import Foundation
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// Writes protobuf fields.
private enum Wire {
    static func varint(_ value: UInt64) -> [UInt8] {
        var (rest, bytes) = (value, [UInt8]())
        repeat {
            bytes.append(UInt8(rest & 0x7F) | (rest > 0x7F ? 0x80 : 0))
            rest >>= 7
        } while rest > 0
        return bytes
    }

    static func int(_ number: Int, _ value: Int) -> [UInt8] { varint(UInt64(number << 3)) + varint(UInt64(value)) }

    static func bytes(_ number: Int, _ value: [UInt8]) -> [UInt8] {
        varint(UInt64(number << 3 | 2)) + varint(UInt64(value.count)) + value
    }

    static func float(_ number: Int, _ value: Float) -> [UInt8] {
        varint(UInt64(number << 3 | 5)) + (0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) }
    }

    static func piece(_ text: String, _ score: Float = 0, type: Int? = nil) -> [UInt8] {
        bytes(1, bytes(1, Array(text.utf8)) + float(2, score) + (type.map { int(3, $0) } ?? []))
    }

    /// A character map: the array's units, then the texts.
    static func map(_ units: [UInt32], _ texts: String) -> [UInt8] {
        func word(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        return bytes(3, bytes(2, word(UInt32(4 * units.count)) + units.flatMap(word) + Array(texts.utf8)))
    }
}

@Suite("damaged and hostile tokenizer.model files")
struct SentencePieceFileTests {
    private static let unknown = Wire.piece("<unk>", type: 2)
    private static let bpe = Wire.bytes(2, Wire.int(3, 2))

    struct Case: Sendable, CustomTestStringConvertible {
        let bytes: [UInt8]
        let offset: Int
        let words: String
        var testDescription: String { words }
    }

    /// An "a" that becomes "b": root, its child at 97, and that one's value.
    private static func units(child: UInt32 = 97 | 1 << 8 | 1 << 10, value: UInt32 = 1 << 31) -> [UInt32] {
        var units = [UInt32](repeating: 0, count: 256)
        // The base of the root is 0 ^ 0.
        units[0] = 0
        units[97] = child
        units[96] = value
        return units
    }

    static let cases = [
        Case(bytes: [], offset: 0, words: "without an unknown piece"),
        Case(bytes: Wire.piece("a"), offset: 10, words: "without an unknown piece"),
        Case(bytes: unknown + [0x0A], offset: 17, words: "ends in the middle of a number"),
        Case(bytes: unknown + [0x0A, 0x05, 0x0A], offset: 16, words: "is to have 5 bytes, of which 1 are left"),
        Case(
            bytes: unknown + [0x0A] + Wire.varint(1 << 62), offset: 16,
            words: "is to have 4611686018427387904 bytes, of which 0 are left"),
        Case(
            bytes: unknown + [0x0A] + [UInt8](repeating: 0xFF, count: 10) + [0x01], offset: 17,
            words: "more than 64 bits"),
        Case(bytes: unknown + [0x00, 0x00], offset: 16, words: "the number 0"),
        Case(bytes: unknown + [0x0B], offset: 16, words: "wire type 3"),
        Case(bytes: unknown + Wire.int(1, 7), offset: 16, words: "field 1 must be a string or a message"),
        Case(bytes: unknown + Wire.piece("a", .nan), offset: 21, words: "not a finite number"),
        Case(bytes: unknown + Wire.piece("a", -.infinity), offset: 21, words: "not a finite number"),
        Case(
            bytes: unknown + Wire.bytes(1, Wire.bytes(1, [0x61]) + Wire.int(2, 1)), offset: 21,
            words: "field 2 must be a 32-bit float"),
        Case(bytes: unknown + Wire.piece("a") + Wire.piece("a"), offset: 26, words: "there already, with the id 1"),
        Case(bytes: unknown + Wire.piece("<unk>"), offset: 16, words: "there already, with the id 0"),
        Case(bytes: unknown + Wire.piece(""), offset: 16, words: "piece 1 is empty"),
        Case(bytes: unknown + Wire.piece("?", type: 2), offset: 16, words: "a second unknown piece"),
        Case(bytes: unknown + Wire.piece("a", type: 9), offset: 26, words: "type must be 1 to 6"),
        Case(
            bytes: unknown + Wire.bytes(1, Wire.bytes(1, [0x61, 0xC3])), offset: 21, words: "not valid UTF-8"),
        Case(
            bytes: unknown + Wire.piece(String(repeating: "a", count: 513)), offset: 16,
            words: "more than 512 bytes, the limit"),
        Case(bytes: unknown + Wire.piece("<0x41>", type: 6), offset: 16, words: "yet byte_fallback is false"),
        Case(bytes: unknown + Wire.piece("<0xg1>", type: 6), offset: 16, words: "not the name of a byte"),
        Case(
            bytes: unknown + Wire.piece("<0x41>", type: 6) + Wire.bytes(2, Wire.int(35, 1)), offset: 38,
            words: "1 of the 256 byte pieces"),
        Case(bytes: unknown + Wire.bytes(2, Wire.int(3, 3)), offset: 18, words: "model_type WORD is not read"),
        Case(bytes: unknown + Wire.bytes(2, Wire.int(3, 8)), offset: 18, words: "there is no model_type 8"),
        Case(bytes: unknown + Wire.bytes(2, Wire.int(35, 2)), offset: 18, words: "must be 0 or 1"),
        Case(bytes: unknown + Wire.bytes(3, Wire.bytes(2, [1, 2, 3])), offset: 20, words: "too few for its size"),
        Case(
            bytes: unknown + Wire.bytes(3, Wire.bytes(2, [0, 4, 0, 0, 0])), offset: 20,
            words: "its array is to have 1024 bytes, of 1"),
        Case(bytes: unknown + Wire.map(units(), "b"), offset: 1051, words: "its last text has no end"),
        Case(bytes: unknown + Wire.map(units(value: 0), "b\0"), offset: 410, words: "leads to no text"),
        Case(bytes: unknown + Wire.map(units(value: 1 << 31 | 2), "b\0"), offset: 410, words: "leads to no text"),
        Case(
            bytes: unknown + Wire.map(units(value: 1 << 31 | 1), "é\0"), offset: 410, words: "leads to no text"),
        Case(
            bytes: unknown + Wire.map(units(child: 97 | 1 << 20), "b\0"), offset: 414, words: "outside of the array"),
        // Its child would be itself: base 97 ^ 97 = 0, and 0 ^ 97 = 97.
        Case(
            bytes: unknown + Wire.map(units(child: 97 | 97 << 10), "b\0"), offset: 414, words: "a node is below itself"),
    ]

    @Test("each says what is wrong at which byte", arguments: cases)
    func located(_ entry: Case) throws {
        let folder = try ScratchFolder()
        let path = folder.path("tokenizer.model")
        try Data(entry.bytes).write(to: URL(fileURLWithPath: path))
        let error = try #require(thrown(RetortError.self) { _ = try Tokenizer.load(path) })
        #expect(error.exit == .badData && error.location?.file == path && !error.help.isEmpty)
        #expect(error.why.hasPrefix("at byte \(entry.offset): ") && error.why.contains(entry.words), "\(error)")
    }

    @Test("the files they are made from work: fields in any order, unknown ones passed over")
    func sound() throws {
        let folder = try ScratchFolder()
        func load(_ bytes: [UInt8]) throws -> Tokenizer {
            try Data(bytes).write(to: URL(fileURLWithPath: folder.path("tokenizer.model")))
            return try Tokenizer.load(folder.path)
        }
        let plain = Wire.bytes(3, Wire.int(3, 0) + Wire.int(4, 0))
        let pieces = Wire.piece("a", -1) + Wire.piece("b", -1) + Wire.piece("ab", -1.5) + Wire.int(300, 1)
        let unigram = try load(plain + Self.unknown + pieces)
        #expect(try unigram.encode("abbxx").ids == [3, 2, 0])
        // "b" before "a b" has the better score; of equal ones the leftmost.
        let merged = try load(
            Self.bpe + plain + Self.unknown + pieces + Wire.piece("ba", -0.5) + Wire.piece("bb", -0.5))
        #expect(try merged.encode("aba bbb").ids == [1, 4, 0, 5, 2])
        let mapped = try load(Wire.map(Self.units(), "b\0") + Wire.bytes(3, Wire.int(3, 0)) + Self.unknown + pieces)
        #expect(try mapped.encode("ab").ids == [2, 2])
    }

    @Test("user-defined pieces have a limit together")
    func userDefined() throws {
        let folder = try ScratchFolder()
        let path = folder.path("tokenizer.model")
        var bytes = Self.unknown
        for number in 0...(8 << 20) / 512 {
            bytes += Wire.piece("\(10_000_000 + number)" + String(repeating: "a", count: 504), type: 4)
        }
        try Data(bytes).write(to: URL(fileURLWithPath: path))
        let error = try #require(thrown(RetortError.self) { _ = try Tokenizer.load(path) })
        #expect(error.exit == .badData && error.why.contains("more than 8 MiB together"), "\(error)")
        // The last one is too many.
        #expect(error.why.hasPrefix("at byte \(bytes.count - 525): "), "\(error)")
    }

    @Test(
        "cut anywhere or with any byte changed, a file loads or is refused with the byte; nothing else happens",
        arguments: ["bpe-edited", "unigram-suffix"])
    func mutilated(_ name: String) throws {
        let folder = try ScratchFolder()
        let path = folder.path("tokenizer.model")
        let whole = Array(
            try Data(contentsOf: URL(fileURLWithPath: "\(SentencePieceFixtures.folder)/\(name)/tokenizer.model")))
        var state: UInt64 = 11
        func random(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % limit
        }
        func survives(_ bytes: [UInt8]) throws -> Bool {
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            do {
                let tokenizer = try Tokenizer.load(path)
                let ids = try tokenizer.encode("the teacher's \u{FB01} 123 e\u{301}\u{3000}▁ab 蒸\n").ids
                #expect(ids.allSatisfy { $0 >= 0 && $0 < tokenizer.idLimit })
                _ = try tokenizer.decode(ids)
                return true
            } catch let error as RetortError {
                #expect(error.exit == .badData && error.why.hasPrefix("at byte "), "\(error)")
                return false
            }
        }
        var loaded = 0
        for end in whole.indices where try survives(Array(whole[..<end])) { loaded += 1 }
        // Cut between two fields behind the unknown piece a file is a shorter model, as protobuf has it.
        #expect(loaded < whole.count / 10)
        loaded = 0
        for _ in 0..<2000 {
            var bytes = whole
            for _ in 0..<1 + random(3) { bytes[random(bytes.count)] = UInt8(random(256)) }
            if try survives(bytes) { loaded += 1 }
        }
        #expect(loaded > 100 && loaded < 1900)
    }
}
