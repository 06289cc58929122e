import Glibc
import Synchronization

/// The number of the first SIGINT or SIGTERM, 0 before. Outside the type: a signal handler may only touch this.
private let firstSignal = Atomic<Int32>(0)

/// Stopping politely: the first SIGINT or SIGTERM only sets a flag that the training loop polls after each step; the
/// second ends the process at once with 130 or 143.
public enum StopSignal {
    /// Installs the handlers and ignores SIGPIPE and SIGXFSZ. Call once, first thing in the program.
    public static func install() {
        ignoreBrokenPipe()
        // A file beyond `ulimit -f` is an error of one write, like a full disk.
        signal(SIGXFSZ, SIG_IGN)
        // Initialises the global before a handler can run.
        firstSignal.store(0, ordering: .relaxed)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { number in
            let isFirst = firstSignal.compareExchange(
                expected: 0, desired: number, ordering: .sequentiallyConsistent
            ).exchanged
            if !isFirst { _exit(128 + number) }
        }
        sigemptyset(&action.sa_mask)
        // Calls inside drivers and libraries go on after the handler instead of failing with EINTR.
        action.sa_flags = SA_RESTART
        sigaction(SIGINT, &action, nil)
        sigaction(SIGTERM, &action, nil)
        // A process inherits the mask of the thread that started it; worker threads of a build server often block everything.
        var wanted = sigset_t()
        sigemptyset(&wanted)
        sigaddset(&wanted, SIGINT)
        sigaddset(&wanted, SIGTERM)
        pthread_sigmask(SIG_UNBLOCK, &wanted, nil)
    }

    /// Ignores SIGPIPE, so that a closed stdout is an error of one write and not the end of the run.
    public static func ignoreBrokenPipe() {
        signal(SIGPIPE, SIG_IGN)
    }

    /// True after the first SIGINT or SIGTERM: end the step, save, exit 75.
    public static var isRequested: Bool {
        firstSignal.load(ordering: .relaxed) != 0
    }

    /// "SIGINT" or "SIGTERM" after the first one, else nil.
    public static var name: String? {
        switch firstSignal.load(ordering: .relaxed) {
        case 0: nil
        case SIGINT: "SIGINT"
        case SIGTERM: "SIGTERM"
        case let number: "signal \(number)"
        }
    }
}
