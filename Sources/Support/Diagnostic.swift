/// The exit codes a user and a script can rely on (the table in `DESIGN.md`, "Contracts").
public enum ExitCode: Int32, Sendable, CaseIterable {
    /// Wrong command line: verb, flag, override syntax.
    case usage = 64
    /// Bad data or model file: malformed, NaN, truncated, shapes that lie.
    case badData = 65
    /// An input that is not there or cannot be read.
    case missingInput = 66
    /// Device: not there, no loader, allocation beyond it, lost, a kernel that does not build.
    case device = 69
    /// A bug of ours.
    case internalBug = 70
    /// Output that cannot be created: it exists, or permission is missing.
    case cannotCreate = 73
    /// Output that cannot be written, or an input that cannot be read through: disk full, I/O error.
    case io = 74
    /// Stopped by a signal; the state was saved and the run can be resumed.
    case stopped = 75
    /// Recipe: unknown key, wrong type, impossible value, alias.
    case recipe = 78
    /// Training diverged: a value that is not finite.
    case diverged = 86
}

/// The one error type of Retort: what went wrong, where, why, and what to do about it.
///
/// `description` is what the user reads:
///
///     error: <what>
///       --> file:line:column
///       <why>
///       help: <what to do>
///
/// Parts that are empty are left out. Text that came from a file is shown with its control characters escaped, so
/// that a hostile file cannot write to the terminal.
public struct RetortError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A place in a file. Lines and columns count from 1; a column counts Unicode scalars.
    public struct Location: Sendable, Equatable {
        public var file: String
        public var line: Int?
        public var column: Int?

        public init(file: String, line: Int? = nil, column: Int? = nil) {
            self.file = file
            self.line = line
            self.column = column
        }
    }

    /// The exit code of the program when this error ends it.
    public var exit: ExitCode
    /// One line: what went wrong.
    public var what: String
    /// Where, when there is a place to point at.
    public var location: Location?
    /// The cause; may have several lines (an excerpt with a caret, for example).
    public var why: String
    /// What the user can do.
    public var help: String

    public init(exit: ExitCode, what: String, at location: Location? = nil, why: String = "", help: String = "") {
        self.exit = exit
        self.what = what
        self.location = location
        self.why = why
        self.help = help
    }

    public var description: String {
        var lines = ["error: " + what.displayable]
        if let location {
            var place = location.file.displayable
            if let line = location.line {
                place += ":\(line)"
                if let column = location.column { place += ":\(column)" }
            }
            lines.append("  --> " + place)
        }
        lines += Self.lines(of: why).map { "  " + $0 }
        let helpLines = Self.lines(of: help)
        for (index, line) in helpLines.enumerated() {
            lines.append((index == 0 ? "  help: " : "        ") + line)
        }
        return lines.joined(separator: "\n")
    }

    private static func lines(of text: String) -> [String] {
        guard !text.isEmpty else { return [] }
        // By scalar: as a Character, "\r\n" would be one unit and hide the newline.
        return text.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false)
            .map { String($0).displayable }
    }
}

extension RetortError {
    /// Exit 64: wrong command line.
    public static func usage(_ what: String, why: String = "", help: String = "") -> RetortError {
        RetortError(exit: .usage, what: what, why: why, help: help)
    }

    /// Exit 65: a file whose content is wrong.
    public static func badData(
        _ what: String, at location: Location? = nil, why: String = "", help: String = ""
    ) -> RetortError {
        RetortError(exit: .badData, what: what, at: location, why: why, help: help)
    }

    /// Exit 66: an input that is not there.
    public static func missingInput(
        _ what: String, at location: Location? = nil, why: String = "", help: String = ""
    ) -> RetortError {
        RetortError(exit: .missingInput, what: what, at: location, why: why, help: help)
    }

    /// Exit 69: device missing, lost or too small.
    public static func device(_ what: String, why: String = "", help: String = "") -> RetortError {
        RetortError(exit: .device, what: what, why: why, help: help)
    }

    /// Exit 70: a bug of ours. `what` says which expectation did not hold.
    public static func internalBug(_ what: String, why: String = "") -> RetortError {
        RetortError(
            exit: .internalBug, what: what, why: why,
            help:
                "This is a bug in retort. Please report it with the command and the output of `retort devices --json`.")
    }

    /// Exit 73: output that cannot be created.
    public static func cannotCreate(
        _ what: String, at location: Location? = nil, why: String = "", help: String = ""
    ) -> RetortError {
        RetortError(exit: .cannotCreate, what: what, at: location, why: why, help: help)
    }

    /// Exit 74: output that cannot be written, or an I/O error while reading.
    public static func io(
        _ what: String, at location: Location? = nil, why: String = "", help: String = ""
    ) -> RetortError {
        RetortError(exit: .io, what: what, at: location, why: why, help: help)
    }

    /// Exit 75: stopped by a signal after saving.
    public static func stopped(_ what: String, why: String = "", help: String = "") -> RetortError {
        RetortError(exit: .stopped, what: what, why: why, help: help)
    }

    /// Exit 78: a recipe that cannot be run as written.
    public static func recipe(
        _ what: String, at location: Location? = nil, why: String = "", help: String = ""
    ) -> RetortError {
        RetortError(exit: .recipe, what: what, at: location, why: why, help: help)
    }

    /// Exit 86: a value that is not finite during training.
    public static func diverged(_ what: String, why: String = "", help: String = "") -> RetortError {
        RetortError(exit: .diverged, what: what, why: why, help: help)
    }
}
