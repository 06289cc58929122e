internal import COpenCL
import Foundation
import RetortSupport
import Synchronization

/// Which kernels of a file fit a device.
public enum KernelFamily: String, Sendable, CaseIterable {
    /// OpenCL on a CPU: one work-item per tile or range of rows, `float16`, no local memory, no barriers.
    case vector
    /// Any GPU: work-groups with local memory.
    case simt
    /// `simt`, but products of bf16 run on the tensor cores of NVIDIA's GPUs, through inline PTX. On other devices, when asked for, plain
    /// arithmetic stands in for the instructions: the tiles around them can be tested without the card.
    case nvptx

    /// What is worth a probe on a device, the best first.
    public static func candidates(for info: OpenCLDeviceInfo) -> [KernelFamily] {
        if info.type == .cpu { return [.vector, .simt] }
        return info.isNVIDIA ? [.nvptx, .simt] : [.simt, .vector]
    }
}

/// An opened OpenCL device: one context, one in-order compute queue, its programs and its memory.
public final class OpenCLDevice: Sendable {
    public let info: OpenCLDeviceInfo
    public let family: KernelFamily
    /// Set when `--profile` asked for it; the queue then records a time for each kernel.
    public let profiler: Profiler?
    public let arena: Arena

    nonisolated(unsafe) let context: cl_context
    nonisolated(unsafe) let queue: cl_command_queue
    private let programs: ProgramCache
    /// OpenCL makes every call safe across threads except clSetKernelArg on a shared kernel object (appendix A of the
    /// specification): arguments and launch are one critical section.
    private let kernels = Mutex<[KernelKey: Kernel]>([:])
    /// Waits after each launch, so that a failure names its kernel.
    private let synchronous: Bool
    /// The device whose memory is rehearsed: its context is borrowed, and nothing is enqueued; nil for a device that computes.
    private let rehearsed: OpenCLDevice?

    public var index: Int { info.index }

    private struct KernelKey: Hashable {
        let file: String
        let kernel: String
        let options: String

        // A name is nearly always enough to tell kernels apart; equality looks at all three.
        func hash(into hasher: inout Hasher) { hasher.combine(kernel) }
    }

    private final class Kernel: Sendable {
        nonisolated(unsafe) let handle: cl_kernel
        /// The bits each argument was last set to. A launch sets those that differ: most are what they were a step ago. Handles of
        /// buffers are never used twice, because the arena keeps its chunks as long as the device lives. Guarded by `kernels`.
        nonisolated(unsafe) var arguments: [UInt64] = []
        init(_ handle: cl_kernel) { self.handle = handle }
        deinit { clReleaseKernel(handle) }
    }

    /// Opens the device and settles its kernel family by running a probe of each candidate.
    /// - `family`: forces one; else `RETORT_FAMILY`, else the first that passes its probe.
    /// - `kernelCache`: a folder for built programs, or "off"; else `RETORT_KERNEL_CACHE`.
    /// - Throws: `KernelError` of kind `device` or `build`.
    public init(
        _ info: OpenCLDeviceInfo, family: KernelFamily? = nil, profiler: Profiler? = nil, kernelCache: String? = nil
    ) throws {
        self.info = info
        self.profiler = profiler
        var status: Int32 = 0
        var device: cl_device_id? = info.deviceID
        guard let context = clCreateContext(nil, 1, &device, nil, nil, &status), status == CL_SUCCESS else {
            throw openCLError(status, "clCreateContext", info.name)
        }
        self.context = context
        let properties = profiler == nil ? 0 : cl_command_queue_properties(CL_QUEUE_PROFILING_ENABLE)
        guard let queue = clCreateCommandQueue(context, info.deviceID, properties, &status), status == CL_SUCCESS else {
            clReleaseContext(context)
            throw openCLError(status, "clCreateCommandQueue", info.name)
        }
        self.queue = queue
        programs = ProgramCache(info: info, context: context, folder: kernelCache)
        nonisolated(unsafe) let owner = context
        let taken = MemoryBudget(info.globalMemory)
        let environment = ProcessInfo.processInfo.environment
        // Oclgrind knows the bounds of buffers, not of blocks within one, and which of their bytes were written where they are its own.
        let isIsolated = environment["RETORT_ISOLATED_BUFFERS"] == "1"
        let isHosted = info.type == .cpu && !isIsolated
        arena = Arena(isolated: isIsolated) { bytes in
            try OpenCLChunk(bytes, context: owner, info: info, budget: taken, isHosted: isHosted)
        }
        synchronous = environment["RETORT_SYNCHRONOUS"] == "1"
        rehearsed = nil

        let forced = try family ?? Self.forcedFamily(environment)
        let candidates = forced.map { [$0] } ?? KernelFamily.candidates(for: info)
        self.family = try Self.probe(candidates, info, programs, context, queue)
    }

