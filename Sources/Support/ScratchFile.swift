import Glibc

/// A file without a name, for what does not fit in memory: first it is written from front to back, then it is read.
///
///     let file = try ScratchFile()
///     try file.append(bytes)
///     let all = try file.mapped()
///
/// It loses its name as soon as it is open: whatever ends the program, nothing stays behind, and the room is free again when the file and what
/// was mapped of it are gone. For use from one task at a time.
public final class ScratchFile {
    /// The folder whose disk it is on.
    public let folder: String
    /// The bytes written so far.
    public private(set) var bytesWritten = 0

    private let descriptor: Int32
    private let calls: FileCalls

    /// Makes an empty one in `folder`, nil: in `usualFolder`.
    /// - Throws: exit 73 when nothing can be created there, 74 on a full disk or I/O error.
    public convenience init(in folder: String? = nil) throws(RetortError) {
        try self.init(in: folder ?? Self.usualFolder, calls: .real)
    }

    init(in folder: String, calls: FileCalls) throws(RetortError) {
        try checkPath(folder, isInput: false)
        let (path, opened) = openTemporary(in: folder, calls.openPrivate)
        guard opened >= 0 else { throw Self.failure("create", folder, Int32(truncatingIfNeeded: -opened)) }
        let descriptor = Int32(truncatingIfNeeded: opened)
        let removed = calls.unlink(path)
        guard removed >= 0 else {
            _ = calls.close(descriptor)
            throw Self.failure("remove the name of", folder, Int32(truncatingIfNeeded: -removed))
        }
        self.folder = folder
        self.calls = calls
        self.descriptor = descriptor
    }

    deinit {
        _ = calls.close(descriptor)
    }

    /// The folder that `TMPDIR` names; else `/var/tmp`, which is on a disk where `/tmp` is often memory; else, where nothing can be written
    /// there, `/tmp`.
    public static var usualFolder: String {
        usualFolder(environment: { name in getenv(name).map { String(cString: $0) } })
    }

    /// The rule, apart from the environment.
    static func usualFolder(environment: (String) -> String?) -> String {
        if let named = environment("TMPDIR"), !named.isEmpty { return named }
        return access("/var/tmp", W_OK | X_OK) == 0 ? "/var/tmp" : "/tmp"
    }

    /// Appends bytes; better many at once than often a few.
    /// - Throws: exit 74 on a full disk or I/O error; what was written before stays.
    public func append(_ bytes: UnsafeRawBufferPointer) throws(RetortError) {
        let code = calls.writeAll(bytes, to: descriptor)
        guard code == 0 else { throw Self.failure("write", folder, code) }
        bytesWritten += bytes.count
    }

    /// All that was written, to be read; it stays when the file itself goes.
    /// - Throws: exit 74 when not all of it reached the disk, or it cannot be mapped.
    public func mapped() throws(RetortError) -> MappedBytes {
        // Some disks, those of a network above all, notice only now that they are full. Read later through a mapping, what is missing would
        // end the program by SIGBUS.
        let flushed = calls.synchronize(descriptor)
        guard flushed >= 0 || flushed == -Int(EINVAL) else {
            throw Self.failure("write", folder, Int32(truncatingIfNeeded: -flushed))
        }
        guard bytesWritten > 0 else { return MappedBytes(nil, count: 0) }
        let start = mmap(nil, bytesWritten, PROT_READ, MAP_PRIVATE, descriptor, 0)
        guard let address = start, address != MAP_FAILED else { throw Self.failure("map", folder, errno) }
        return MappedBytes(UnsafeRawPointer(address), count: bytesWritten)
    }

    /// The usual words, but the way out is another folder for temporary files.
    private static func failure(_ action: String, _ folder: String, _ code: Int32) -> RetortError {
        var error = SystemErrors.output(action + " a temporary file in", folder, code: code)
        error.help =
            error.exit == .cannotCreate
            ? "Name a folder that you may write to in the environment variable TMPDIR."
            : "Free some space there, or name a folder on a disk with room in the environment variable TMPDIR."
        return error
    }
}
