import RetortData
import RetortSupport
import Testing

@Suite("Interactions")
struct InteractionsTests {
    private func parse(_ text: String, _ format: Interactions.Format = .init()) throws -> Interactions {
        try Interactions.parse(Array(text.utf8), file: "t.csv", format: format)
    }

    private func pairs(_ data: Interactions) -> [String] {
        data.events.map { "\(data.users[Int($0.user)])-\(data.items[Int($0.item)])@\($0.time)" }
    }

    @Test("ids are numbered in order of first appearance, pairs count once")
    func reads() throws {
        let data = try parse("user,item\nb,x\na,y\nb,y\nb,x\n\"a\",x\n")
        #expect(data.users == ["b", "a"] && data.items == ["x", "y"])
        #expect(
            data.events.map { [$0.user, $0.item] } == [[0, 0], [1, 1], [0, 1], [1, 0]] && !data.hasTimestamps)
    }

    @Test("other columns, tabs, no header; what is below the threshold is no feedback and names nobody")
    func layouts() throws {
        let movieLens = Interactions.Format(
            separator: .tab, columns: ["u", "i", "r", "t"], user: "u", item: "i", rating: "r", timestamp: "t",
            threshold: 4)
        let data = try parse("9\t7\t3\t10\n9\t8\t4\t11\n1\t7\t5\t8\n9\t7\t4.5\t12\n1\t7\t5\t1", movieLens)
        #expect(data.users == ["9", "1"] && data.items == ["8", "7"])
        #expect(pairs(data) == ["9-8@11.0", "1-7@8.0", "9-7@12.0"])
        // Without a threshold every row counts, whatever its rating.
        let all = try parse("extra,user,rating,item\n1,a,0.5,x\n2,b,5,y\n", .init(rating: "rating"))
        #expect(pairs(all) == ["a-x@1.0", "b-y@2.0"])
    }

    @Test(
        "malformed files name their place",
        arguments: [
            ("user,item,t\na,x,1\nb,,2\n", 3, 3, "a missing id in column 'item'"),
            ("user,item,t\na,x,1\n ,y,2\n", 3, 1, "a missing id in column 'user'"),
            ("user,item,t\na,x,nan\n", 2, 5, "a value that is not finite in column 't'"),
            ("user,item,t\na,x,later\n", 2, 5, "not a number in column 't'"),
            ("user,item,t\na,x\n", 2, 4, "a truncated row"), ("user,item,t\na,x,1,2\n", 2, 7, "too many fields"),
            ("user,item,t\na,x,1\n\nb,y,2\n", 3, 1, "an empty line"),
            ("user,itm,t\na,x,1\n", 1, 1, "there is no item column 'item'"),
            ("usr,item,t\na,x,1\n", 1, 1, "there is no user column 'user'"),
            ("user,item,when\na,x,1\n", 1, 1, "there is no timestamp column 't'"),
            ("1,2,3\n4,5,6\n", 1, 1, "the header row is missing"),
            ("user,item,t\n\"a,x,1\n", 2, 1, "a quoted field that does not end"),
        ])
    func rejects(_ text: String, _ line: Int, _ column: Int, _ what: String) {
        let failure = error { _ = try parse(text, .init(timestamp: "t")) }
        #expect(failure?.exit == .badData)
        #expect(failure?.location == .init(file: "t.csv", line: line, column: column), "\(failure!)")
        #expect(failure?.what.contains(what) == true, "\(failure!)")
    }

    @Test("files without feedback, bytes that are no text, a file that is not there")
    func nothing() throws {
        for text in ["", "user,item\n", "user,item,rating\na,x,3\n"] {
            let failure = error {
                _ = try parse(text, .init(rating: text.contains("rating") ? "rating" : nil, threshold: 4))
            }
            #expect(failure?.exit == .badData && failure?.location?.file == "t.csv", "\(failure!)")
        }
        let bytes = error {
            _ = try Interactions.parse(Array("user,item\na,".utf8) + [0xff], file: "t.csv", format: .init())
        }
        #expect(bytes?.exit == .badData && bytes?.location?.line == 2)
        #expect(error { _ = try Interactions.read("/nowhere/x.csv", format: .init()) }?.exit == .missingInput)
    }

    @Test("minimum counts are met by all at once, and numbers start again")
    func filter() throws {
        // d has two items, but z has one user only; without z, d has one and goes, and with d the item w.
        let text = "user,item\nd,z\nd,w\na,x\na,y\nb,x\nb,y\nc,w\nc,x\nc,y\n"
        let data = try parse(text).filtered(perUser: 2, perItem: 2)
        #expect(data.users == ["a", "b", "c"] && data.items == ["x", "y"])
        #expect(pairs(data) == ["a-x@3.0", "a-y@4.0", "b-x@5.0", "b-y@6.0", "c-x@8.0", "c-y@9.0"])
        #expect(error { _ = try parse(text).filtered(perUser: 4, perItem: 1) }?.exit == .recipe)
        #expect(pairs(try parse(text).filtered(perUser: 1, perItem: 1)) == pairs(try parse(text)))
    }

    /// Times of user a fall while the rows go on; b has no others; c once only.
    private static let timed = "user,item,t\na,x,9\na,y,5\na,z,1\nb,x,2\nb,y,2\nc,z,8\na,w,7\n"

    private func split(_ rule: InteractionSplit.Rule, timestamps: Bool = true) throws -> [String] {
        let split = try parse(Self.timed, .init(timestamp: timestamps ? "t" : nil)).split(rule)
        func text(_ lists: PositiveLists) -> String {
            (0..<lists.users).map { lists[$0].map { split.items[Int($0)] }.joined() }.joined(separator: "|")
        }
        return [text(split.train), text(split.test)]
    }

    @Test("splits: last, every n-th, by time")
    func splits() throws {
        // Items are numbered x y z w. Of equal times the later row is the last.
        #expect(try split(.last) == ["yzw|x|z", "x|y|"])
        #expect(try split(.last, timestamps: false) == ["xyz|x|z", "w|y|"])
        #expect(try split(.every(2)) == ["zw|x|z", "xy|y|"])
        #expect(try split(.every(4)) == ["yzw|xy|z", "x||"])
        #expect(try split(.time(share: 0.45)) == ["yz|xy|", "xw||z"])
        let measured = try parse(Self.timed, .init(timestamp: "t")).split(.time(share: 0.45))
        #expect(measured.testUsers == [0], "c is new in the test, b has nothing there")
        #expect(error { _ = try split(.time(share: 0.3), timestamps: false) }?.exit == .recipe)
        #expect(error { _ = try split(.every(9)) }?.exit == .recipe)
    }

    @Test("a user who has taken everything cannot be ranked for")
    func everything() {
        let failure = error {
            _ = try parse("user,item,t\na,x,1\na,y,2\nb,x,3\nb,y,4\n", .init(timestamp: "t")).split(.time(share: 0.3))
        }
        #expect(failure?.exit == .badData && failure?.what.contains("'a'") == true, "\(failure!)")
    }

    @Test("the identity changes with ids and with what is learnt from, and with nothing else")
    func identity() throws {
        let one = try parse(Self.timed, .init(timestamp: "t"))
        let last = try one.split(.last).identity
        #expect(try one.split(.last).identity == last)
        #expect(try one.split(.every(2)).identity != last)
        let renamed = Self.timed.replacing("b,x,2", with: "bb,x,2").replacing("b,y,2", with: "bb,y,2")
        #expect(try parse(renamed, .init(timestamp: "t")).split(.last).identity != last)
    }
}
