import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport

/// A device that goldens run on.
public struct GoldenBackend: Sendable {
    public let device: Device
    /// Kernels that `RETORT_FAMILY` forced; part of the command that repeats a failure.
    let forcedFamily: String?

    public init(_ device: Device) {
        self.device = device
        forcedFamily = ProcessInfo.processInfo.environment["RETORT_FAMILY"].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// What `--device` calls it.
    public var name: String { device.description }

    /// The devices named; without names those of `RETORT_DEVICE`, else `cpu` and the first OpenCL device.
    /// - `note`: gets a line when there is no OpenCL device, so that its absence is seen.
    /// - Throws: `KernelError` of kind `device` (exit 69) when a named device is not there, or when there is no OpenCL
    ///   device and `RETORT_REQUIRE_OPENCL` is 1.
    public static func open(_ names: [String], note: (String) -> Void) throws -> [GoldenBackend] {
        let environment = ProcessInfo.processInfo.environment
        if !names.isEmpty { return try names.map { GoldenBackend(try Device.select($0)) } }
        if environment["RETORT_DEVICE"].map({ !$0.isEmpty }) ?? false { return [GoldenBackend(try Device.select())] }

        var backends = [GoldenBackend(try Device.select("cpu"))]
        do {
            backends.append(GoldenBackend(try Device.select("opencl:0")))
        } catch let error as KernelError where environment["RETORT_REQUIRE_OPENCL"] != "1" {
            note("no OpenCL device, only cpu is checked: \(error.message)")
        }
        return backends
    }
}
