import RetortSupport
import Testing

@Suite struct JSONLocationTests {
    private static let text = """
        {
          "plain": 1,
          "esc\\u0061ped \\"key\\"": [10, {"x": "}]"}, [[], {}], -1.5e3, "last"],
          "ключ": {"nested": {"value": null}, "more": true}
        }
        """

    private func root() throws -> JSONCursor {
        let folder = try TemporaryFolder()
        let path = folder.file("t.json")
        try AtomicFile.write(Self.text, to: path)
        let cursor = try JSONCursor.read(path)
        _ = folder.names
        return cursor
    }

    @Test func everyValueKnowsItsPlace() throws {
        let root = try root()
        func place(_ cursor: JSONCursor) -> [Int?] { [cursor.location.line, cursor.location.column] }
        #expect(place(root) == [1, 1])
        #expect(place(try root.member("plain")) == [2, 12])
        let list = try root.member("escaped \"key\"")
        #expect(place(list) == [3, 27])
        #expect(try list.elements().map { $0.location.column } == [28, 32, 45, 55, 63])
        #expect(place(try list.element(1).member("x")) == [3, 38])
        #expect(place(try list.element(2).element(1)) == [3, 50])
        let other = try root.member("ключ")
        #expect(place(try other.member("nested").member("value")) == [4, 32])
        #expect(place(try other.member("more")) == [4, 47])
        #expect(try list.element(4).path == "escaped \"key\"[4]")
    }

    @Test func errorsPointAtTheValue() throws {
        let root = try root()
        let list = try root.member("escaped \"key\"")
        let kind = error { _ = try list.element(3).string() }
        #expect(kind?.location?.line == 3 && kind?.location?.column == 55)
        let missing = error { _ = try root.member("plane") }
        #expect(missing?.location?.line == 1 && missing?.help == "Did you mean 'plain'?")
        let unknown = error { try root.member("ключ").expectKeys(["nested"]) }
        #expect(unknown?.location?.line == 4 && unknown?.location?.column == 47)
        let outside = error { _ = try list.element(5) }
        #expect(outside?.location?.column == 27)
        // Without the text there is no line to name.
        let bare = JSONCursor(root.value, file: "t.json")
        #expect(bare.location == .init(file: "t.json"))
    }
}
