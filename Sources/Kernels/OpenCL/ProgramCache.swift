internal import COpenCL
import Foundation
import RetortSupport
import Synchronization

/// Programs built for one device: in memory by (file, options), on disk by everything that could change the binary.
///
/// The disk cache lives in `$XDG_CACHE_HOME/retort/kernels` (or `~/.cache/…`), private to the user; it is a convenience and
/// every failure of it falls back to the source. PoCL caches by itself, so there it is only used when `RETORT_KERNEL_CACHE` names
/// a folder; `RETORT_KERNEL_CACHE=off` turns it off everywhere.
final class ProgramCache: Sendable {
    private let info: OpenCLDeviceInfo
    private nonisolated(unsafe) let context: cl_context
    private let folder: URL?
    private let programs = Mutex<[String: Program]>([:])

    private final class Program: Sendable {
        nonisolated(unsafe) let handle: cl_program
        init(_ handle: cl_program) { self.handle = handle }
        deinit { clReleaseProgram(handle) }
    }

    /// - Parameter folder: as in `RETORT_KERNEL_CACHE`, which it overrides.
    init(info: OpenCLDeviceInfo, context: cl_context, folder: String? = nil) {
        self.info = info
        self.context = context
        self.folder = Self.folder(for: info, folder)
    }

    /// How many programs were built from source and how many came from disk.
    private let counts = Mutex((built: 0, loaded: 0))
    var statistics: (built: Int, loaded: Int) { counts.withLock { $0 } }

    /// A new kernel object; the caller owns it.
    func kernel(_ file: String, _ name: String, options: String) throws -> cl_kernel {
        let program = try programs.withLock { cache in
            let key = file + "\u{0}" + options
            if let program = cache[key] { return program }
            let program = Program(try build(file, options))
            cache[key] = program
            return program
        }
        var status: Int32 = 0
        guard let kernel = clCreateKernel(program.handle, name, &status), status == CL_SUCCESS else {
            throw KernelError(.build, "\(file) has no kernel \(name) with \(options): \(openCLStatusName(status))")
        }
        return kernel
    }

    private func build(_ file: String, _ options: String) throws -> cl_program {
        let text = KernelSources.program(file)
        let cached = folder.map { $0.appendingPathComponent(identity(text, options) + ".bin") }
        if let cached, let program = load(cached, options) {
            counts.withLock { $0.loaded += 1 }
            return program
        }
        var status: Int32 = 0
        let program = text.withCString { pointer in
            var pointer: UnsafePointer<CChar>? = pointer
            return clCreateProgramWithSource(context, 1, &pointer, nil, &status)
        }
        guard let program, status == CL_SUCCESS else { throw openCLError(status, "clCreateProgramWithSource", file) }
        var device: cl_device_id? = info.deviceID
        status = clBuildProgram(program, 1, &device, options, nil, nil)
        if status != CL_SUCCESS, StopSignal.isRequested {
            // A compiler in this process (PoCL's) takes the file away that it is writing when a signal comes; the step in progress still
            // wants its kernels.
            status = clBuildProgram(program, 1, &device, options, nil, nil)
        }
        guard status == CL_SUCCESS else {
            let log = buildLog(program)
            clReleaseProgram(program)
            throw KernelError(
                .build,
                "the compiler of \(info.name) refuses \(file) with \(options): \(openCLStatusName(status))\n\(log)",
                help: "this is a bug of Retort or of the driver \(info.driver); please report it with the text above")
        }
        counts.withLock { $0.built += 1 }
        if let cached { store(program, cached) }
        return program
    }

