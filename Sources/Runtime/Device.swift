import Foundation
import RetortKernels

/// What a user names with `--device`: `cpu`, `opencl:<index>`, or part of an OpenCL device's name.
public struct Device: Sendable, CustomStringConvertible {
    public let compute: ComputeDevice
    /// What the data cost trainings on it; nil unless `--profile` asked for it.
    public let dataTimes: DataTimes?

    public init(_ compute: ComputeDevice, dataTimes: DataTimes? = nil) {
        self.compute = compute
        self.dataTimes = dataTimes
    }

    private init(_ compute: ComputeDevice, profiled profiler: Profiler?) {
        self.init(compute, dataTimes: profiler.map { _ in DataTimes() })
    }

    /// The device a user asked for.
    ///
    /// - Parameters:
    ///   - name: from `--device`; nil falls back to `RETORT_DEVICE`, then to the best OpenCL GPU, then to `cpu`. An OpenCL CPU
    ///     device (PoCL) is never chosen by default.
    ///   - profiler: collects times when `--profile` asks for them.
    /// - Throws: `KernelError` of kind `device` when a named device is not there: nothing is silently replaced.
    public static func select(_ name: String? = nil, profiler: Profiler? = nil) throws -> Device {
        if let name { return try open(name, profiler) }
        guard let asked = ProcessInfo.processInfo.environment["RETORT_DEVICE"], !asked.isEmpty else {
            return try best(profiler)
        }
        do {
            return try open(asked, profiler)
        } catch let error as KernelError where error.kind == .device {
            // Nobody who reads the message need have written the word.
            throw KernelError(error.kind, "RETORT_DEVICE is '\(asked)': \(error.message)", help: error.help)
        }
    }

    private static func open(_ asked: String, _ profiler: Profiler?) throws -> Device {
        if asked == "cpu" { return Device(.cpu(try CPUDevice(profiler: profiler)), profiled: profiler) }

        let devices = try OpenCLDeviceInfo.all()
        return Device(.openCL(try OpenCLDevice(try find(asked, in: devices), profiler: profiler)), profiled: profiler)
    }

    static func find(_ name: String, in devices: [OpenCLDeviceInfo]) throws -> OpenCLDeviceInfo {
        let listed = (["cpu"] + devices.map { "opencl:\($0.index) (\($0.name))" }).joined(separator: ", ")
        let help = "devices here: \(listed)"
        if name.hasPrefix("opencl:") {
            guard let index = Int(name.dropFirst("opencl:".count)), devices.indices.contains(index) else {
                throw KernelError(.device, "there is no device \(name)", help: help)
            }
            return devices[index]
        }
        if let type = OpenCLDeviceInfo.DeviceType(rawValue: name.lowercased()), type != .cpu {
            if let device = devices.first(where: { $0.type == type }) { return device }
        }
        let matching = devices.filter { "\($0.platform) \($0.name)".lowercased().contains(name.lowercased()) }
        guard let device = matching.first else {
            throw KernelError(.device, "no device is called '\(name)'", help: help)
        }
        guard matching.count == 1 else {
            throw KernelError(.device, "\(matching.count) devices are called \(name)", help: help)
        }
        return device
    }

    private static func best(_ profiler: Profiler?) throws -> Device {
        let gpus = ((try? OpenCLDeviceInfo.all()) ?? []).filter { $0.type == .gpu }
        // The largest memory marks the discrete card where an integrated one is listed beside it.
        if let gpu = gpus.max(by: { $0.globalMemory < $1.globalMemory }) {
            return Device(.openCL(try OpenCLDevice(gpu, profiler: profiler)), profiled: profiler)
        }
        return Device(.cpu(try CPUDevice(profiler: profiler)), profiled: profiler)
    }

    /// Whether it is a GPU: not `cpu`, and not an OpenCL device that computes on the CPU.
    public var isGPU: Bool {
        if case .openCL(let d) = compute { d.info.type == .gpu } else { false }
    }

    /// `cpu`, `opencl:0`.
    public var description: String { compute.name }

    /// The device in words: hardware, kernels, driver.
    public var summary: String {
        switch compute {
        case .cpu(let d): "cpu (row kernels \(d.rowLevel), OpenBLAS \(d.blasCore), \(d.threads) threads)"
        case .openCL(let d): "opencl:\(d.index) (\(d.info.name), \(d.family) kernels, driver \(d.info.driver))"
        case .planned: "planned"
        }
    }
}
