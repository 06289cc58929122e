import Foundation
import TestSupport
import Testing

/// DocC refuses a comment that names some of a function's parameters; `make docs` takes too long for every run.
@Suite("Documentation comments")
struct DocumentationTests {
    @Test("comments of what is public name every parameter or none, as it is called inside")
    func parameters() throws {
        let sources = Project.root + "/Sources"
        for case let file as String in try #require(FileManager.default.enumerator(atPath: sources))
        where file.hasSuffix(".swift") {
            let lines = try String(contentsOfFile: sources + "/" + file, encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            var comment: [Substring] = []
            for (at, line) in lines.enumerated() {
                let words = line.drop { $0 == " " }
                guard !words.hasPrefix("///") else {
                    comment.append(words.dropFirst(3))
                    continue
                }
                // Attributes may stand between.
                if words.hasPrefix("@") { continue }
                let named = Self.documented(comment)
                comment = []
                guard !named.isEmpty, words.contains("public "),
                    let match = words.firstMatch(of: #/\b(func|init|subscript)\b/#)
                else { continue }
                let rest = ([words[match.range.upperBound...]] + lines[(at + 1)...].prefix(30)).joined(separator: " ")
                #expect(named.sorted() == Self.parameters(rest).sorted(), "Sources/\(file):\(at + 1)")
            }
        }
    }

    @Test("parameters are found where they stand")
    func parser() {
        #expect(Self.documented([" - Parameter x: y", " - Parameters:", "   - a: b", "     - no: c"]) == ["x", "a"])
        #expect(
            Self.parameters(" f<T: P>(_ a: (Int, T) -> [Int: T], b c: Set<Int> = [1, 2], d: Int) -> (e: T) {") == [
                "a", "c", "d",
            ])
        #expect(Self.parameters(" f() throws(E) {").isEmpty)
    }

    private static func documented(_ comment: [Substring]) -> [String] {
        var names = comment.compactMap { $0.firstMatch(of: #/^ - Parameter (\w+):/#).map { String($0.1) } }
        if let list = comment.firstIndex(where: { $0.hasPrefix(" - Parameters:") }) {
            for line in comment[(list + 1)...].prefix(while: { $0.hasPrefix("   ") }) {
                if let match = line.firstMatch(of: #/^   - (\w+):/#) { names.append(String(match.1)) }
            }
        }
        return names
    }

    /// The inner names of the first parenthesis' parts.
    private static func parameters(_ declaration: String) -> [String] {
        var (depth, part, parts): (Int, String, [String]) = (0, "", [])
        for character in declaration.drop(while: { $0 != "(" }) {
            switch character {
            case "(", "[": depth += 1
            case ")", "]": depth -= 1
            default: break
            }
            if depth == 0 || depth == 1 && character == "," {
                parts.append(part)
                part = ""
                if depth == 0 { break }
            } else if !(depth == 1 && character == "(") {
                part.append(character)
            }
        }
        return parts.compactMap { $0.firstMatch(of: #/(\w+)\s*:/#).map { String($0.1) } }
    }
}