    private func buildLog(_ program: cl_program) -> String {
        var length = 0
        clGetProgramBuildInfo(program, info.deviceID, cl_program_build_info(CL_PROGRAM_BUILD_LOG), 0, nil, &length)
        guard length > 1 else { return "(the compiler left no log)" }
        var bytes = [UInt8](repeating: 0, count: length)
        clGetProgramBuildInfo(program, info.deviceID, cl_program_build_info(CL_PROGRAM_BUILD_LOG), length, &bytes, nil)
        return Self.essence(String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self))
    }

    /// The first lines that speak of errors (the first lines at all where none does): one slip can bring a megabyte of complaints.
    static func essence(_ log: String) -> String {
        let lines = log.split(whereSeparator: \.isNewline)
        let errors = lines.filter { $0.contains("error") }
        let chosen = errors.isEmpty ? lines : errors
        let shown = chosen.prefix(8).map { String($0.prefix(200)) }
        let rest = chosen.count - shown.count
        return (shown + (rest > 0 ? ["and \(rest) lines more"] : [])).joined(separator: "\n")
    }

    // MARK: Disk

    private static let magic = Array("retort-kernel-1\n".utf8)

    private static func folder(for info: OpenCLDeviceInfo, _ asked: String?) -> URL? {
        let environment = ProcessInfo.processInfo.environment
        let chosen = asked ?? environment["RETORT_KERNEL_CACHE"]
        if chosen == "off" { return nil }
        if let chosen, !chosen.isEmpty { return privateFolder(URL(fileURLWithPath: chosen)) }
        if info.isPoCL { return nil }
        let base =
            environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil }
            ?? environment["HOME"].map { $0 + "/.cache" }
        guard let base else { return nil }
        return privateFolder(URL(fileURLWithPath: base + "/retort/kernels"))
    }

    /// The folder, made if need be, when it belongs to this user and nobody else may write into it: what is loaded from it
    /// runs on the device. nil otherwise, never another place.
    private static func privateFolder(_ url: URL) -> URL? {
        try? FileManager.default.createDirectory(
            at: url, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        var status = stat()
        guard lstat(url.path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == geteuid(),
            status.st_mode & 0o022 == 0
        else { return nil }
        return url
    }

    /// A name for everything that could change the binary. Not a secret: the file also carries its own checksum.
    private func identity(_ text: String, _ options: String) -> String {
        let all = [text, options, info.name, info.driver, info.version, info.platformVersion].joined(separator: "\u{0}")
        return fingerprint(Array(all.utf8)) + fingerprint(Array(String(all.reversed()).utf8))
    }

    private func load(_ url: URL, _ options: String) -> cl_program? {
        guard let data = try? Data(contentsOf: url), data.count > Self.magic.count + 32,
            Array(data.prefix(Self.magic.count)) == Self.magic
        else { return nil }
        let binary = [UInt8](data.dropFirst(Self.magic.count + 16))
        let checksum = String(decoding: data.dropFirst(Self.magic.count).prefix(16), as: UTF8.self)
        guard checksum == fingerprint(binary) else { return discard(url) }
        var status: Int32 = 0
        var binaryStatus: Int32 = 0
        var device: cl_device_id? = info.deviceID
        var length = binary.count
        let program = binary.withUnsafeBufferPointer { bytes in
            var pointer: UnsafePointer<UInt8>? = bytes.baseAddress
            return clCreateProgramWithBinary(context, 1, &device, &length, &pointer, &binaryStatus, &status)
        }
        guard let program, status == CL_SUCCESS, binaryStatus == CL_SUCCESS else { return discard(url) }
        guard clBuildProgram(program, 1, &device, options, nil, nil) == CL_SUCCESS else {
            clReleaseProgram(program)
            return discard(url)
        }
        return program
    }

    private func discard(_ url: URL) -> cl_program? {
        try? FileManager.default.removeItem(at: url)
        return nil
    }

    private func store(_ program: cl_program, _ url: URL) {
        var length = 0
        guard
            clGetProgramInfo(program, cl_program_info(CL_PROGRAM_BINARY_SIZES), MemoryLayout<Int>.size, &length, nil)
                == CL_SUCCESS, length > 0
        else { return }
        var binary = [UInt8](repeating: 0, count: length)
        let status = binary.withUnsafeMutableBufferPointer { bytes in
            var pointer: UnsafeMutablePointer<UInt8>? = bytes.baseAddress
            return clGetProgramInfo(
                program, cl_program_info(CL_PROGRAM_BINARIES), MemoryLayout<UnsafeMutablePointer<UInt8>?>.size,
                &pointer, nil)
        }
        guard status == CL_SUCCESS else { return }
        let data = Data(Self.magic + Array(fingerprint(binary).utf8) + binary)
        // Written aside and renamed: another process never sees half a file.
        let aside = url.appendingPathExtension("\(getpid())")
        guard (try? data.write(to: aside)) != nil else { return }
        if rename(aside.path, url.path) != 0 { unlink(aside.path) }
    }
}

/// 64-bit FNV-1a as 16 hexadecimal digits: notices damaged files; no defence against forged ones (the folder's owner is that).
private func fingerprint(_ bytes: [UInt8]) -> String {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01b3 }
    let digits = String(hash, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
}
