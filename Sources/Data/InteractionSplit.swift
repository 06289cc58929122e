import RetortSupport

/// The items of each user, ascending.
public struct PositiveLists: Sendable, Equatable {
    /// Where each user's items begin in `items`, and the end: `[users + 1]`.
    public let starts: [Int]
    public let items: [Int32]

    /// - `events`: pairs of a user below `users` and an item, each pair once.
    public init(_ events: [(user: Int32, item: Int32)], users: Int) {
        var starts = [Int](repeating: 0, count: users + 1)
        for event in events { starts[Int(event.user) + 1] += 1 }
        for user in 0..<users { starts[user + 1] += starts[user] }
        self.starts = starts
        items = events.sorted { ($0.user, $0.item) < ($1.user, $1.item) }.map(\.item)
    }

    public var users: Int { starts.count - 1 }
    /// The number of pairs.
    public var count: Int { items.count }

    public subscript(user: Int) -> ArraySlice<Int32> { items[starts[user]..<starts[user + 1]] }

    /// The user of each pair, `[count]`.
    public var userOfPair: [Int32] {
        (0..<users).flatMap { [Int32](repeating: Int32($0), count: starts[$0 + 1] - starts[$0]) }
    }
}

/// Interactions to learn from and interactions to be predicted.
public struct InteractionSplit: Sendable {
    /// Which interactions test.
    public enum Rule: Sendable, Equatable {
        /// Each user's last one; a user with one alone only trains (leave one out).
        case last
        /// Each user's n-th, 2n-th, … in order of time; a user with fewer than n only trains.
        case every(Int)
        /// The last share of all in time. Users who are new there are not measured: nothing is known of them.
        case time(share: Double)
    }

    /// Ids by number.
    public let users: [String]
    public let items: [String]
    public let train: PositiveLists
    public let test: PositiveLists

    /// The users who are measured: those with something to learn from and something to predict.
    public var testUsers: [Int] { (0..<train.users).filter { !train[$0].isEmpty && !test[$0].isEmpty } }

    /// Names what was learnt from: the ids and the training pairs. A model of other ids or another split must not be taken for one of this.
    public var identity: String {
        func text(_ names: [String]) -> String { names.map { "\($0.utf8.count):\($0)" }.joined() }
        let pairs = train.items.map(String.init).joined(separator: ",")
        let starts = train.starts.map(String.init).joined(separator: ",")
        return ContentHash.hexadecimal(of: Array("\(text(users))|\(text(items))|\(starts)|\(pairs)".utf8))
    }
}

extension Interactions {
    /// - Throws: exit 78 when the rule wants timestamps that are not there, or nothing is left to learn or to predict.
    public func split(_ rule: InteractionSplit.Rule) throws(RetortError) -> InteractionSplit {
        // Equal times stand in file order.
        let order = events.indices.sorted { (events[$0].time, $0) < (events[$1].time, $1) }
        var tests = [Bool](repeating: false, count: events.count)
        switch rule {
        case .last, .every:
            var ofUser = [[Int]](repeating: [], count: users.count)
            for index in order { ofUser[Int(events[index].user)].append(index) }
            for own in ofUser {
                if case .every(let n) = rule {
                    for position in stride(from: n - 1, to: own.count, by: n) { tests[own[position]] = true }
                } else if own.count > 1 {
                    tests[own[own.count - 1]] = true
                }
            }
        case .time(let share):
            guard hasTimestamps else {
                throw .recipe("a split by time without timestamps", help: "Name the column: data.timestamp.")
            }
            for index in order.suffix(Int(share * Double(order.count))) { tests[index] = true }
        }
        func lists(_ isTest: Bool) -> PositiveLists {
            PositiveLists(
                events.indices.filter { tests[$0] == isTest }.map { (events[$0].user, events[$0].item) },
                users: users.count)
        }
        let split = InteractionSplit(users: users, items: items, train: lists(false), test: lists(true))
        guard !split.testUsers.isEmpty else {
            throw .recipe(
                "the split leaves nothing to predict",
                why: "\(events.count) interactions of \(users.count) users; no user has some on both sides",
                help: "Choose another data.test, or data.minimum.user above it.")
        }
        if let user = (0..<users.count).first(where: { split.train[$0].count == items.count }) {
            throw .badData(
                "user \(users[user].quoted()) has taken every item", why: "there is none to rank the others against",
                help: "Leave this user out.")
        }
        return split
    }
}
