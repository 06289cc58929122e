import Glibc

/// What a descriptor can show: whether a person is watching, whether colour is wanted, how wide it is.
public struct Terminal: Sendable {
    /// True when a status line may be redrawn: a terminal, `TERM` is not `dumb`, not in CI.
    public let isInteractive: Bool
    /// True when colour escapes may be written: interactive, and `NO_COLOR` is not set.
    public let hasColor: Bool
    /// Columns; 80 when unknown.
    public let width: Int

    /// Looks at a descriptor (1 = stdout, 2 = stderr) and the environment.
    public init(descriptor: Int32) {
        self.init(
            isTerminal: isatty(descriptor) == 1, windowWidth: Self.windowWidth(descriptor),
            environment: { name in getenv(name).map { String(cString: $0) } })
    }

    /// The rules, apart from the system: `environment` returns a variable's value or nil.
    init(isTerminal: Bool, windowWidth: Int?, environment: (String) -> String?) {
        func isSet(_ name: String) -> Bool { !(environment(name) ?? "").isEmpty }
        let isContinuousIntegration = isSet("CI") && environment("CI") != "false" && environment("CI") != "0"
        isInteractive = isTerminal && environment("TERM") != "dumb" && !isContinuousIntegration
        hasColor = isInteractive && !isSet("NO_COLOR")
        let columns = environment("COLUMNS").flatMap { Int($0) }
        let known = [windowWidth, columns].compactMap { $0 }.first { $0 > 0 && $0 <= 10_000 }
        width = known ?? 80
    }

    private static func windowWidth(_ descriptor: Int32) -> Int? {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
        return Int(size.ws_col)
    }
}
