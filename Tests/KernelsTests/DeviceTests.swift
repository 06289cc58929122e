import Foundation
import RetortRuntime
import TestSupport
import Testing

@testable import RetortKernels

@Suite("Devices refuse what they cannot do")
struct DeviceErrorTests {
    @Test(
        "a kernel that does not build names its file, the options and the compiler's words",
        .enabled(if: TestBackend.hasOpenCL))
    func brokenKernel() throws {
        guard case .openCL(let device) = try TestBackend.vector.device().compute else { return }
        let launch = Launch(
            "softmax.cl", "softmax_forward", options: "-Dtemperature=.", [], global: (1, 1, 1), local: (1, 1, 1))
        let error = try #require(throws: KernelError.self) { try device.enqueue(launch) }
        #expect(error.kind == .build)
        #expect(error.message.contains("softmax.cl") && error.message.contains("-Dtemperature=."))
        #expect(error.message.contains("error: "), "\(error.message)")
        #expect(!error.help.isEmpty)
    }

    @Test("a kernel that is not in its file", .enabled(if: TestBackend.hasOpenCL))
    func missingKernel() throws {
        guard case .openCL(let device) = try TestBackend.vector.device().compute else { return }
        let launch = Launch("softmax.cl", "no_such_kernel", [], global: (1, 1, 1), local: (1, 1, 1))
        let error = try #require(throws: KernelError.self) { try device.enqueue(launch) }
        #expect(error.kind == .build && error.message.contains("no_such_kernel"))
    }

    @Test("more memory than there is", arguments: TestBackend.available)
    func memory(backend: TestBackend) throws {
        // Of its own: other tests allocate on theirs meanwhile.
        let device = try backend.ownDevice().compute
        let before = device.memory
        let error = try #require(throws: KernelError.self) { _ = try device.allocate(1 << 45, for: .data) }
        #expect(error.kind == .memory && !error.help.isEmpty, "\(error)")
        let overflow = try #require(throws: KernelError.self) { _ = try device.allocate(Int.max / 2, for: .data) }
        #expect(overflow.kind == .memory)
        #expect(try #require(throws: KernelError.self) { _ = try device.allocate(-1, for: .data) }.kind == .memory)
        #expect(device.memory.live <= before.live)
    }

    @Test("views of two devices in one op", .enabled(if: TestBackend.hasOpenCL))
    func mixedDevices() throws {
        let (cpu, other) = (try TestBackend.cpu.device().compute, try TestBackend.vector.device().compute)
        let here = try cpu.view([1, 2, 3] as [Float], [3])
        let there = try other.view([1, 2, 3] as [Float], [3])
        for (device, name) in [(cpu, "cpu"), (other, "OpenCL")] {
            let error = try #require(throws: KernelError.self) {
                try run(Binary(.add), .init(a: here, b: there, y: .write(device.empty([3]))), on: device)
            }
            #expect(error.kind == .operands && error.message.contains("another device") && error.message.contains(name))
        }
        #expect(throws: KernelError.self) { _ = try cpu.read(there) as [Float] }
        #expect(throws: KernelError.self) { try other.write([1, 2, 3] as [Float], to: here) }
    }

    @Test("operands that do not fit", arguments: TestBackend.available)
    func operands(backend: TestBackend) throws {
        let device = try backend.device().compute
        let (x, y) = (try device.empty([3, 4]), try device.empty([4, 3]))
        let ints = try device.empty([3, 4], .i32)
        func message(_ body: () throws -> Void) throws -> String {
            let error = try #require(throws: KernelError.self, performing: body)
            #expect(error.kind == .operands)
            return error.message
        }
        #expect(try message { try run(Unary(.exp), .init(x: x, y: .write(y)), on: device) }.contains("[exp]"))
        #expect(try message { try run(Unary(.exp), .init(x: ints, y: .write(x)), on: device) }.contains("x is i32"))
        #expect(
            try message { try run(Matmul(), .init(a: x, b: x, c: .write(y)), on: device) }.contains("does not give c"))
        #expect(
            try message { try run(Softmax(), .init(x: x, y: .accumulate(x)), on: device) }.contains(
                "cannot be added to"))
        #expect(
            try message { try run(Softmax(temperature: 0), .init(x: x, y: .write(x)), on: device) }.contains(
                "temperature"))
        #expect(
            try message { try run(Binary(.add), .init(a: x, b: y, y: .write(x)), on: device) }.contains("broadcast"))
        #expect(
            try message { try run(Copy(), .init(x: x, y: .write(y.transposed.slice(0..<2))), on: device) }.contains(
                "differ"))
    }
}

@Suite("Planned device")
struct PlannedDeviceTests {
    @Test("records ops and bytes, and takes no memory")
    func records() throws {
        let planned = PlannedDevice()
        let device = ComputeDevice.planned(planned)
        // Far more than this machine has.
        let a = try device.empty([1 << 20, 1 << 20], for: .activations)
        let b = try device.empty([1 << 20, 1 << 20], for: .parameters)
        try run(Binary(.add), .init(a: a, b: b, y: .write(a)), on: device)
        try run(Matmul(), .init(a: a, b: b, c: .accumulate(a)), on: device)
        #expect(planned.operations.map(\.name) == ["add", "matmul"])
        let elements = Double(1 << 40)
        #expect(planned.operations[0].cost == Cost(flops: elements, bytes: 12 * elements))
        #expect(planned.operations[1].cost == Cost(flops: 2 * elements * Double(1 << 20), bytes: 16 * elements))
        #expect(device.memory.byPurpose[.parameters] == 4 << 40)
        #expect(device.memory.live == 8 << 40)
        #expect(try device.read(device.empty([3])) as [Float] == [0, 0, 0])
        #expect(throws: KernelError.self) {
            try run(Unary(.exp), .init(x: a, y: .write(device.empty([2]))), on: device)
        }
    }
}