    /// The family that `RETORT_FAMILY` names; nil where it is not set.
    private static func forcedFamily(_ environment: [String: String]) throws -> KernelFamily? {
        guard let name = environment["RETORT_FAMILY"], !name.isEmpty else { return nil }
        guard let family = KernelFamily(rawValue: name) else {
            let names = KernelFamily.allCases.map(\.rawValue).joined(separator: ", ")
            throw KernelError(
                .device, "RETORT_FAMILY names a kernel family that does not exist: \(name)", help: "there are \(names)")
        }
        return family
    }

    /// What asks an arena without bytes for the memory that ops take on a device, and enqueues nothing.
    init(rehearsing device: OpenCLDevice, in arena: Arena) {
        info = device.info
        family = device.family
        profiler = nil
        self.arena = arena
        context = device.context
        queue = device.queue
        programs = device.programs
        synchronous = false
        rehearsed = device
    }

    /// The first candidate whose probe kernel builds, runs and gives the right numbers: what a device can do is asked of the
    /// device, not of its extension strings.
    private static func probe(
        _ candidates: [KernelFamily], _ info: OpenCLDeviceInfo, _ programs: ProgramCache, _ context: cl_context,
        _ queue: cl_command_queue
    ) throws -> KernelFamily {
        var reasons: [String] = []
        for family in candidates {
            do {
                let options = Self.commonOptions + Self.familyOptions(family, info) + " -DALL=1"
                // The program that the device is going to need anyway.
                let file = info.isPoCL && family == .vector ? KernelSources.together : "probe.cl"
                let kernel = try programs.kernel(file, "probe", options: options)
                defer { clReleaseKernel(kernel) }
                var status: Int32 = 0
                guard let memory = clCreateBuffer(context, cl_mem_flags(CL_MEM_READ_WRITE), 256 * 4, nil, &status),
                    status == CL_SUCCESS
                else { throw openCLError(status, "clCreateBuffer", "1024 bytes for the probe") }
                defer { clReleaseMemObject(memory) }
                var argument: cl_mem? = memory
                status = clSetKernelArg(kernel, 0, MemoryLayout<cl_mem?>.size, &argument)
                guard status == CL_SUCCESS else { throw openCLError(status, "clSetKernelArg", "probe") }
                var global = family == .vector ? 16 : 256
                var local = family == .vector ? 1 : 256
                status = clEnqueueNDRangeKernel(queue, kernel, 1, nil, &global, &local, 0, nil, nil)
                guard status == CL_SUCCESS else { throw openCLError(status, "clEnqueueNDRangeKernel", "probe") }
                var result = [Float](repeating: .nan, count: 256)
                status = clEnqueueReadBuffer(queue, memory, cl_bool(CL_TRUE), 0, 256 * 4, &result, 0, nil, nil)
                guard status == CL_SUCCESS else { throw openCLError(status, "clEnqueueReadBuffer", "probe") }
                // Every kernel writes 3 · (255 − i) + 1 at i, through the means its family depends on.
                if (0..<256).allSatisfy({ result[$0] == Float(3 * (255 - $0) + 1) }) { return family }
                reasons.append("\(family): wrong numbers from the probe kernel")
            } catch let error as KernelError {
                reasons.append("\(family): \(error.message)")
            }
        }
        throw KernelError(.device, "\(info.name) runs no kernel family:\n" + reasons.joined(separator: "\n"))
    }

    deinit {
        guard rehearsed == nil else { return }
        clFinish(queue)
        clReleaseCommandQueue(queue)
        clReleaseContext(context)
    }

    // MARK: Launching

    /// Enqueues one kernel.
    public func enqueue(_ launch: Launch) throws {
        guard rehearsed == nil else { return }
        let key = KernelKey(file: launch.file, kernel: launch.kernel, options: launch.options)
        var event: cl_event?
        let start = profiler == nil ? nil : ContinuousClock.now
        try kernels.withLock { kernels in
            let kernel: Kernel
            if let known = kernels[key] {
                kernel = known
            } else {
                let isShared = info.isPoCL && family == .vector && launch.options.isEmpty
                let file = isShared ? KernelSources.together : launch.file
                kernel = Kernel(try programs.kernel(file, launch.kernel, options: buildOptions(launch)))
                kernels[key] = kernel
            }
            try setArguments(launch, kernel)
            var global = launch.global
            var local = launch.local
            let status = withUnsafeBytes(of: &global) { global in
                withUnsafeBytes(of: &local) { local in
                    let sizes = (global.assumingMemoryBound(to: Int.self), local.assumingMemoryBound(to: Int.self))
                    // An event per launch only while profiling: a null pointer asks for none.
                    return profiler == nil
                        ? clEnqueueNDRangeKernel(
                            queue, kernel.handle, 3, nil, sizes.0.baseAddress, sizes.1.baseAddress, 0, nil, nil)
                        : clEnqueueNDRangeKernel(
                            queue, kernel.handle, 3, nil, sizes.0.baseAddress, sizes.1.baseAddress, 0, nil, &event)
                }
            }
            guard status == CL_SUCCESS else {
                throw openCLError(
                    status, "clEnqueueNDRangeKernel",
                    "\(launch.kernel), global \(global), local \(local), \(info.name)")
            }
        }
        if let profiler, let start, let event {
            let host = ContinuousClock.now - start
            profiler.launched(family: family.rawValue, device: try duration(of: event), host: host)
        }
        if synchronous { try finish() }
    }

