import RetortKernels
import RetortRuntime

/// A device and the kernels it runs, as a place where ops are checked.
public struct OpTarget: Sendable {
    public let device: Device

    public init(_ device: Device) { self.device = device }

    /// `cpu`, or the kernel family: what results are listed under.
    public var name: String {
        switch device.compute {
        case .cpu: "cpu"
        case .openCL(let d): d.family.rawValue
        case .planned: "planned"
        }
    }

    /// The largest samples that finish in reasonable time: GPU kernels crawl on a CPU.
    var largest: SampleSize {
        if case .openCL(let d) = device.compute, d.family != .vector, d.info.type == .cpu { return .small }
        return .large
    }

    /// How to run one check again, here and alone.
    func command(_ verb: String, op: String, sample: String, seed: UInt64) -> String {
        var prefix = ""
        if case .openCL(let d) = device.compute { prefix = "RETORT_FAMILY=\(d.family) " }
        return prefix + "retort test-ops \(verb) --device \(device) --op \(op) --sample '\(sample)'"
            + (seed == 0 ? "" : " --seed \(seed)")
    }

    /// The device a user names; without a name the CPU backend and every kernel family of the first OpenCL device.
    /// - Throws: `KernelError` of kind `device` when a named device is not there.
    public static func choose(_ name: String?) throws -> [OpTarget] {
        if let name { return [OpTarget(try Device.select(name))] }
        var targets = [OpTarget(try Device.select("cpu"))]
        if let first = (try? OpenCLDeviceInfo.all())?.first {
            for family in KernelFamily.candidates(for: first) {
                targets.append(OpTarget(Device(.openCL(try OpenCLDevice(first, family: family)))))
            }
        }
        return targets
    }
}
