internal import COpenCL

/// What `retort devices` lists and `--device` chooses from: one OpenCL device before it is opened.
public struct OpenCLDeviceInfo: Sendable, Equatable {
    public enum DeviceType: String, Sendable { case gpu, cpu, accelerator, other }

    /// Its place in the list of all devices of all platforms: the i of `opencl:<i>`.
    public let index: Int
    public let name: String
    public let type: DeviceType
    public let vendor: String
    public let platform: String
    public let platformVersion: String
    public let driver: String
    public let version: String
    public let computeUnits: Int
    /// Bytes.
    public let globalMemory: Int
    /// Bytes; the largest single buffer.
    public let largestAllocation: Int
    /// Bytes.
    public let localMemory: Int
    public let largestWorkGroup: Int
    /// Floats of the device's own vector registers: 16 with AVX-512, 8 with AVX2, 1 on most GPUs.
    public let vectorWidth: Int
    public let extensions: [String]

    nonisolated(unsafe) let platformID: cl_platform_id
    nonisolated(unsafe) let deviceID: cl_device_id

    /// PoCL keeps a program cache of its own and never needs ours.
    var isPoCL: Bool { platform == "Portable Computing Language" }

    /// Whether inline PTX can be tried at all: elsewhere it would be a failed build at each start.
    var isNVIDIA: Bool { platform == "NVIDIA CUDA" }

    public static func == (a: Self, b: Self) -> Bool { a.index == b.index && a.deviceID == b.deviceID }

    /// Every device of every platform, in the loader's order.
    /// - Throws: `KernelError` of kind `device` when there is no loader or no platform.
    public static func all() throws -> [OpenCLDeviceInfo] {
        var platformCount: UInt32 = 0
        let status = clGetPlatformIDs(0, nil, &platformCount)
        guard status == CL_SUCCESS, platformCount > 0 else { throw noLoader() }
        var platforms = [cl_platform_id?](repeating: nil, count: Int(platformCount))
        guard clGetPlatformIDs(platformCount, &platforms, nil) == CL_SUCCESS else { throw noLoader() }

        var found: [OpenCLDeviceInfo] = []
        for case let platform? in platforms {
            var count: UInt32 = 0
            guard clGetDeviceIDs(platform, cl_device_type(CL_DEVICE_TYPE_ALL), 0, nil, &count) == CL_SUCCESS, count > 0
            else { continue }
            var devices = [cl_device_id?](repeating: nil, count: Int(count))
            guard clGetDeviceIDs(platform, cl_device_type(CL_DEVICE_TYPE_ALL), count, &devices, nil) == CL_SUCCESS
            else { continue }
            for case let device? in devices {
                found.append(OpenCLDeviceInfo(index: found.count, platform: platform, device: device))
            }
        }
        return found
    }

    private init(index: Int, platform: cl_platform_id, device: cl_device_id) {
        func platformText(_ key: Int32) -> String {
            text { clGetPlatformInfo(platform, cl_platform_info(key), $0, $1, $2) }
        }
        func deviceText(_ key: Int32) -> String { text { clGetDeviceInfo(device, cl_device_info(key), $0, $1, $2) } }
        func number<T: FixedWidthInteger>(_ key: Int32, _ type: T.Type) -> T {
            var value: T = 0
            clGetDeviceInfo(device, cl_device_info(key), MemoryLayout<T>.size, &value, nil)
            return value
        }
        self.index = index
        platformID = platform
        deviceID = device
        name = deviceText(CL_DEVICE_NAME)
        vendor = deviceText(CL_DEVICE_VENDOR)
        driver = deviceText(CL_DRIVER_VERSION)
        version = deviceText(CL_DEVICE_VERSION)
        self.platform = platformText(CL_PLATFORM_NAME)
        platformVersion = platformText(CL_PLATFORM_VERSION)
        extensions = deviceText(CL_DEVICE_EXTENSIONS).split(separator: " ").map(String.init)
        computeUnits = Int(number(CL_DEVICE_MAX_COMPUTE_UNITS, cl_uint.self))
        globalMemory = Int(clamping: number(CL_DEVICE_GLOBAL_MEM_SIZE, cl_ulong.self))
        largestAllocation = Int(clamping: number(CL_DEVICE_MAX_MEM_ALLOC_SIZE, cl_ulong.self))
        localMemory = Int(clamping: number(CL_DEVICE_LOCAL_MEM_SIZE, cl_ulong.self))
        largestWorkGroup = number(CL_DEVICE_MAX_WORK_GROUP_SIZE, Int.self)
        vectorWidth = Int(number(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, cl_uint.self))
        let kind = number(CL_DEVICE_TYPE, cl_device_type.self)
        type =
            kind & cl_device_type(CL_DEVICE_TYPE_GPU) != 0
            ? .gpu
            : kind & cl_device_type(CL_DEVICE_TYPE_CPU) != 0
                ? .cpu
                : kind & cl_device_type(CL_DEVICE_TYPE_ACCELERATOR) != 0 ? .accelerator : .other
    }
}

/// A string property, read in OpenCL's two calls: length, then bytes.
private func text(_ query: (Int, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?) -> Int32) -> String {
    var length = 0
    guard query(0, nil, &length) == CL_SUCCESS, length > 0 else { return "" }
    var bytes = [UInt8](repeating: 0, count: length)
    guard query(length, &bytes, nil) == CL_SUCCESS else { return "" }
    return String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
}
