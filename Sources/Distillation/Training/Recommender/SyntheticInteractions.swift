import Foundation
import RetortRuntime
import RetortSupport

/// Ratings made up from hidden tastes, with a few popular items and many rare ones: data for tests and for a recipe that runs without a download.
///
/// User u and item i have normal vectors p_u, q_i of `dimension` numbers. Their fit is z = ⟨p_u, q_i⟩ / √dimension. Item i has popularity
/// −popularity·ln(rank_i), ranks in random order. A user rates `perUser` · (½ … 1½) items, drawn without replacement with probability
/// proportional to exp(`taste`·z + popularity), and gives each 1 to 5: the whole number nearest to 3 + 1.2·z + noise, noise normal with
/// deviation 0.5. Everything is a function of the numbers and the seed.
public struct SyntheticInteractions: Sendable {
    public let users: Int
    public let items: Int
    public let dimension: Int
    public let perUser: Int
    public let popularity: Double
    public let seed: UInt64
    /// How much the fit counts against the popularity when items are chosen.
    private static let taste = 2.0

    /// What `data/synthetic-interactions` was made with.
    public static let standard = SyntheticInteractions()

    private init() { (users, items, dimension, perUser, popularity, seed) = (600, 800, 16, 40, 0.8, 0) }

    /// - Throws: `RetortError` 64 for numbers that make no data.
    public init(users: Int, items: Int, dimension: Int, perUser: Int, popularity: Double, seed: Int) throws {
        func refuse(_ flag: String, _ value: String, _ wanted: String) -> RetortError {
            .usage("--\(flag) is \(value)", help: "it must be \(wanted)")
        }
        guard (1...10_000_000).contains(users) else { throw refuse("users", "\(users)", "from 1 to 10000000") }
        guard (2...1_000_000).contains(items) else { throw refuse("items", "\(items)", "from 2 to 1000000") }
        guard (1...4096).contains(dimension) else { throw refuse("dimension", "\(dimension)", "from 1 to 4096") }
        guard perUser >= 1, perUser <= items / 2 else {
            throw refuse("per-user", "\(perUser)", "from 1 to half of the items")
        }
        guard (0...10).contains(popularity) else { throw refuse("popularity", "\(popularity)", "from 0 to 10") }
        guard seed >= 0 else { throw refuse("seed", "\(seed)", "0 or more") }
        (self.users, self.items, self.dimension, self.perUser) = (users, items, dimension, perUser)
        (self.popularity, self.seed) = (popularity, UInt64(seed))
    }

    /// Writes the file.
    /// - Returns: the ratings in it.
    /// - Throws: `RetortError` 73 when the path exists or cannot be created, 74 on a full disk.
    public func write(to path: String) throws -> Int {
        guard !FileManager.default.fileExists(atPath: path) else {
            throw RetortError.cannotCreate(
                "\(path.quoted(limit: 200)) exists", help: "choose another path; nothing was touched")
        }
        let file = try AtomicFile(path: path)
        try file.write("userId,movieId,rating,timestamp\n")
        var count = 0
        try makeRatings { lines in
            count += lines.count
            try file.write(lines.joined())
        }
        try file.commit()
        return count
    }

    /// The lines of one user after the other.
    private func makeRatings(_ body: ([String]) throws -> Void) rethrows {
        func stream(_ purpose: String) -> Philox {
            Philox(seed: seed, stream: Philox.stream("interactions/" + purpose))
        }
        let tastes = stream("users").normals(users * dimension, deviation: 1)
        let features = stream("items").normals(items * dimension, deviation: 1)
        let ranks = stream("popularity").permutation(items)
        let (amount, choice) = (stream("amount"), stream("choice"))
        let noise = stream("noise")
        let scale = 1 / Double(dimension).squareRoot()
        for user in 0..<users {
            let own = tastes[(user * dimension)..<((user + 1) * dimension)]
            let fits = (0..<items).map { item in
                scale
                    * zip(own, features[(item * dimension)..<((item + 1) * dimension)]).reduce(0.0) {
                        $0 + Double($1.0) * Double($1.1)
                    }
            }
            let keys = (0..<items).map { item in
                Self.taste * fits[item] - popularity * log(Double(ranks[item]) + 1)
                    + choice.gumbel(UInt64(user) * UInt64(items) + UInt64(item))
            }
            let share = Double(amount.uniform(UInt64(user))) + 0.5
            let wanted = max(1, Int((Double(perUser) * share).rounded()))
            let chosen = (0..<items).sorted { (keys[$0], $1) > (keys[$1], $0) }.prefix(wanted)
            try body(
                chosen.enumerated().map { place, item in
                    let pair = UInt64(user) * UInt64(items) + UInt64(item)
                    // The sum of twelve uniform numbers is near enough to normal, and exact on every machine.
                    let sum = (0..<12).reduce(0.0) { $0 + Double(noise.uniform(pair * 12 + UInt64($1))) } - 6
                    let rating = min(5, max(1, Int((3 + 1.2 * fits[item] + 0.5 * sum).rounded())))
                    // Users come one after the other, a minute between two ratings.
                    return "\(user + 1),\(item + 1),\(rating),\(1_000_000_000 + (user * items + place) * 60)\n"
                })
        }
    }
}