    private func setArguments(_ launch: Launch, _ kernel: Kernel) throws {
        // Taken out and put back: one access to the object, not one for each argument.
        var known = kernel.arguments
        kernel.arguments = []
        defer { kernel.arguments = known }
        var index = 0
        func set(_ argument: KernelArgument) throws {
            var bits: UInt64
            let size: Int
            switch argument {
            case .buffer(let block): (bits, size) = (block.map { UInt64(UInt(bitPattern: $0.memory)) } ?? 0, 8)
            case .long(let value): (bits, size) = (UInt64(bitPattern: Int64(value)), 8)
            case .int(let value): (bits, size) = (UInt64(UInt32(bitPattern: value)), 4)
            case .float(let value): (bits, size) = (UInt64(value.bitPattern), 4)
            }
            defer { index += 1 }
            if index < known.count, known[index] == bits { return }
            // Hosts are little-endian: a number's low bytes come first.
            let status = clSetKernelArg(kernel.handle, UInt32(index), size, &bits)
            guard status == CL_SUCCESS else {
                throw openCLError(status, "clSetKernelArg", "argument \(index) of \(launch.kernel), \(argument)")
            }
            if index < known.count { known[index] = bits } else { known.append(bits) }
        }
        if let range = launch.range {
            try set(.long(range.count))
            try set(.long(range.perItem))
        }
        for argument in launch.arguments { try set(argument) }
    }

    /// What every program is built with: the dialect, and what `RETORT_KERNEL_OPTIONS` adds for a tool that watches the kernels
    /// (Oclgrind wants `-cl-opt-disable`). Like all options it is part of a cached binary's name.
    private static let commonOptions: String = {
        let added = ProcessInfo.processInfo.environment["RETORT_KERNEL_OPTIONS"] ?? ""
        return added.isEmpty ? "-cl-std=CL1.2" : "-cl-std=CL1.2 " + added
    }()

    /// Which sections of a kernel file are built.
    private static func familyOptions(_ family: KernelFamily, _ info: OpenCLDeviceInfo) -> String {
        switch family {
        case .vector: " -DVECTOR=1"
        case .simt: " -DSIMT=1"
        case .nvptx: info.isNVIDIA ? " -DSIMT=1 -DNVPTX=1" : " -DSIMT=1"
        }
    }

    private func buildOptions(_ launch: Launch) -> String {
        var options = Self.commonOptions + Self.familyOptions(family, info)
        options += info.type == .cpu || family == .vector ? " -DALL=1" : " -DONLY_\(launch.kernel)=1"
        return launch.options.isEmpty ? options : options + " " + launch.options
    }

    private func duration(of event: cl_event) throws -> Duration {
        var event: cl_event? = event
        defer { clReleaseEvent(event) }
        let status = clWaitForEvents(1, &event)
        guard status == CL_SUCCESS else { throw openCLError(status, "clWaitForEvents", info.name) }
        var start: cl_ulong = 0
        var end: cl_ulong = 0
        clGetEventProfilingInfo(event, cl_profiling_info(CL_PROFILING_COMMAND_START), 8, &start, nil)
        clGetEventProfilingInfo(event, cl_profiling_info(CL_PROFILING_COMMAND_END), 8, &end, nil)
        return .nanoseconds(Int64(end &- start))
    }

    /// Hands queued work to the device without waiting for it.
    public func flush() throws {
        let status = clFlush(queue)
        guard status == CL_SUCCESS else { throw openCLError(status, "clFlush", info.name) }
    }

    /// Returns when everything enqueued has run.
    public func finish() throws {
        let status = clFinish(queue)
        guard status == CL_SUCCESS else { throw openCLError(status, "clFinish", info.name) }
    }

    /// Programs built from source, and programs taken from the disk cache, so far.
    public var programStatistics: (built: Int, loaded: Int) { programs.statistics }

    // MARK: Transfers

    func write(_ bytes: UnsafeRawBufferPointer, to block: Block, at offset: Int) throws {
        let status = clEnqueueWriteBuffer(
            queue, block.memory, cl_bool(CL_TRUE), block.offset + offset, bytes.count, bytes.baseAddress!, 0, nil, nil)
        guard status == CL_SUCCESS else { throw openCLError(status, "clEnqueueWriteBuffer", "\(bytes.count) bytes") }
    }

