import RetortModels
import RetortRuntime
import RetortSupport

/// The texts of a recipe by number, each once: a text, or two that are read as a pair. In memory up to 64 MiB, more in a file that only this
/// process sees (`ScratchFile`).
struct TextSet: Sendable {
    /// Of each text its parts, each behind its length in bytes and a colon.
    private let bytes: SpilledArray<UInt8>
    /// Of each text where it begins; one more at the end.
    private let offsets: [Int]

    fileprivate init(_ bytes: SpilledArray<UInt8>, _ offsets: [Int]) {
        (self.bytes, self.offsets) = (bytes, offsets)
    }

    var count: Int { offsets.count - 1 }

    /// The parts of a text.
    /// - Parameter number: from 0 to `count` − 1.
    subscript(_ number: Int) -> [String] {
        var rest = stored(number)[...]
        var parts: [String] = []
        while let colon = rest.firstIndex(of: UInt8(ascii: ":")) {
            let length = rest[..<colon].reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
            let part = rest[(colon + 1)...].prefix(length)
            parts.append(String(decoding: part, as: UTF8.self))
            rest = rest[part.endIndex...]
        }
        return parts
    }

    private func stored(_ number: Int) -> [UInt8] { bytes[offsets[number]..<offsets[number + 1]] }

    /// SHA-256 of all of them, in their order.
    var digest: String {
        var hash = ContentHash()
        for number in 0..<count { hash.update(stored(number) + [0x0A]) }
        return hash.hexadecimal
    }

    /// The tokens of each.
    /// - Parameter length: tokens of each at most.
    /// - Throws: `RetortError` 65 for a text of which the tokenizer makes no token; 73, 74.
    func encoded(_ tokenizer: Tokenizer, length: Int) throws -> EncodedTexts {
        let cut = Truncation(length: length)
        return try EncodedTexts(count: count) { number in
            let parts = self[number]
            let encoding =
                parts.count == 2
                ? try tokenizer.encode(parts[0], parts[1], truncation: cut)
                : try tokenizer.encode(parts[0], truncation: cut)
            guard encoding.count > 0 else {
                throw RetortError.badData(
                    "the text \(parts[0].quoted(limit: 60)) has no token",
                    why: "the tokenizer puts no token around a text")
            }
            return encoding
        }
    }
}

/// Takes the texts of a set as they are read.
final class TextSetBuilder {
    private let bytes = SpilledArrayWriter<UInt8>()
    private var offsets = [0]
    private var numbers: [TextKey: Int32] = [:]

    /// The number of a text, which is added where it is new.
    /// - Throws: `RetortError` 73 and 74 when many texts find no room in the folder of temporary files.
    func number(of parts: [String]) throws -> Int32 {
        // A length in front: no two lists of parts look alike.
        let stored = parts.flatMap { Array("\($0.utf8.count):".utf8) + Array($0.utf8) }
        let key = TextKey(stored)
        if let known = numbers[key] { return known }
        let number = Int32(numbers.count)
        numbers[key] = number
        try bytes.append(stored)
        offsets.append(bytes.count)
        return number
    }

    /// All of them. Nothing is added any more.
    /// - Throws: `RetortError` 74 on a full disk.
    func finish() throws -> TextSet { TextSet(try bytes.finish(), offsets) }
}

/// What a text is known by while others are read: 16 bytes of SHA-256.
struct TextKey: Sendable, Hashable {
    private let high: UInt64
    private let low: UInt64

    init(_ bytes: [UInt8]) {
        var hash = ContentHash()
        hash.update(bytes)
        let digest = hash.bytes
        (high, low) = (digest.uint64(at: 0), digest.uint64(at: 8))
    }
}

extension SentenceEncoder {
    /// Tokens that it reads of a text at most.
    var readLength: Int {
        min(settings.length ?? tokenizer.truncation?.length ?? model.maxPositions, model.maxPositions)
    }
}
