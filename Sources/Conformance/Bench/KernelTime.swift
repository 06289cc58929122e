import RetortKernels
import RetortRuntime

/// What the kernels of a case take by themselves, as `--profile` tells it: on the CPU the wall time of each op, on OpenCL the time between
/// the begin and the end of its kernels.
enum KernelTime {
    /// Seconds of one call.
    /// - Parameters:
    ///   - name: the device as `--device` has it; opened again, for a queue that is profiled waits for every kernel. The wall time that this is
    ///     a share of is therefore another run's.
    ///   - runs: beside the first, which makes what stays.
    static func seconds(_ kernel: BenchCase, deviceName name: String?, runs: Int = 3) throws -> Double {
        let profiler = Profiler()
        let device = try Device.select(name, profiler: profiler)
        var random = BenchRandom()
        let set = try kernel.make(device, &random)
        func total() -> Double { profiler.rows.reduce(0.0) { $0 + $1.device.seconds } }
        try set.run()
        let before = total()
        for _ in 0..<runs { try set.run() }
        return (total() - before) / Double(runs * set.calls)
    }
}
