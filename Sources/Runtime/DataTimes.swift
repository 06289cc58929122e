import Synchronization

/// What the data cost a training in wall time; kept when `--profile` asks for it.
public final class DataTimes: Sendable {
    public enum Part: Sendable {
        /// A pass over the training data, from its beginning to its end: the whole that the others are shares of.
        case training
        /// The training thread waits for batches that are made beside it.
        case waiting
        /// The training thread makes batches itself: it gathers, changes, pads and brings them to the device.
        case preparing
        /// Decoding, and changes that the host makes, on the threads that make batches ahead.
        case loading
    }

    /// Sums over all trainings.
    public struct Sums: Sendable, Equatable {
        public var training = Duration.zero
        public var waiting = Duration.zero
        public var preparing = Duration.zero
        public var loading = Duration.zero

        public init() {}
    }

    private struct State {
        var sums = Sums()
        /// Passes in progress: measuring a model between them is no training.
        var passes = 0
    }
    private let state = Mutex(State())

    public init() {}

    public var sums: Sums { state.withLock { $0.sums } }

    /// Does some work and counts its time; outside a pass over the training data it only does it.
    /// - Throws: what `work` throws; its time counts all the same.
    public func counting<T>(_ part: Part, _ work: () throws -> T) rethrows -> T {
        if part == .training { state.withLock { $0.passes += 1 } }
        let start = ContinuousClock.now
        defer {
            let time = ContinuousClock.now - start
            state.withLock { state in
                if part == .training {
                    state.passes -= 1
                    state.sums.training += time
                } else if state.passes > 0 {
                    state.sums[part] += time
                }
            }
        }
        return try work()
    }
}

extension DataTimes.Sums {
    fileprivate subscript(part: DataTimes.Part) -> Duration {
        get {
            switch part {
            case .training: training
            case .waiting: waiting
            case .preparing: preparing
            case .loading: loading
            }
        }
        set {
            switch part {
            case .training: training = newValue
            case .waiting: waiting = newValue
            case .preparing: preparing = newValue
            case .loading: loading = newValue
            }
        }
    }
}

extension DataTimes? {
    /// Where nobody wants to know, only the work is done.
    public func counting<T>(_ part: DataTimes.Part, _ work: () throws -> T) rethrows -> T {
        guard let times = self else { return try work() }
        return try times.counting(part, work)
    }
}