/// The disk cache on PoCL, which has one of its own and uses ours only when told to.
@Suite("Program cache on disk", .enabled(if: TestBackend.hasOpenCL))
struct ProgramCacheTests {
    /// Runs one op on a fresh device with that cache; what was built and what was loaded.
    private func use(_ folder: URL) throws -> (built: Int, loaded: Int) {
        let device = try OpenCLDevice(try OpenCLDeviceInfo.all()[0], family: .vector, kernelCache: folder.path)
        let compute = ComputeDevice.openCL(device)
        let y = try compute.empty([5])
        try run(Fill(3), .init(y: y), on: compute)
        #expect(try compute.read(y) as [Float] == [3, 3, 3, 3, 3])
        return device.programStatistics
    }

    private func withFolder(_ body: (URL) throws -> Void) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("retort-cache-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        try body(folder)
    }

    private func files(_ folder: URL) throws -> [URL] {
        try FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil).sorted {
            $0.path < $1.path
        }
    }

    @Test("the second device loads what the first built")
    func loads() throws {
        try withFolder { folder in
            let first = try use(folder)
            #expect(first == (1, 0), "the probe and copy.cl")
            #expect(try files(folder).map(\.pathExtension) == ["bin"])
            #expect(try use(folder) == (0, 1))
            let attributes = try FileManager.default.attributesOfItem(atPath: folder.path)
            #expect(attributes[.posixPermissions] as? Int == 0o700)
        }
    }

    @Test("a damaged file is built again and replaced", arguments: ["cut", "flipped", "empty", "foreign"])
    func damaged(how: String) throws {
        try withFolder { folder in
            _ = try use(folder)
            for file in try files(folder) {
                var data = try Data(contentsOf: file)
                switch how {
                case "cut": data.removeLast(data.count / 2)
                case "flipped": data[data.count - 7] ^= 0x40
                case "empty": data = Data()
                default: data = Data("something else altogether, and long enough to hold a header of ours".utf8)
                }
                try data.write(to: file)
            }
            #expect(try use(folder) == (1, 0))
            #expect(try use(folder) == (0, 1))
        }
    }

    @Test("a folder that others may write into is not used", arguments: [0o777, 0o770, 0o722])
    func worldWritable(mode: Int) throws {
        try withFolder { folder in
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: folder.path)
            #expect(try use(folder) == (1, 0))
            #expect(try use(folder) == (1, 0))
            #expect(try files(folder).isEmpty)
        }
    }

    @Test("a link to a folder is not used")
    func link() throws {
        try withFolder { folder in
            let target = folder.appendingPathExtension("target")
            try FileManager.default.createDirectory(
                at: target, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
            defer { try? FileManager.default.removeItem(at: target) }
            try FileManager.default.createSymbolicLink(at: folder, withDestinationURL: target)
            #expect(try use(folder) == (1, 0))
            #expect(try files(target).isEmpty)
        }
    }

    @Test("off means off")
    func off() throws {
        let device = try OpenCLDevice(try OpenCLDeviceInfo.all()[0], family: .vector, kernelCache: "off")
        #expect(device.programStatistics == (1, 0), "the probe")
    }
}

@Suite("OpenBLAS on a processor it does not know")
struct OpenBLASCoreTests {
    @Test(
        "is told a core type that fits, and only then",
        arguments: [
            ("Prescott", 4, "SkylakeX"), ("Haswell", 4, "SkylakeX"), ("Zen", 4, "SkylakeX"), ("prescott", 3, "Haswell"),
            ("Sandybridge", 3, "Haswell"), ("Zen", 3, nil), ("Haswell", 3, nil), ("SkylakeX", 4, nil),
            ("Cooperlake", 4, nil), ("a core of tomorrow", 4, nil), ("Prescott", 0, nil), ("neoversen1", 0, nil),
        ] as [(String, Int, String?)])
    func betterCore(core: String, level: Int, better: String?) {
        #expect(OpenBLAS.betterCore(than: core, level: level) == better)
    }

    @Test(
        "a core type that was asked for was taken, under its own name or that of its kind",
        arguments: [
            ("Haswell", "Haswell", true), ("haswell", "Haswell", true), ("Zen", "Haswell", true),
            ("SKYLAKEX", "Cooperlake", true), ("NEOVERSEN1", "neoversen1", true), ("Nehalem", "Prescott", true),
            ("Bogus", "Haswell", false), ("SkylakeX", "Haswell", false), ("Haswell", "SkylakeX", false),
            ("NEOVERSEN1", "armv8", false),
        ] as [(String, String, Bool)])
    func askedCore(asked: String, taken: String, fits: Bool) throws {
        #expect(OpenBLAS.took(asked, as: taken) == fits)
        if fits { return try CPUDevice.checkCore(asked, taken: taken) }
        let error = thrown(KernelError.self) { try CPUDevice.checkCore(asked, taken: taken) }
        #expect(error?.kind == .device && error?.description.contains(asked) == true)
    }
}
