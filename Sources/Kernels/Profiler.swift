import Synchronization

/// Collects time per op when `--profile` asks for it; absent otherwise, because a profiling queue slows small kernels.
public final class Profiler: Sendable {
    public struct Row: Sendable {
        public var name: String
        public var family: String
        public var calls = 0
        public var launches = 0
        /// Time on the device (OpenCL: sum of kernel events; CPU: the op's wall time).
        public var device: Duration = .zero
        /// Time the host spent to set arguments and enqueue, without waiting.
        public var host: Duration = .zero
        public var cost = Cost()
    }
    private struct State {
        var rows: [String: Row] = [:]
        /// The launches not yet attributed to an op.
        var pending: [(family: String, device: Duration, host: Duration)] = []
        var launches = 0
    }
    private let state = Mutex(State())

    public init() {}

    /// Launches seen so far.
    var launches: Int { state.withLock { $0.launches } }

    /// One kernel ran on the device; `host` is what enqueueing it took.
    func launched(family: String, device: Duration, host: Duration) {
        state.withLock {
            $0.launches += 1
            $0.pending.append((family, device, host))
        }
    }

    /// The launches since `mark` belong to this op.
    func attribute(_ name: String, since mark: Int, cost: Cost) {
        state.withLock { state in
            let count = state.launches - mark
            guard count > 0 else { return }
            let own = state.pending.suffix(count)
            var row = state.rows[name] ?? Row(name: name, family: own.last!.family)
            row.calls += 1
            row.launches += count
            for launch in own {
                row.device += launch.device
                row.host += launch.host
            }
            row.cost = row.cost + cost
            state.rows[name] = row
            state.pending.removeLast(count)
        }
    }

    /// An op of the CPU backend ran.
    func record(_ name: String, family: String, cost: Cost, device: Duration) {
        state.withLock { state in
            var row = state.rows[name] ?? Row(name: name, family: family)
            row.calls += 1
            row.device += device
            row.cost = row.cost + cost
            state.rows[name] = row
        }
    }

    /// Rows, the costliest first.
    public var rows: [Row] {
        state.withLock { $0.rows.values.sorted { ($0.device, $1.name) > ($1.device, $0.name) } }
    }
}
