import Glibc
import RetortData
import RetortSupport
import Testing

@Suite struct CSVTests {
    private func parse(
        _ text: String, label: String = "y", limits: NumericCSV.Limits = NumericCSV.Limits()
    ) throws -> NumericCSV {
        try NumericCSV.parse(Array(text.utf8), file: "t.csv", label: label, limits: limits)
    }

    @Test func reads() throws {
        let table = try parse("a,y,b\n1,2,-3.5\n0.25,0,1e2\n")
        #expect(table.columnNames == ["a", "b"])
        #expect(table.features == [1, -3.5, 0.25, 100])
        #expect(table.labels == [2, 0])
        #expect(table.classes == 3)
        #expect(table.rows == 2)
        #expect(table.columns == 2)
    }

    @Test(arguments: [
        "a,y\r\n1,0\r\n2,1\r\n", "a,y\n1,0\n2,1", "\u{FEFF}a,y\n1,0\n2,1\n\n\r\n", "\"a\",\"y\"\n\"1\",0\n2,\"1\"",
        " a , y \n 1 ,\t0\n+2. , 1.0\n", "y,a\n0,1\n1e0,2\n",
    ])
    func sameTableInOtherClothes(text: String) throws {
        let table = try parse(text)
        #expect(table.columnNames == ["a"])
        #expect(table.features == [1, 2])
        #expect(table.labels == [0, 1])
    }

    @Test func quotedNames() throws {
        let table = try parse("\"a,\"\"b\"\"\n\",y\n1,0\n")
        #expect(table.columnNames == ["a,\"b\"\n"])
    }

    /// Text, line, column, and what the error says.
    @Test(arguments: [
        ("a,b,y\n1,2,0\n1,2\n", 3, 4, "a truncated row"), ("a,b,y\n1,2,0\n1", 3, 2, "a truncated row"),
        ("a,y\n1,0,7\n", 2, 5, "a row with too many fields"), ("a,y\n1,x\n", 2, 3, "not a number in column 'y'"),
        ("a,y\nx,1\n", 2, 1, "not a number in column 'a'"), ("a,y\n1 2,1\n", 2, 1, "not a number in column 'a'"),
        ("a,y\n0x1,1\n", 2, 1, "not a number in column 'a'"), ("a,y\n\"1\",1\n2,a\n", 3, 3, "not a number"),
        ("a,y\nnan,1\n", 2, 1, "a value that is not finite in column 'a'"), ("a,y\n-Inf,1\n", 2, 1, "not finite"),
        ("a,y\n  1e39,1\n", 2, 3, "not finite"), ("a,y\n1e999,1\n", 2, 1, "not finite"),
        ("a,y\n1,NaN\n", 2, 3, "not finite"), ("a,y\n,1\n", 2, 1, "a missing value in column 'a'"),
        ("a,y\n1,\n", 2, 3, "a missing value in column 'y'"), ("a,y\n1,1.5\n", 2, 3, "not a whole number from 0"),
        ("a,y\n1,-1\n", 2, 3, "not a whole number from 0"), ("a,y\n1,1e15\n", 2, 3, "a label that is too large"),
        ("a,y\n1,0\n\n2,1\n", 3, 1, "an empty line"), ("a,a,y\n1,1,0\n", 1, 3, "the column 'a' appears twice"),
        ("a,,y\n1,1,0\n", 1, 3, "a column without a name"), ("1,2,3\n1,1,0\n", 1, 1, "the header row is missing"),
        ("y\n1\n", 1, 1, "the label 'y' is the only column"),
        ("a,y\n\"1,0\n", 2, 1, "a quoted field that does not end"),
        ("a,y\n\"1\"2,0\n", 2, 4, "text after a closing quote"), ("a,y\n1\"2,0\n", 2, 2, "a quote inside a field"),
        ("a,y\r1,0\r", 1, 4, "a carriage return without"), ("a,y\n1\0,0\n", 2, 1, "not a number"),
        ("é,y\nü,0\n", 2, 1, "not a number in column 'é'"), ("é,y\n1,ü\n", 2, 3, "not a number"),
    ])
    func rejects(text: String, line: Int, column: Int, what: String) {
        let failure = error { _ = try parse(text) }
        #expect(failure?.exit == .badData)
        #expect(failure?.location == RetortError.Location(file: "t.csv", line: line, column: column))
        #expect(failure?.what.contains(what) == true, "\(failure?.what ?? "")")
    }

