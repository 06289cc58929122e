import Foundation
import RetortKernels
public import RetortRuntime
public import Testing

/// The ways this machine can run an op: the CPU backend, and each kernel family on the first OpenCL device.
public enum TestBackend: String, CaseIterable, CustomTestStringConvertible, Sendable {
    case cpu
    /// The family a CPU device runs.
    case vector
    /// The GPU family; on a CPU device it is slow, so give it small shapes.
    case simt

    public var testDescription: String { rawValue }

    /// What can be tested here. Without OpenCL only `cpu`, unless RETORT_REQUIRE_OPENCL=1 makes its absence a failure.
    public static let available: [TestBackend] = {
        if (try? OpenCLDeviceInfo.all()) != nil { return allCases }
        return ProcessInfo.processInfo.environment["RETORT_REQUIRE_OPENCL"] == "1" ? allCases : [.cpu]
    }()

    public static let hasOpenCL = available.contains(.vector)

    /// The two that train at full speed here.
    public static let fast: [TestBackend] = available.filter { $0 != .simt }

    /// The device; opened once for the process, because building programs is what takes time.
    public func device() throws -> Device {
        switch self {
        case .cpu: try Self.cpuDevice.get()
        case .vector: try Self.vectorDevice.get()
        case .simt: try Self.simtDevice.get()
        }
    }

    /// A device of its own, with its own memory: for tests that count bytes while others run.
    public func ownDevice() throws -> Device {
        switch self {
        case .cpu: Device(.cpu(try CPUDevice()))
        case .vector: try Self.openCL(.vector)
        case .simt: try Self.openCL(.simt)
        }
    }

    private static let cpuDevice = Result { Device(.cpu(try CPUDevice())) }
    private static let vectorDevice = Result { try openCL(.vector) }
    private static let simtDevice = Result { try openCL(.simt) }

    private static func openCL(_ family: KernelFamily) throws -> Device {
        Device(.openCL(try OpenCLDevice(try OpenCLDeviceInfo.all()[0], family: family)))
    }
}
