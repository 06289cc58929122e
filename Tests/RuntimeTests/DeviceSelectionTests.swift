import Foundation
import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

@Suite("Device selection")
struct DeviceSelectionTests {
    private func devices() throws -> [OpenCLDeviceInfo]? {
        TestBackend.available.contains(.vector) ? try OpenCLDeviceInfo.all() : nil
    }

    @Test("cpu by its name")
    func cpu() throws {
        #expect(try Device.select("cpu").description == "cpu")
        #expect(try Device.select("cpu").summary.contains("OpenBLAS"))
    }

    @Test("OpenCL by index, by part of a name in any case, by platform")
    func byName() throws {
        guard let devices = try devices() else { return }
        #expect(try Device.find("opencl:0", in: devices) == devices[0])
        #expect(try Device.select("opencl:0").description == "opencl:0")
        guard devices.count == 1 else { return }
        #expect(try Device.find(devices[0].name, in: devices) == devices[0])
        #expect(try Device.find(String(devices[0].name.prefix(5)).uppercased(), in: devices) == devices[0])
        #expect(try Device.find(devices[0].platform.lowercased(), in: devices) == devices[0])
    }

    @Test("by type: the first of that type")
    func byType() throws {
        guard let devices = try devices() else { return }
        if let gpu = devices.first(where: { $0.type == .gpu }) {
            #expect(try Device.find("gpu", in: devices) == gpu)
            #expect(try Device.find("GPU", in: devices) == gpu)
        } else if !devices.contains(where: { "\($0.platform) \($0.name)".lowercased().contains("gpu") }) {
            let error = thrown(KernelError.self) { _ = try Device.find("gpu", in: devices) }
            #expect(error?.kind == .device)
        }
    }

    @Test(
        "what is not there is an error that lists what is",
        arguments: ["opencl:99", "opencl:-1", "opencl:", "opencl:x", "voodoo 2"])
    func missing(_ name: String) throws {
        guard let devices = try devices() else { return }
        let error = thrown(KernelError.self) { _ = try Device.find(name, in: devices) }
        #expect(error?.kind == .device)
        #expect(error?.message.contains(name) == true)
        #expect(error?.help.contains("cpu, opencl:0 (\(devices[0].name))") == true, "\(error?.help ?? "")")
    }

    @Test("a name that fits two devices is refused, with the list")
    func ambiguous() throws {
        guard let devices = try devices() else { return }
        let error = thrown(KernelError.self) { _ = try Device.find(devices[0].name, in: devices + devices) }
        #expect(error?.kind == .device)
        #expect(error?.message.contains("2 devices") == true)
        #expect(error?.help.contains("opencl:0") == true)
    }

    @Test("an empty name is an error, not the first device")
    func empty() throws {
        guard let devices = try devices() else { return }
        #expect(thrown(KernelError.self) { _ = try Device.find("", in: devices) }?.kind == .device)
    }
}
