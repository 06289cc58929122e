import RetortKernels
import RetortRuntime

/// Whose memory a child process tells.
enum ProcessMemory: Sendable {
    /// The GPU's where the device is one, else the process's (scripts/pytorch/device.py counts the same).
    case device
    /// The process's, whatever the device: what a second copy of a file would show in.
    case resident
}

/// What a child process needs beyond what it held when this was made.
struct ExtraMemory {
    private let device: Device
    private let before: (device: Int, resident: Int)

    init(_ device: Device) {
        self.device = device
        device.compute.resetPeakMemory()
        before = (device.compute.memory.live, ResidentMemory.now)
    }

    /// Bytes at the worst moment since then.
    func bytes(_ memory: ProcessMemory) -> Int {
        if memory == .device, device.isGPU { return device.compute.memory.peak - before.device }
        return ResidentMemory.peak - before.resident
    }
}
