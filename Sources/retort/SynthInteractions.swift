import ArgumentParser
import RetortDistillation
import RetortSupport

struct SynthInteractions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "interactions",
        abstract: "Write ratings by users of hidden tastes, some items popular: a file for recipes/recommender.yaml.",
        discussion: """
            The file has the layout of MovieLens' ratings.csv. The same numbers and seed always give the same file.
            With the defaults it is data/synthetic-interactions/ratings.csv.
            """)

    @Argument(help: "The CSV file to write; it must not exist.", completion: .file(extensions: ["csv"]))
    var path: String
    @Option(help: "Users.")
    var users: Int = SyntheticInteractions.standard.users
    @Option(help: "Items.")
    var items: Int = SyntheticInteractions.standard.items
    @Option(help: "Numbers of a hidden taste.")
    var dimension: Int = SyntheticInteractions.standard.dimension
    @Option(help: "Ratings of a user, on average.")
    var perUser: Int = SyntheticInteractions.standard.perUser
    @Option(help: "How unequal items are: 0 all alike, 1 as Zipf's law.")
    var popularity: Double = SyntheticInteractions.standard.popularity
    @Option(help: "Draws everything.")
    var seed: Int = Int(SyntheticInteractions.standard.seed)

    func run() throws {
        let synthetic = try SyntheticInteractions(
            users: users, items: items, dimension: dimension, perUser: perUser, popularity: popularity, seed: seed)
        let count = try synthetic.write(to: path)
        TextOutput.standardOutput.writeLine("\(NumberFormat.grouped(count)) ratings in \(path)")
    }
}
