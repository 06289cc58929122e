import RetortKernels
import RetortSupport

/// What `retort devices` prints: the CPU backend and every OpenCL device, or why there is none. Opens nothing.
public struct DeviceList {
    private let openCL: Result<[OpenCLDeviceInfo], any Error>
    private let cpu: Result<CPUDevice, any Error>

    public init() {
        openCL = Result { try OpenCLDeviceInfo.all() }
        cpu = Result { try CPUDevice() }
    }

    public var text: String {
        var table = Table(columns: [
            ("device", .left), ("name", .left), ("memory", .right), ("units", .right), ("driver", .left),
        ])
        var note = ""
        switch cpu {
        case .success(let cpu):
            table.add(["cpu", "OpenBLAS \(cpu.blasCore), row kernels \(cpu.rowLevel)", "", "\(cpu.threads)", ""])
        case .failure(let error):
            table.add(["cpu", "not available"])
            note += "\nno cpu device: \(error)\n"
        }
        switch openCL {
        case .success(let devices):
            for d in devices {
                table.add([
                    "opencl:\(d.index)", "\(d.name) (\(d.type.rawValue), \(d.platform))",
                    NumberFormat.bytes(d.globalMemory),
                    "\(d.computeUnits)", d.driver,
                ])
            }
        case .failure(let error): note += "\nno OpenCL device: \(error)\n"
        }
        return table.text + note
    }

    public var json: JSON {
        var rows: [JSON] = []
        if case .success(let cpu) = cpu {
            rows.append([
                "device": "cpu", "type": "cpu", "name": .string("OpenBLAS \(cpu.blasCore)"), "units": .int(cpu.threads),
                "row_kernels": .string(cpu.rowLevel),
            ])
        }
        if case .success(let devices) = openCL {
            rows += devices.map { d in
                [
                    "device": .string("opencl:\(d.index)"), "type": .string(d.type.rawValue), "name": .string(d.name),
                    "vendor": .string(d.vendor), "platform": .string(d.platform), "driver": .string(d.driver),
                    "version": .string(d.version), "units": .int(d.computeUnits), "memory_bytes": .int(d.globalMemory),
                    "largest_allocation_bytes": .int(d.largestAllocation), "local_memory_bytes": .int(d.localMemory),
                    "extensions": .array(d.extensions.map(JSON.string)),
                ]
            }
        }
        return ["devices": .array(rows)]
    }
}
