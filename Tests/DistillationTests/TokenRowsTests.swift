import RetortData
import RetortModels
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("rows of token ids")
struct TokenRowsTests {
    /// `[30, 10007]`: more ids than are read at once.
    private static let rows = 30
    private static let length = 10_007

    private static func id(_ row: Int, _ place: Int) -> Int32 { Int32(row * 1000 + place % 997) }

    private static func file(_ ids: [Int32]) throws -> SafeTensors {
        let folder = try ScratchFolder()
        let path = folder.path("rows.safetensors")
        try SafeTensorsWriter.write(
            path: path,
            tensors: [
                (.init(name: "train", type: .int32, shape: [rows, length]), ids.withUnsafeBytes(Array.init))
            ])
        return try SafeTensors(path: path)
    }

    private static let ids: [Int32] = (0..<rows).flatMap { row in (0..<length).map { id(row, $0) } }

    @Test("read a few at a time they are those of the file")
    func all() throws {
        let corpus = try LanguageSource.rows(Self.file(Self.ids), "train")
        #expect(corpus.count == Self.rows && corpus.summary.tokens == Self.ids.count && corpus.largestToken == 29_996)
        for row in 0..<corpus.count {
            #expect(corpus.example(row).tokens == (0..<Self.length).map { Self.id(row, $0) }, "row \(row)")
            #expect(corpus.example(row).targetCount == Self.length - 1)
        }
        #expect(try LanguageSource.rows(Self.file(Self.ids), "train", limit: 27).count == 27)
    }

    @Test("an id that is no token is found where it stands")
    func wrong() throws {
        var ids = Self.ids
        ids[28 * Self.length + 5] = -3
        let file = try Self.file(ids)
        let failure = thrown(RetortError.self) { _ = try LanguageSource.rows(file, "train") }
        #expect(failure?.exit == .badData && failure?.what == "tensor 'train' holds -3, which is no token")
        #expect(failure?.why == "row 28, position 5")
    }
}
