import Foundation
import Synchronization

/// A device without bytes: running a step on it records every allocation and cost.
///
/// Made after another device it also asks for the workspace that ops take there, by running their implementations up to the point where
/// memory would be touched: what it counts is then what that device will have to hold, byte for byte.
public final class PlannedDevice: Sendable {
    /// Whose implementations of ops are gone through.
    private enum Model {
        /// Nobody's: operands alone are counted.
        case none
        case cpu(CPUDevice)
        case openCL(OpenCLDevice)
    }

    /// An operation as it would run.
    public struct Operation: Sendable {
        public let name: String
        public let cost: Cost
        /// How often: what was gone through once may stand for more of its kind.
        public let times: Double
    }

    private struct Log {
        var operations: [Operation] = []
        var times = 1.0
    }

    public let arena: Arena
    private let model: Model
    private let log = Mutex(Log())
    private let pieces: LargestPiece

    /// A device on which ops need no workspace.
    public init() {
        let pieces = LargestPiece()
        self.pieces = pieces
        arena = Arena { bytes in
            pieces.see(bytes)
            return PlannedPages()
        }
        model = .none
    }

    /// One that has no bytes and is else like another device; nothing is allocated there.
    public init(like device: ComputeDevice) {
        let pieces = LargestPiece()
        self.pieces = pieces
        switch device {
        case .cpu(let cpu):
            let arena = Arena { bytes in
                pieces.see(bytes)
                return HostChunk(without: bytes)
            }
            self.arena = arena
            model = .cpu(CPUDevice(rehearsing: cpu, in: arena))
        case .openCL(let openCL):
            let arena = Arena { bytes in
                pieces.see(bytes)
                return PlannedBuffer()
            }
            self.arena = arena
            model = .openCL(OpenCLDevice(rehearsing: openCL, in: arena))
        case .planned(let plan):
            arena = plan.arena
            model = plan.model
        }
    }

    /// Bytes of the largest piece that was asked of the system at once.
    public var largestPiece: Int { pieces.bytes }

    func record(_ name: String, _ cost: Cost) {
        log.withLock { $0.operations.append(Operation(name: name, cost: cost, times: $0.times)) }
    }

    /// Asks for the workspace of an op.
    func rehearse<O: Op>(_ op: O, _ operands: O.Operands) throws {
        switch model {
        case .none: break
        case .cpu(let device): try op.cpu(operands, on: device)
        case .openCL(let device): try op.openCL(operands, on: device)
        }
    }

    /// `ComputeDevice.fewRows` of the device whose ops are gone through.
    var fewRows: Int {
        switch model {
        case .none: FewRows.most
        case .cpu(let device): ComputeDevice.cpu(device).fewRows
        case .openCL(let device): ComputeDevice.openCL(device).fewRows
        }
    }

    /// Every op in the order it would run.
    public var operations: [Operation] { log.withLock { $0.operations } }

    /// How many of them there are.
    public var operationCount: Int { log.withLock { $0.operations.count } }

    /// What the operations from a number on cost together.
    public func cost(since first: Int) -> Cost {
        operations.dropFirst(first).reduce(Cost()) { sum, operation in
            sum + Cost(flops: operation.cost.flops * operation.times, bytes: operation.cost.bytes * operation.times)
        }
    }

    /// Runs `body`, whose operations count so many times each.
    public func counting<T>(times: Double, _ body: () throws -> T) rethrows -> T {
        let before = log.withLock { log in
            defer { log.times *= times }
            return log.times
        }
        defer { log.withLock { $0.times = before } }
        return try body()
    }
}

/// Bytes that nobody has.
private final class PlannedPages: Chunk {}

/// An OpenCL buffer that nobody made.
final class PlannedBuffer: Chunk {}

/// The largest number of bytes seen.
private final class LargestPiece: Sendable {
    private let value = Mutex(0)
    func see(_ bytes: Int) { value.withLock { $0 = max($0, bytes) } }
    var bytes: Int { value.withLock { $0 } }
}

extension ComputeDevice {
    /// The device without bytes; nil for those that have some.
    public var plan: PlannedDevice? { if case .planned(let plan) = self { plan } else { nil } }

    /// Steps of a kind that a device without bytes goes through: the first one makes what later ones find.
    private static let rehearsedSteps = 3

    /// Calls `body` for each of so many steps of one kind. On a device without bytes the first few stand for all of them.
    public func forEachStep(_ count: Int, _ body: (Int) throws -> Void) rethrows {
        let few = min(count, Self.rehearsedSteps)
        guard let plan, few < count else {
            for step in 0..<count { try body(step) }
            return
        }
        try plan.counting(times: Double(count) / Double(few)) { for step in 0..<few { try body(step) } }
    }
}

extension ComputeDevice {
    /// Runs `body`. On a device without bytes its operations count so many times each.
    public func counting<T>(times: Double, _ body: () throws -> T) rethrows -> T {
        guard let plan else { return try body() }
        return try plan.counting(times: times, body)
    }

    /// Bytes of memory that the device has, and those that it gives in one piece; nil without a limit.
    public var capacity: (total: Int, piece: Int?) {
        switch self {
        case .cpu: (Int(clamping: ProcessInfo.processInfo.physicalMemory), nil)
        case .openCL(let device): (device.info.globalMemory, device.info.largestAllocation)
        case .planned: (.max, nil)
        }
    }
}
