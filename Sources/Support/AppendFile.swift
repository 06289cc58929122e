import Glibc
import Synchronization

/// A file that only grows, line by line or record by record: `metrics.jsonl`, `log.txt`, the shards of a cache.
///
/// Each line is one `write(2)` on an `O_APPEND` descriptor, so that lines of several writers never mix and a reader
/// sees whole lines. A line that does not fit on the disk is taken back.
public final class AppendFile: Sendable {
    /// The file's path.
    public let path: String
    private let descriptor: Int32
    private let calls: FileCalls
    /// One line at a time; true after close.
    private let isClosed = Mutex(false)

    /// Opens `path`, creating it (mode `0666 & ~umask`) when it is not there. A symbolic link is refused.
    /// - Throws: exit 73 when it cannot be created, 74 on I/O errors.
    public convenience init(path: String) throws(RetortError) {
        try self.init(path: path, calls: .real)
    }

    init(path: String, calls: FileCalls) throws(RetortError) {
        try checkPath(path, isInput: false)
        let opened = calls.open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC)
        guard opened >= 0 else {
            throw SystemErrors.output("open", path, code: Int32(truncatingIfNeeded: -opened))
        }
        self.path = path
        self.calls = calls
        self.descriptor = Int32(truncatingIfNeeded: opened)
    }

    /// The whole lines of a file that another run may have left behind; a last one that was cut off is removed. Empty where there is no
    /// file.
    /// - Throws: exit 66 when it cannot be read, 74 when it cannot be mended.
    public static func wholeLines(of path: String) throws(RetortError) -> ArraySlice<UInt8> {
        guard access(path, F_OK) == 0 else { return [] }
        let bytes = try InputFile.read(path, limit: 1 << 40)
        let whole = (bytes.lastIndex(of: UInt8(ascii: "\n")) ?? -1) + 1
        if whole < bytes.count { try AtomicFile.write(Array(bytes.prefix(whole)), to: path) }
        return bytes.prefix(whole)
    }

    /// What to do about a line that is not what it should be, where lines are written again when they are missing.
    public static let mending = "Remove this line and those behind it: they are written again."

    /// Those lines as JSON, each of which knows its place in the file.
    /// - Throws: also exit 65 for a line that is no JSON.
    public static func wholeValues(of path: String) throws(RetortError) -> [JSONCursor] {
        var values: [JSONCursor] = []
        let lines = try wholeLines(of: path).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (number, line) in lines.dropLast().enumerated() {
            do throws(RetortError) {
                let origin = SourceOrigin(line: number + 1, column: 1)
                values.append(try JSONCursor.parse(Array(line), file: path, origin: origin))
            } catch {
                var error = error
                error.help = mending
                throw error
            }
        }
        return values
    }

    /// Keeps the file for this process as long as it is open. Where a file system has no locks, nothing is kept.
    /// - Returns: false when another has it.
    public func claim() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK }

    deinit {
        let wasClosed = isClosed.withLock { $0 }
        if !wasClosed { _ = calls.close(descriptor) }
    }

    /// Appends `line` and a newline.
    /// - Throws: exit 74 on a full disk or I/O error; the file then ends with the line before.
    public func append(line: String) throws(RetortError) { try append(Array((line + "\n").utf8)) }

    /// Appends bytes, all or none.
    /// - Throws: exit 74 on a full disk or I/O error; the file is then as it was before.
    public func append(_ bytes: [UInt8]) throws(RetortError) {
        let code = isClosed.withLock { isClosed -> Int32 in
            guard !isClosed else { return EBADF }
            let before = lseek(descriptor, 0, SEEK_END)
            let code = bytes.withUnsafeBytes { calls.writeAll($0, to: descriptor) }
            // A partial line would make the next one unreadable too. Devices have no length to restore.
            if code != 0, before >= 0 { _ = ftruncate(descriptor, before) }
            return code
        }
        guard code == 0 else { throw SystemErrors.output("write", path, code: code) }
    }

    /// Flushes to the disk.
    /// - Throws: exit 74 on I/O errors.
    public func synchronize() throws(RetortError) {
        let flushed = isClosed.withLock { $0 ? -Int(EBADF) : calls.synchronize(descriptor) }
        // Devices and pipes cannot be flushed and say EINVAL.
        guard flushed >= 0 || flushed == -Int(EINVAL) else {
            throw SystemErrors.output("write", path, code: Int32(truncatingIfNeeded: -flushed))
        }
    }

    /// Closes the file, reporting what a network file system reports only then.
    /// - Throws: exit 74 on I/O errors.
    public func close() throws(RetortError) {
        let closed = isClosed.withLock { isClosed -> Int in
            guard !isClosed else { return 0 }
            isClosed = true
            return calls.close(descriptor)
        }
        guard closed >= 0 else { throw SystemErrors.output("write", path, code: Int32(truncatingIfNeeded: -closed)) }
    }
}