    @Test func rendersTheWholeError() {
        let failure = error { _ = try parse("a,b,y\n1,2,0\n1,two,0\n") }
        #expect(
            failure?.description == """
                error: not a number in column 'b'
                  --> t.csv:3:3
                  'two' is not a decimal number
                  3 | 1,two,0
                    |   ^
                """)
    }

    @Test func emptyFilesAndMissingRows() {
        for text in ["", "\n\n", "\u{FEFF}"] {
            let failure = error { _ = try parse(text) }
            #expect(failure?.exit == .badData)
            #expect(failure?.what == "'t.csv' is empty")
        }
        #expect(error { _ = try parse("a,y\n") }?.what == "'t.csv' has no rows")
    }

    @Test func missingLabelListsTheColumns() {
        let failure = error { _ = try parse("p0,p1,target\n1,2,3\n", label: "tarhet") }
        #expect(failure?.exit == .badData)
        #expect(failure?.what == "there is no label column 'tarhet'")
        #expect(failure?.why.hasPrefix("the columns are 'p0', 'p1', 'target'\n") == true)
        #expect(failure?.help == "Did you mean 'target'?")
    }

    @Test func limitsHold() throws {
        let limits = NumericCSV.Limits(fileBytes: 40, lineBytes: 8, classes: 3)
        _ = try parse("a,y\n12345,2\n", limits: limits)
        let long = error { _ = try parse("a,y\n1234567,2\n", limits: limits) }
        #expect(long?.what == "a line that is too long")
        #expect(long?.location?.line == 2)
        #expect(error { _ = try parse("a,y\n\"12345678\",2\n", limits: limits) }?.what == "a line that is too long")
        #expect(error { _ = try parse("a,y\n1,3\n", limits: limits) }?.what.contains("label that is too large") == true)
        let file = try TemporaryFile(String(repeating: "a,y\n", count: 20))
        let large = error { _ = try NumericCSV.read(file.path, label: "y", limits: limits) }
        #expect(large?.exit == .badData)
        #expect(large?.why == "it has 80 B; the limit here is 40 B")
        #expect(error { _ = try NumericCSV.read("/nonexistent.csv", label: "y") }?.exit == .missingInput)
    }

    @Test func badUTF8() {
        let failure = error { _ = try NumericCSV.parse([0x61, 0x2C, 0xFF], file: "t.csv", label: "y") }
        #expect(failure?.what == "not valid UTF-8")
        #expect(failure?.location?.column == 3)
    }

    @Test func randomBytesNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = Array("ay,,\n\n\r\"01.9e-\u{E9} \t".utf8) + [0xFF, 0]
        for _ in 0..<5000 {
            let text = (0..<Int.random(in: 0...40)).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            _ = try? NumericCSV.parse(Array("a,y\n".utf8) + text, file: "random", label: "y")
        }
    }
}

@Suite struct DatasetTests {
    private func dataset(rows: Int) throws -> TabularDataset {
        try TabularDataset(
            features: (0..<rows * 2).map(Float.init), labels: (0..<rows).map { Int32($0 % 3) },
            columnNames: ["a", "b"], classes: 3)
    }

    @Test func splitKeepsFileOrder() throws {
        let (train, test) = try dataset(rows: 12).split(testEvery: 5)
        #expect(test.features == [0, 1, 10, 11, 20, 21])
        #expect(test.labels == [0, 2, 1])
        #expect(train.rows == 9)
        #expect(train.features.prefix(10) == [2, 3, 4, 5, 6, 7, 8, 9, 12, 13])
        #expect(train.classes == 3)
        #expect(Array(train.row(4)) == [12, 13])
        let few = try train.first(rows: 2)
        #expect(few.features == [2, 3, 4, 5])
        #expect(few.labels == [1, 2])
        #expect(few.classes == 3)
    }

    @Test func impossibleRulesAreRecipeErrors() throws {
        let data = try dataset(rows: 4)
        for every in [1, 0, -5, Int.min] { #expect(error { _ = try data.split(testEvery: every) }?.exit == .recipe) }
        for rows in [0, -1, 5, Int.max] { #expect(error { _ = try data.first(rows: rows) }?.exit == .recipe) }
        for scale in [0, Float.nan, .infinity] { #expect(error { _ = try data.scaled(by: scale) }?.exit == .recipe) }
        #expect(error { _ = try dataset(rows: 1).split(testEvery: 2) }?.exit == .recipe)
        let all = try data.split(testEvery: Int.max)
        #expect(all.test.rows == 1)
        let large = error { _ = try data.scaled(by: .greatestFiniteMagnitude) }
        #expect(large?.exit == .badData)
        #expect(large?.what == "row 1 of column 'a' is too large to scale")
    }

    @Test func sizesMustAgree() {
        let short = error { _ = try TabularDataset(features: [1], labels: [0], columnNames: ["a", "b"], classes: 1) }
        #expect(short?.exit == .badData)
        let label = error { _ = try TabularDataset(features: [1], labels: [1], columnNames: ["a"], classes: 1) }
        #expect(label?.what == "row 0 has label 1")
        #expect(error { _ = try TabularDataset(features: [1], labels: [-1], columnNames: ["a"], classes: 1) } != nil)
    }

    @Test func firstLabelOutOfReach() throws {
        let file = try TemporaryFile("y,a\n0,1\n 12 ,2\n\"3\",4\n2,1\n")
        let place = try NumericCSV.firstLabel(in: file.path, label: "y", from: 3)
        #expect(place?.label == 12 && place?.count == 2 && place?.rows == 4)
        #expect(place?.location == RetortError.Location(file: file.path, line: 3, column: 2))
        #expect(place?.excerpt == "3 |  12 ,2\n  |  ^")
        let quoted = try NumericCSV.firstLabel(in: file.path, label: "y", from: 12)
        #expect(quoted?.label == 12 && quoted?.count == 1)
        #expect(try NumericCSV.firstLabel(in: file.path, label: "y", from: 13) == nil)
        #expect(error { _ = try NumericCSV.firstLabel(in: file.path, label: "z", from: 0) }?.exit == .badData)
    }

    @Test func csvWithScale() throws {
        let file = try TemporaryFile("a,y\n16,0\n8,1\n")
        let data = try TabularDataset.csv(file.path, label: "y", scale: 0.0625)
        #expect(data.features == [1, 0.5])
        #expect(data.labels == [0, 1])
    }

    /// The data of the first demonstration, where `RETORT_DATA` names it.
    @Test(.enabled(if: getenv("RETORT_DATA") != nil))
    func digits() throws {
        let folder = try #require(getenv("RETORT_DATA").map { String(cString: $0) })
        let data = try TabularDataset.csv(folder + "/uci-digits/digits.csv", label: "label", scale: 0.0625)
        let (train, test) = try data.split(testEvery: 5)
        #expect([data.rows, data.columns, data.classes, train.rows, test.rows] == [1797, 64, 10, 1437, 360])
        #expect(data.features.max() == 1)
    }
}
