import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

@Suite("places in a text among its tokens")
struct TextBorderTests {
    /// UTF-8 offsets between characters.
    private static func places(_ text: String) -> [Int] {
        var places = [0]
        for scalar in text.unicodeScalars { places.append(places[places.count - 1] + String(scalar).utf8.count) }
        return places
    }

    @Test("every place of every text, every kind of tokenizer", arguments: TokenizerFixtures.names)
    func everywhere(_ name: String) throws {
        let tokenizer = try Tokenizer.load("\(TokenizerFixtures.folder)/\(name)")
        for text in try TokenizerFixtures.texts() where text.utf8.count < 300 {
            let places = Self.places(text)
            let (ids, borders) = try tokenizer.encode(text, places: places)
            guard expectSame(ids, try tokenizer.encode(text, addSpecialTokens: false).ids, text.quoted()) else {
                return
            }
            try #require(borders.count == places.count)
            #expect(borders.first == TextBorder(0) && borders.last == TextBorder(ids.count))
            for (place, border) in zip(places, borders) {
                #expect(0 <= border.before && border.before <= border.after && border.after <= ids.count)
                // There, a token that is only found before the end of a word makes the head of a text another text.
                guard border.isExact, border.before < ids.count, name != "added-tokens" else { continue }
                let head = String(decoding: Array(text.utf8)[..<place], as: UTF8.self)
                let wanted = try tokenizer.encode(head, addSpecialTokens: false).ids
                guard expectSame(Array(ids[..<border.before]), wanted, "\(text.quoted()) up to \(place)") else {
                    return
                }
            }
        }
    }

    @Test("byte by byte: what is before ends before, what is after begins after")
    func bytes() throws {
        let tokenizer = try TinyTokenizer.make(merges: [
            ("a", "b"), ("ab", "ab"), ("b", "a"), ("Ċ", "Ċ"), ("Ċ", "a"), ("Ã", "©"), ("x", "ab"),
        ])
        func length(_ id: Int32) -> Int {
            id < 300 ? tokenizer.token(id)?.unicodeScalars.count ?? 0 : tokenizer.token(id)?.utf8.count ?? 0
        }
        let random = [
            "ababababab", "xababba\n\nab", "a</s>b\n\n<s>\na", "éaéb\n\n\n", "</s></s>",
            "ab<|im_start|>ab<|im_end|>\n\n", "aababbab",
        ]
        for text in random {
            let places = Self.places(text)
            let (ids, borders) = try tokenizer.encode(text, places: places)
            var ends = [0]
            for id in ids { ends.append(ends[ends.count - 1] + length(id)) }
            try #require(ends.last == text.utf8.count)
            for (place, border) in zip(places, borders) {
                #expect(ends[border.before] <= place, "\(text.quoted()) at \(place)")
                #expect(ends[border.after] >= place, "\(text.quoted()) at \(place)")
            }
        }
    }

    @Test("a merge across the place is seen")
    func straddled() throws {
        let tokenizer = try TinyTokenizer.make(merges: [("Ċ", "Ċ"), ("a", "b"), ("ab", "c")])
        // n, \n\n, h
        #expect(try tokenizer.encode("n\n\nh", places: [2]).borders == [TextBorder(before: 1, after: 2)])
        #expect(try tokenizer.encode("n\nh", places: [2]).borders == [TextBorder(2)])
        // abc, d: "ab" is another token than "abc", and "cd" begins with another.
        #expect(try tokenizer.encode("abcd", places: [2]).borders == [TextBorder(before: 0, after: 1)])
        #expect(
            try tokenizer.encode("xab", places: [1, 2, 3]).borders == [
                TextBorder(1), TextBorder(before: 1, after: 2), TextBorder(2),
            ])
        #expect(
            try tokenizer.encode("a</s>b", places: [1, 3, 5]).borders == [
                TextBorder(1), TextBorder(before: 1, after: 2), TextBorder(2),
            ])
        #expect(try tokenizer.encode("", places: [0, 0]).borders == [TextBorder(0), TextBorder(0)])
    }
}
