import Glibc
import Synchronization

/// Text to stdout or stderr. It never ends a run: when the reader is gone (`| head`), what follows is dropped; when the
/// disk behind a redirection is full, the failure is kept for `check`, which the program asks before it exits.
///
/// Needs `StopSignal.ignoreBrokenPipe()` (or `StopSignal.install()`) to have been called first.
public final class TextOutput: Sendable {
    public static let standardOutput = TextOutput(descriptor: STDOUT_FILENO, name: "standard output")
    public static let standardError = TextOutput(descriptor: STDERR_FILENO, name: "standard error")

    private enum State {
        case open
        /// The reader is gone: not an error.
        case closed
        /// A positive errno.
        case failed(Int32)
    }

    private let descriptor: Int32
    private let name: String
    private let calls: FileCalls
    private let state = Mutex(State.open)

    /// - Parameters:
    ///   - descriptor: stays open; the caller owns it.
    ///   - name: what an error calls it.
    public convenience init(descriptor: Int32, name: String) {
        self.init(descriptor: descriptor, name: name, calls: .real)
    }

    init(descriptor: Int32, name: String, calls: FileCalls) {
        self.descriptor = descriptor
        self.name = name
        self.calls = calls
    }

    /// Writes `text` as it is, unbuffered. Does nothing once the reader is gone or a write failed.
    public func write(_ text: String) {
        let bytes = Array(text.utf8)
        state.withLock { state in
            guard case .open = state else { return }
            switch bytes.withUnsafeBytes({ writeAll($0) }) {
            case 0: break
            case EPIPE: state = .closed
            case let code: state = .failed(code)
            }
        }
    }

    /// Writes `text` and a newline.
    public func writeLine(_ text: String = "") {
        write(text + "\n")
    }

    /// True when the reader is gone: work done only to be printed can stop.
    public var isClosed: Bool {
        state.withLock { state in
            if case .closed = state { true } else { false }
        }
    }

    /// Reports a write that failed for another reason than a reader that went away.
    /// - Throws: exit 74.
    public func check() throws(RetortError) {
        let code = state.withLock { state -> Int32? in
            if case .failed(let code) = state { code } else { nil }
        }
        guard let code else { return }
        throw .io("cannot write to \(name)", why: SystemErrors.words(code))
    }

    /// As `FileCalls.writeAll`, but waits when another program has made the shared terminal or pipe non-blocking.
    private func writeAll(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        var rest = bytes
        while !rest.isEmpty {
            let written = calls.write(descriptor, rest)
            if written == -Int(EAGAIN) {
                var waiting = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                _ = poll(&waiting, 1, 1000)
                continue
            }
            guard written >= 0 else { return Int32(truncatingIfNeeded: -written) }
            guard written > 0 else { return EIO }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
        }
        return 0
    }
}
