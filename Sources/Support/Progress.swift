import Synchronization

/// Progress on stderr: on a terminal, one status line redrawn at most ten times a second, under the permanent lines;
/// elsewhere (file, pipe, CI, `TERM=dumb`) permanent lines only, without carriage returns or escapes. `quiet` silences
/// both. stdout stays free for results.
public final class Progress: Sendable {
    private struct State {
        /// When the status line was drawn last; nil before the first time.
        var lastDrawn: ContinuousClock.Instant?
        /// What stands on the status line now; empty when nothing does.
        var shown = ""
    }

    private let output: TextOutput
    private let terminal: Terminal
    private let quiet: Bool
    private let now: @Sendable () -> ContinuousClock.Instant
    private let state = Mutex(State())

    private static let interval = Duration.milliseconds(100)
    private static let clearLine = "\r\u{1B}[K"

    /// - Parameter quiet: `--quiet`: nothing is written.
    public convenience init(quiet: Bool = false) {
        self.init(output: .standardError, terminal: Terminal(descriptor: 2), quiet: quiet)
    }

    init(
        output: TextOutput, terminal: Terminal, quiet: Bool,
        now: @escaping @Sendable () -> ContinuousClock.Instant = { ContinuousClock.now }
    ) {
        self.output = output
        self.terminal = terminal
        self.quiet = quiet
        self.now = now
    }

    /// Redraws the status line with `text`, unless it was drawn less than 0.1 s ago. Cheap to call every step: `text`
    /// is only computed when it will be shown.
    public func status(_ text: @autoclosure () -> String) {
        guard !quiet, terminal.isInteractive else { return }
        state.withLock { state in
            let instant = now()
            if let last = state.lastDrawn, last.duration(to: instant) < Self.interval { return }
            state.lastDrawn = instant
            // A line as wide as the terminal would wrap and could not be redrawn.
            state.shown = String(text().displayable.prefix(max(terminal.width - 1, 1)))
            output.write(Self.clearLine + state.shown)
        }
    }

    /// Writes a line that stays; the status line, if any, moves below it.
    public func line(_ text: String) {
        guard !quiet else { return }
        state.withLock { state in
            if state.shown.isEmpty {
                output.write(text + "\n")
            } else {
                output.write(Self.clearLine + text + "\n" + state.shown)
            }
        }
    }

    /// Writes a line that stays about what the status line was about: that one goes.
    public func end(_ text: String) {
        finish()
        line(text)
    }

    /// Removes the status line. Call it before the program prints results or ends.
    public func finish() {
        state.withLock { state in
            guard !state.shown.isEmpty else { return }
            state.shown = ""
            state.lastDrawn = nil
            output.write(Self.clearLine)
        }
    }
}
