internal import COpenCL

/// A failed OpenCL call: which call, the code under its symbolic name, and what was being done.
func openCLError(_ status: Int32, _ call: String, _ context: String) -> KernelError {
    let name = openCLStatusName(status)
    let where_ = context.isEmpty ? "" : " (\(context))"
    switch status {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE, CL_OUT_OF_HOST_MEMORY, CL_INVALID_BUFFER_SIZE:
        return KernelError(
            .memory, "\(call): \(name)\(where_)", help: "use a smaller batch or a device with more memory")
    case CL_OUT_OF_RESOURCES:
        return KernelError(
            .device, "\(call): \(name)\(where_)",
            help: "the device ran out of memory, or an earlier kernel was stopped; RETORT_SYNCHRONOUS=1 finds which")
    case COPENCL_NO_LOADER:
        return noLoader()
    default:
        return KernelError(.device, "\(call): \(name)\(where_)")
    }
}

/// No loader, or a loader without any platform.
func noLoader() -> KernelError {
    if let why = copencl_load_error() {
        return KernelError(
            .device, "no OpenCL loader: \(String(cString: why))",
            help: "install one (Debian, Ubuntu: apt install ocl-icd-libopencl1) or use --device cpu")
    }
    return KernelError(
        .device, "the OpenCL loader finds no platform",
        help: "install your GPU vendor's OpenCL driver (for a CPU: apt install pocl-opencl-icd) or use --device cpu")
}

/// The name the OpenCL headers give a status.
func openCLStatusName(_ status: Int32) -> String {
    let names: [Int32: String] = [
        -1: "CL_DEVICE_NOT_FOUND", -2: "CL_DEVICE_NOT_AVAILABLE", -3: "CL_COMPILER_NOT_AVAILABLE",
        -4: "CL_MEM_OBJECT_ALLOCATION_FAILURE", -5: "CL_OUT_OF_RESOURCES", -6: "CL_OUT_OF_HOST_MEMORY",
        -7: "CL_PROFILING_INFO_NOT_AVAILABLE", -11: "CL_BUILD_PROGRAM_FAILURE", -30: "CL_INVALID_VALUE",
        -33: "CL_INVALID_DEVICE", -34: "CL_INVALID_CONTEXT", -36: "CL_INVALID_COMMAND_QUEUE",
        -38: "CL_INVALID_MEM_OBJECT",
        -42: "CL_INVALID_BINARY", -43: "CL_INVALID_BUILD_OPTIONS", -44: "CL_INVALID_PROGRAM",
        -45: "CL_INVALID_PROGRAM_EXECUTABLE", -46: "CL_INVALID_KERNEL_NAME", -48: "CL_INVALID_KERNEL",
        -49: "CL_INVALID_ARG_INDEX", -50: "CL_INVALID_ARG_VALUE", -51: "CL_INVALID_ARG_SIZE",
        -52: "CL_INVALID_KERNEL_ARGS",
        -54: "CL_INVALID_WORK_GROUP_SIZE", -55: "CL_INVALID_WORK_ITEM_SIZE", -61: "CL_INVALID_BUFFER_SIZE",
        -63: "CL_INVALID_GLOBAL_WORK_SIZE", -1001: "CL_PLATFORM_NOT_FOUND_KHR",
    ]
    return names[status].map { "\($0) (\(status))" } ?? "OpenCL status \(status)"
}