    func read(_ block: Block, at offset: Int, into bytes: UnsafeMutableRawBufferPointer) throws {
        let status = clEnqueueReadBuffer(
            queue, block.memory, cl_bool(CL_TRUE), block.offset + offset, bytes.count, bytes.baseAddress!, 0, nil, nil)
        guard status == CL_SUCCESS else { throw openCLError(status, "clEnqueueReadBuffer", "\(bytes.count) bytes") }
    }

    /// Gives the host a part of a block to overwrite. Where the device is the processor itself that is its own memory.
    func mapping(_ block: Block, at offset: Int, _ bytes: Int, _ fill: (UnsafeMutableRawPointer) throws -> Void) throws
    {
        var status: Int32 = 0
        guard
            let pointer = clEnqueueMapBuffer(
                queue, block.memory, cl_bool(CL_TRUE), cl_map_flags(CL_MAP_WRITE_INVALIDATE_REGION),
                block.offset + offset, bytes, 0, nil, nil, &status), status == CL_SUCCESS
        else { throw openCLError(status, "clEnqueueMapBuffer", "\(bytes) bytes") }
        let filled = Result { try fill(pointer) }
        status = clEnqueueUnmapMemObject(queue, block.memory, pointer, 0, nil, nil)
        try filled.get()
        guard status == CL_SUCCESS else { throw openCLError(status, "clEnqueueUnmapMemObject", "\(bytes) bytes") }
    }
}

/// Bytes promised by a device. Drivers hand out buffers lazily and beyond what exists; counting them gives an error where memory is
/// asked for, not at some later kernel.
final class MemoryBudget: Sendable {
    let total: Int
    private let taken = Mutex(0)

    init(_ total: Int) { self.total = total }

    /// Books bytes; false when they are not there.
    func take(_ bytes: Int) -> Bool {
        taken.withLock { taken in
            guard bytes <= total - taken else { return false }
            taken += bytes
            return true
        }
    }

    func give(_ bytes: Int) { taken.withLock { $0 -= bytes } }
    var left: Int { taken.withLock { total - $0 } }
}

/// One `cl_mem` that the arena cuts into blocks.
final class OpenCLChunk: Chunk {
    nonisolated(unsafe) let memory: cl_mem
    private let bytes: Int
    private let budget: MemoryBudget

    /// - Parameter isHosted: whether it lies in memory of ours: for devices that compute in the host's memory.
    init(_ bytes: Int, context: cl_context, info: OpenCLDeviceInfo, budget: MemoryBudget, isHosted: Bool) throws {
        let help = "use a smaller batch or model, or a device with more memory"
        guard bytes <= info.largestAllocation else {
            throw KernelError(
                .memory,
                "\(NumberFormat.bytes(bytes)) in one piece asked of \(info.name), whose largest buffer is "
                    + NumberFormat.bytes(info.largestAllocation),
                help: help)
        }
        guard budget.take(bytes) else {
            throw KernelError(
                .memory,
                "\(NumberFormat.bytes(bytes)) more asked of \(info.name), which has \(NumberFormat.bytes(budget.left)) left of "
                    + NumberFormat.bytes(budget.total),
                help: help)
        }
        var status: Int32 = 0
        // Without pages the driver is asked, which knows how to say that there are none.
        let pages = isHosted ? HostPages.allocate(bytes) : nil
        let flags = CL_MEM_READ_WRITE | (pages == nil ? 0 : CL_MEM_USE_HOST_PTR)
        guard let memory = clCreateBuffer(context, cl_mem_flags(flags), bytes, pages, &status), status == CL_SUCCESS
        else {
            free(pages)
            budget.give(bytes)
            throw openCLError(status, "clCreateBuffer", "\(bytes) bytes on \(info.name)")
        }
        // Kernels that are still queued keep the buffer longer than its chunk does.
        status = pages.map { clSetMemObjectDestructorCallback(memory, { free($1) }, $0) } ?? CL_SUCCESS
        guard status == CL_SUCCESS else {
            clReleaseMemObject(memory)
            free(pages)
            budget.give(bytes)
            throw openCLError(status, "clSetMemObjectDestructorCallback", "\(bytes) bytes on \(info.name)")
        }
        (self.memory, self.bytes, self.budget) = (memory, bytes, budget)
    }

    deinit {
        clReleaseMemObject(memory)
        budget.give(bytes)
    }
}

extension Block {
    /// The buffer of an OpenCL block; `offset` says where in it the block begins.
    var memory: cl_mem { unsafeDowncast(chunk as AnyObject, to: OpenCLChunk.self).memory }
}
