import RetortKernels
import RetortRuntime

/// What a child process needs beyond what it held when this was made: memory of the GPU, else of the process (scripts/pytorch/device.py
/// counts the same).
struct ExtraMemory {
    private let device: Device
    private let before: Int

    init(_ device: Device) {
        self.device = device
        device.compute.resetPeakMemory()
        before = device.isGPU ? device.compute.memory.live : ResidentMemory.now
    }

    /// Bytes at the worst moment since then.
    var bytes: Int { (device.isGPU ? device.compute.memory.peak : ResidentMemory.peak) - before }
}
