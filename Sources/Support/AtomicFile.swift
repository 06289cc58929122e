import Glibc

/// A file that appears under its name only when it is complete and on the disk.
///
/// The bytes go to a temporary file in the same directory (created exclusively, mode `0666 & ~umask`); `commit` flushes
/// it, renames it over `path` and flushes the directory. Until then, and after any failure, `path` holds what it held
/// before and the temporary file is removed. A killed process can leave a `.retort-*.tmp` behind, nothing else.
///
/// A symbolic link at `path` is replaced, not followed. An existing device, pipe or directory is refused.
/// For use from one task at a time.
public final class AtomicFile {
    /// The name the file will have.
    public let path: String
    /// The bytes written so far.
    public private(set) var bytesWritten = 0

    private let directory: String
    private let temporary: String
    private let calls: FileCalls
    /// The temporary file; nil once committed or discarded.
    private var descriptor: Int32?

    /// Creates the temporary file.
    /// - Throws: exit 73 when nothing can be created there, 74 on a full disk or I/O error.
    public convenience init(path: String) throws(RetortError) {
        try self.init(path: path, calls: .real)
    }

    init(path: String, calls: FileCalls) throws(RetortError) {
        try checkPath(path, isInput: false)
        let (directory, name) = Self.split(path)
        guard !name.isEmpty, name != ".", name != ".." else {
            throw .cannotCreate("cannot create \(path.quoted(limit: 200))", why: "the path does not name a file")
        }
        try Self.refuseSpecialFile(path)

        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        let (temporary, opened) = openTemporary(in: directory) { calls.open($0, flags) }
        guard opened >= 0 else {
            throw SystemErrors.output("create", path, code: Int32(truncatingIfNeeded: -opened))
        }
        self.path = path
        self.directory = directory
        self.temporary = temporary
        self.calls = calls
        self.descriptor = Int32(truncatingIfNeeded: opened)
    }

    deinit {
        discard()
    }

    /// Writes a whole file atomically.
    /// - Throws: exit 73 when it cannot be created, 74 on a full disk or I/O error; `path` is then unchanged.
    public static func write(_ bytes: [UInt8], to path: String) throws(RetortError) {
        let file = try AtomicFile(path: path)
        try file.write(bytes)
        try file.commit()
    }

    /// Writes a whole text file atomically, as UTF-8. Throws as `write(_:to:)`.
    public static func write(_ text: String, to path: String) throws(RetortError) {
        try write(Array(text.utf8), to: path)
    }

    /// Appends bytes.
    /// - Throws: exit 74 on a full disk or I/O error; the temporary file is then removed and nothing more can be
    ///   written.
    public func write(_ bytes: UnsafeRawBufferPointer) throws(RetortError) {
        guard let descriptor else { throw .internalBug("a write to \(path.quoted()) after it was closed") }
        let code = calls.writeAll(bytes, to: descriptor)
        guard code == 0 else { throw failed("write", code) }
        bytesWritten += bytes.count
    }

    /// Appends bytes. Throws as `write(_: UnsafeRawBufferPointer)`.
    public func write(_ bytes: [UInt8]) throws(RetortError) {
        try bytes.withUnsafeBufferPointer { (buffer) throws(RetortError) in try write(UnsafeRawBufferPointer(buffer)) }
    }

    /// Appends text as UTF-8. Throws as `write(_: UnsafeRawBufferPointer)`.
    public func write(_ text: String) throws(RetortError) {
        try write(Array(text.utf8))
    }

    /// Makes the file durable and gives it its name.
    /// - Throws: exit 73 or 74. When the rename did not happen, `path` is unchanged. When only flushing the directory
    ///   failed, the file is complete under its name but may not survive a power failure.
    public func commit() throws(RetortError) {
        guard let descriptor else { throw .internalBug("a commit of \(path.quoted()) after it was closed") }
        let flushed = calls.synchronize(descriptor)
        guard flushed >= 0 else { throw failed("write", Int32(truncatingIfNeeded: -flushed)) }
        self.descriptor = nil
        let closed = calls.close(descriptor)
        guard closed >= 0 else { throw removed("write", Int32(truncatingIfNeeded: -closed)) }
        let renamed = calls.rename(temporary, path)
        guard renamed >= 0 else { throw removed("create", Int32(truncatingIfNeeded: -renamed)) }
        try Folder.synchronize(directory, calls: calls)
    }

    /// Removes the temporary file; `path` keeps what it held. Does nothing after `commit`.
    public func discard() {
        guard let descriptor else { return }
        self.descriptor = nil
        _ = calls.close(descriptor)
        _ = calls.unlink(temporary)
    }

    private func failed(_ action: String, _ code: Int32) -> RetortError {
        discard()
        return SystemErrors.output(action, path, code: code)
    }

    private func removed(_ action: String, _ code: Int32) -> RetortError {
        _ = calls.unlink(temporary)
        return SystemErrors.output(action, path, code: code)
    }

    private static func split(_ path: String) -> (directory: String, name: String) {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return (".", path) }
        let name = String(path[path.utf8.index(after: slash)...])
        return (slash == path.startIndex ? "/" : String(path[..<slash]), name)
    }

    /// A rename onto /dev/null would replace the device for everybody.
    private static func refuseSpecialFile(_ path: String) throws(RetortError) {
        var information = stat()
        guard lstat(path, &information) == 0 else { return }
        let kind = information.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFLNK else {
            throw .cannotCreate(
                "cannot create \(path.quoted(limit: 200))", at: RetortError.Location(file: path),
                why: kind == S_IFDIR ? "it is a directory" : "it exists and is not a regular file",
                help: "Choose another path.")
        }
    }
}
