import RetortSupport

/// Who took which item: implicit feedback from a file of rows (user, item[, rating][, timestamp]).
///
/// The file: UTF-8, fields separated by commas or tabs and quoted as in RFC 4180 where wanted, lines ended by LF or CRLF, with a header row
/// or with columns named from outside. Ids are any text. A row whose rating is below the threshold is no feedback. A pair that occurs
/// several times counts once, from its first row that is feedback. Users and items are numbered in order of first appearance among the
/// rows that are kept, so the same file always gives the same numbers.
public struct Interactions: Sendable {
    /// How a file is laid out.
    public struct Format: Sendable {
        public enum Separator: String, Sendable, CaseIterable { case comma, tab }
        public var separator: Separator
        /// Names of the columns of a file without a header row; nil: the first row has them.
        public var columns: [String]?
        public var user: String
        public var item: String
        /// nil: no ratings, or none that matter.
        public var rating: String?
        /// nil: the order of the rows is the order in time.
        public var timestamp: String?
        /// Smallest rating that is feedback; nil: every row is.
        public var threshold: Double?
        /// Bytes of the file, and of one line.
        public var fileBytes = 1 << 31
        public var lineBytes = 1 << 20

        public init(
            separator: Separator = .comma, columns: [String]? = nil, user: String = "user", item: String = "item",
            rating: String? = nil, timestamp: String? = nil, threshold: Double? = nil
        ) {
            self.separator = separator
            self.columns = columns
            self.user = user
            self.item = item
            self.rating = rating
            self.timestamp = timestamp
            self.threshold = threshold
        }
    }

    public struct Event: Sendable, Equatable {
        public let user: Int32
        public let item: Int32
        /// The timestamp, in the file's unit; without timestamps the row's number.
        public let time: Double
    }

    /// The users' ids by number.
    public let users: [String]
    /// The items' ids by number.
    public let items: [String]
    /// Each pair once, in file order.
    public let events: [Event]
    public let hasTimestamps: Bool

    /// Reads a file.
    /// - Throws: exit 66 when it is not there; 65, with file:line:column, when it is not what the type promises or nothing in it is
    ///   feedback; 74 on I/O errors.
    public static func read(_ path: String, format: Format) throws(RetortError) -> Interactions {
        try parse(InputFile.read(path, limit: format.fileBytes), file: path, format: format)
    }

    /// Reads text that is already in memory; `file` is what errors call it. Throws exit 65 as `read`.
    public static func parse(_ bytes: [UInt8], file: String, format: Format) throws(RetortError) -> Interactions {
        let separator = format.separator == .tab ? CSVScanner.tab : CSVScanner.comma
        var scanner = CSVScanner(bytes: bytes, file: file, lineLimit: format.lineBytes, separator: separator)
        if let offset = UTF8Check.firstInvalidOffset(in: bytes) {
            throw scanner.failure(at: offset, "not valid UTF-8", help: "Save the file as UTF-8.")
        }
        var fields: [CSVScanner.Field] = []
        var names = format.columns ?? []
        if format.columns == nil {
            guard try scanner.next(&fields) else {
                throw .badData(
                    "\(file.quoted(limit: 200)) is empty", at: RetortError.Location(file: file),
                    help: "It needs a header row with the names of the columns, then one row for each interaction.")
            }
            names = try scanner.columnNames(fields)
        }
        let user = try scanner.column("user column", format.user, of: names)
        let item = try scanner.column("item column", format.item, of: names)
        var rating: Int?
        if let name = format.rating { rating = try scanner.column("rating column", name, of: names) }
        var timestamp: Int?
        if let name = format.timestamp { timestamp = try scanner.column("timestamp column", name, of: names) }

        var numbers = Numbering()
        var row = 0
        while try scanner.next(&fields) {
            try scanner.checkCount(fields, wanted: names.count)
            row += 1
            let value = try rating.map { (column) throws(RetortError) in
                try scanner.number(fields[column], column: names[column])
            }
            let time = try timestamp.map { (column) throws(RetortError) in
                try scanner.number(fields[column], column: names[column])
            }
            let ids = try (
                scanner.id(fields[user], column: names[user]), scanner.id(fields[item], column: names[item])
            )
            if let threshold = format.threshold, let value, value < threshold { continue }
            numbers.add(user: ids.0, item: ids.1, time: time ?? Double(row))
        }
        guard !numbers.events.isEmpty else {
            throw .badData(
                "\(file.quoted(limit: 200)) has no interactions", at: RetortError.Location(file: file),
                why: row == 0 ? "it has no rows" : "none of its \(row) rows reaches the threshold")
        }
        return Interactions(numbers, hasTimestamps: timestamp != nil)
    }

    private init(_ numbers: Numbering, hasTimestamps: Bool) {
        users = numbers.users.names
        items = numbers.items.names
        events = numbers.events
        self.hasTimestamps = hasTimestamps
    }

    /// Only users and items with at least so many interactions, counted among what is kept (a k-core: leaving out an item may take its
    /// users below their minimum). Numbers start again from 0, in order of first appearance.
    /// - Throws: exit 78 when nothing is left.
    public func filtered(perUser: Int, perItem: Int) throws(RetortError) -> Interactions {
        var kept = events
        while true {
            var (ofUser, ofItem) = ([Int](repeating: 0, count: users.count), [Int](repeating: 0, count: items.count))
            for event in kept {
                ofUser[Int(event.user)] += 1
                ofItem[Int(event.item)] += 1
            }
            let next = kept.filter { ofUser[Int($0.user)] >= perUser && ofItem[Int($0.item)] >= perItem }
            if next.count == kept.count { break }
            kept = next
        }
        guard !kept.isEmpty else {
            throw .recipe(
                "no user with \(perUser) interactions is left among items with \(perItem)",
                why: "the file has \(events.count) interactions of \(users.count) users with \(items.count) items",
                help: "Lower data.minimum.user or data.minimum.item.")
        }
        var numbers = Numbering()
        for event in kept {
            numbers.add(user: users[Int(event.user)], item: items[Int(event.item)], time: event.time)
        }
        return Interactions(numbers, hasTimestamps: hasTimestamps)
    }

    /// Numbers ids in order of first appearance and keeps each pair once.
    private struct Numbering {
        struct Names {
            var names: [String] = []
            private var numbers: [ExactKey: Int32] = [:]

            mutating func number(_ name: String) -> Int32 {
                if let known = numbers[ExactKey(name)] { return known }
                let number = Int32(names.count)
                numbers[ExactKey(name)] = number
                names.append(name)
                return number
            }
        }
        var users = Names()
        var items = Names()
        var events: [Event] = []
        private var seen: Set<UInt64> = []

        mutating func add(user: String, item: String, time: Double) {
            let event = Event(user: users.number(user), item: items.number(item), time: time)
            let pair = UInt64(UInt32(bitPattern: event.user)) << 32 | UInt64(UInt32(bitPattern: event.item))
            if seen.insert(pair).inserted { events.append(event) }
        }
    }
}

extension CSVScanner {
    /// The text of an id.
    /// - Throws: exit 65 when it is empty.
    fileprivate func id(_ field: Field, column: String) throws(RetortError) -> String {
        let id = text(field)
        guard !id.isEmpty else {
            throw failure(
                at: field.range.lowerBound, "a missing id in column \(column.quoted())",
                help: "Fill in or remove the rows without one.")
        }
        return id
    }
}
