import Glibc
import RetortKernels
import RetortRuntime

/// A device without bytes on which a training is gone through: what it takes of the device asked for, and what it costs there.
struct Rehearsal {
    let device: Device
    private let plan: PlannedDevice
    private let rates: DeviceRates

    /// Work that was gone through.
    struct Work {
        var cost = Cost()
        var seconds = 0.0

        static func * (work: Work, factor: Double) -> Work {
            Work(
                cost: Cost(flops: work.cost.flops * factor, bytes: work.cost.bytes * factor),
                seconds: work.seconds * factor)
        }
        static func + (a: Work, b: Work) -> Work { Work(cost: a.cost + b.cost, seconds: a.seconds + b.seconds) }
    }

    /// - Parameter real: the device whose memory is planned.
    init(of real: Device, _ rates: DeviceRates) {
        plan = PlannedDevice(like: real.compute)
        device = Device(.planned(plan))
        self.rates = rates
    }

    var memory: MemoryReport { device.compute.memory }
    /// Bytes of the largest piece asked for at once.
    var largestPiece: Int { plan.largestPiece }

    /// What `body` costs: each of its operations as often as it stands for. What the host takes for one is measured on the way.
    func work(_ body: () throws -> Void) rethrows -> Work {
        let first = plan.operationCount
        let start = Self.processorTime
        try body()
        let host = Self.processorTime - start
        let operations = plan.operations.dropFirst(first)
        let calls = operations.reduce(0) { $0 + $1.times }
        let device = operations.reduce(0) { $0 + rates.seconds($1) }
        return Work(
            cost: plan.cost(since: first),
            seconds: rates.together(device: device, host: host * calls / Double(max(1, operations.count))))
    }

    /// Seconds that this thread has worked: what others do on the processor meanwhile does not count.
    private static var processorTime: Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
