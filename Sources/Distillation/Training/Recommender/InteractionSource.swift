import RetortData
import RetortSupport

/// Where interactions come from, as a recipe states it.
public struct InteractionSource: Sendable {
    public let path: String
    public let format: Interactions.Format
    public let rule: InteractionSplit.Rule
    private let minimum: (user: Int, item: Int)
    private let location: RetortError.Location?

    static let section = RecipeSection(
        "interactions", "Implicit feedback for a recommender: rows of user, item, and maybe rating and timestamp.",
        [
            RecipeField("path", .text, .required, "the file; relative to the recipe, else to the working directory"),
            RecipeField(
                "separator", .choice(Interactions.Format.Separator.allCases.map(\.rawValue)), .defaulted("comma"),
                "between two fields"),
            RecipeField(
                "columns", .list(of: .text, count: 2...1024), .optional,
                "names of the columns of a file without a header row"),
            RecipeField("user", .text, .defaulted("user"), "name of the column of users"),
            RecipeField("item", .text, .defaulted("item"), "name of the column of items"),
            RecipeField(
                "rating", .text, .optional, "name of the column of ratings; it is looked at for threshold only"),
            RecipeField("threshold", .number(-1e9...1e9), .optional, "smallest rating that counts as taken"),
            RecipeField(
                "timestamp", .text, .optional, "name of the column of times; absent: rows are in order of time"),
            RecipeField(
                "minimum",
                .section(
                    RecipeSection(
                        "minimum", "Users and items with fewer interactions are left out, until all have enough.",
                        [
                            RecipeField("user", .integer(1...1_000_000), .defaulted("1"), "interactions of a user"),
                            RecipeField("item", .integer(1...1_000_000), .defaulted("1"), "interactions of an item"),
                        ])), .defaulted("{user: 1, item: 1}"), "users and items with too little are left out"),
            RecipeField(
                "test",
                .variant(
                    key: "split",
                    [
                        RecipeSection("last", "Each user's last interaction tests: leave one out.", []),
                        RecipeSection(
                            "every", "Each user's n-th, 2n-th, … interaction tests.",
                            [RecipeField("n", .integer(2...1_000_000), .required, "n")]),
                        RecipeSection(
                            "time", "The last interactions of all test.",
                            [RecipeField("share", .number(0.001...0.9), .required, "their share")]),
                    ]), .required, "what is to be predicted"),
        ])

    init(_ node: RecipeNode, path: String) throws {
        self.path = path
        location = node.location
        format = Interactions.Format(
            separator: .init(rawValue: node.required("separator").text) ?? .comma,
            columns: node["columns"]?.list.map(\.text), user: node.required("user").text,
            item: node.required("item").text, rating: node["rating"]?.text, timestamp: node["timestamp"]?.text,
            threshold: node["threshold"]?.number)
        if let threshold = node["threshold"], node["rating"] == nil {
            throw RetortError.recipe(
                "data.threshold without data.rating", at: threshold.location ?? node.location,
                help: "name the column of ratings: data.rating")
        }
        let least = node.required("minimum")
        minimum = (least.required("user").integer, least.required("item").integer)
        let test = node.required("test")
        rule =
            switch test.required("split").text {
            case "every": .every(test.required("n").integer)
            case "time": .time(share: test.required("share").number)
            default: .last
            }
        if case .time = rule, format.timestamp == nil {
            throw RetortError.recipe(
                "a split by time without timestamps", at: test.location, help: "name the column: data.timestamp")
        }
    }

    /// Reads the file.
    /// - Throws: `RetortError` 65, 66, 74, 78.
    public func load() throws -> InteractionSplit {
        do {
            return try read()
        } catch let error as RetortError where error.exit == .recipe && error.location == nil {
            throw RetortError.recipe(error.what, at: location, why: error.why, help: error.help)
        }
    }

    private func read() throws -> InteractionSplit {
        let all = try Interactions.read(path, format: format)
        return try all.filtered(perUser: minimum.user, perItem: minimum.item).split(rule)
    }
}
