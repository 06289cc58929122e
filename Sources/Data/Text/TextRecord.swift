import RetortSupport

/// One turn of a conversation.
public struct TextMessage: Sendable, Equatable {
    public enum Role: String, Sendable, CaseIterable {
        case system, user, assistant, tool
    }

    public var role: Role
    public var content: String
    /// False for an answer that is context only (`"weight": 0`): it is read, not learned.
    public var isLearned: Bool

    public init(_ role: Role, _ content: String, isLearned: Bool = true) {
        self.role = role
        self.content = content
        self.isLearned = isLearned
    }
}

/// One training example, or one prompt, as a file has it.
public struct TextRecord: Sendable, Equatable {
    public enum Content: Sendable, Equatable {
        case text(String)
        /// To be answered: what a teacher writes to.
        case prompt(String)
        case completion(prompt: String, completion: String)
        /// To be answered when it does not end with the assistant.
        case conversation([TextMessage])
        /// The better and the worse answer to the same turns.
        case preference(prompt: [TextMessage], chosen: [TextMessage], rejected: [TextMessage])

        /// Whether it ends where an answer is to begin: a prompt, and a conversation whose last turn is the user's or a tool's.
        public var isQuestion: Bool {
            switch self {
            case .prompt: true
            case .conversation(let turns): turns.last.map { [.user, .tool].contains($0.role) } ?? false
            case .text, .completion, .preference: false
            }
        }
    }

    /// Where a record begins.
    public struct Place: Sendable, Equatable, CustomStringConvertible {
        public let file: String
        /// Both count from 1.
        public let line: Int
        public let column: Int

        public init(file: String, line: Int, column: Int) {
            self.file = file
            self.line = line
            self.column = column
        }

        /// `file:line:column`.
        public var description: String { "\(file.displayable):\(line):\(column)" }
        public var location: RetortError.Location { RetortError.Location(file: file, line: line, column: column) }
    }

    public let content: Content
    /// nil for a record that was made here.
    public let place: Place?
    /// The members of the record that `TextOptions.keep` asks for, as they stand in the file.
    public let kept: JSONObject

    public init(_ content: Content, place: Place? = nil, kept: JSONObject = JSONObject()) {
        self.content = content
        self.place = place
        self.kept = kept
    }
}

/// Records by number, wherever they come from. Safe to use from several threads.
public protocol TextRecords: Sendable {
    var count: Int { get }

    /// - Parameter number: from 0 to `count` − 1.
    func record(_ number: Int) throws -> TextRecord
}

/// Records in memory: the answers that a teacher has just written, for example.
public struct TextRecordList: TextRecords {
    public let records: [TextRecord]
    public var count: Int { records.count }

    public init(_ records: [TextRecord]) { self.records = records }

    public func record(_ number: Int) -> TextRecord { records[number] }
}
