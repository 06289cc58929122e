import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("encoded texts")
struct EncodedTextsTests {
    /// Texts of 2 to 8 tokens, two of them special; from a number on pairs, of which the second has another type.
    private static func encoding(_ number: Int, pairsFrom first: Int) -> Encoding {
        let (begin, end) = (Encoding(ids: [0], isSpecial: true), Encoding(ids: [3], isSpecial: true))
        var text = begin + Encoding(ids: (0..<Int32(number % 7)).map { $0 * 699_049 }) + end
        if number >= first { text = text + Encoding(ids: [5, 0], typeID: 1) }
        return text
    }

    @Test("the same in memory and in files, with types as soon as one text has some", arguments: [0, 20, 50])
    func same(first: Int) throws {
        func make() throws -> EncodedTexts {
            try EncodedTexts(count: 50) { Self.encoding($0, pairsFrom: first) }
        }
        let (folder, opened) = (try ScratchFolder(), Counter())
        let (memory, file) = (try make(), try inFiles(folder.path, opened: opened) { try make() })
        #expect(opened.value == (first < 50 ? 2 : 1))
        for texts in [memory, file] {
            #expect(texts.count == 50)
            for number in 0..<50 {
                let wanted = Self.encoding(number, pairsFrom: first)
                #expect(texts[number] == wanted && texts.length(of: number) == wanted.count)
            }
        }
        #expect(memory == file)
    }

    @Test("other tokens, types, marks or ends are other texts; padding is refused")
    func different() throws {
        let text = Encoding(ids: [1, 2, 3])
        var (special, typed, padded) = (text, text, text)
        special.isSpecial[1] = true
        typed.typeIDs[2] = 1
        padded.isAttended[2] = false
        func texts(_ all: [Encoding]) throws -> EncodedTexts { try EncodedTexts(count: all.count) { all[$0] } }
        let one = try texts([text, text])
        #expect(try one == texts([text, text]))
        for other in [[text, special], [text, typed], [text, Encoding(ids: [1, 2, 4])], [text]] {
            #expect(try one != texts(other))
        }
        #expect(try one != texts([Encoding(ids: [1, 2]), Encoding(ids: [3, 1, 2, 3])]))
        #expect(thrown(RetortError.self) { _ = try texts([padded]) }?.exit == .internalBug)
    }
}
