import Glibc

/// A regular file opened for reading at any offset (`pread`), never memory-mapped: a file that shrinks while it is read
/// gives an error here, where a mapping would give SIGBUS. Safe to use from several threads.
public final class InputFile: Sendable {
    /// The path it was opened by.
    public let path: String
    /// The length when it was opened, in bytes.
    public let size: Int
    private let descriptor: Int32

    /// - Throws: exit 66 when it is not there or not readable, 65 when it is a directory or not a regular file, 74 on
    ///   I/O errors.
    public init(path: String) throws(RetortError) {
        try checkPath(path, isInput: true)
        // O_NONBLOCK: opening a pipe must fail below instead of waiting for a writer. Regular files ignore it.
        let opened = retrying { Int(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) }
        guard opened >= 0 else {
            throw SystemErrors.input("open", path, code: Int32(truncatingIfNeeded: -opened))
        }
        let descriptor = Int32(truncatingIfNeeded: opened)
        var information = stat()
        let status = fstat(descriptor, &information)
        let statusCode = errno
        let kind = information.st_mode & S_IFMT
        guard status == 0, kind == S_IFREG else {
            close(descriptor)
            if status != 0 { throw SystemErrors.input("open", path, code: statusCode) }
            if kind == S_IFDIR { throw SystemErrors.input("open", path, code: EISDIR) }
            throw .badData(
                "cannot open \(path.quoted(limit: 200))", at: RetortError.Location(file: path),
                why: "it is not a regular file", help: "Save the data to a file first; pipes and devices are not read.")
        }
        self.path = path
        self.size = Int(information.st_size)
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    /// Reads a whole file of at most `limit` bytes.
    /// - Throws: exit 66 when it is not there, 65 when it is a directory, not a regular file or longer than `limit`,
    ///   74 on I/O errors.
    public static func read(_ path: String, limit: Int) throws(RetortError) -> [UInt8] {
        try InputFile(path: path).readAll(limit: limit)
    }

    /// Reads the whole file, of at most `limit` bytes. Throws as `read(_:limit:)`.
    public func readAll(limit: Int) throws(RetortError) -> [UInt8] {
        guard size <= limit else {
            throw .badData(
                "\(path.quoted(limit: 200)) is too large", at: RetortError.Location(file: path),
                why: "it has \(NumberFormat.bytes(size)); the limit here is \(NumberFormat.bytes(limit))")
        }
        return try read(offset: 0, count: size)
    }

    /// Reads exactly `count` bytes from `offset`.
    /// - Throws: exit 65 when the file ends before, or the memory cannot be had; 74 on I/O errors.
    public func read(offset: Int, count: Int) throws(RetortError) -> [UInt8] {
        try Allocation.array(count: count, of: path) { (buffer) throws(RetortError) in
            try read(into: UnsafeMutableRawBufferPointer(buffer), offset: offset)
        }
    }

    /// Fills `buffer` with the bytes from `offset` on.
    /// - Throws: exit 65 when the file ends before the buffer is full, 74 on I/O errors.
    public func read(into buffer: UnsafeMutableRawBufferPointer, offset: Int) throws(RetortError) {
        let (end, overflow) = offset.addingReportingOverflow(buffer.count)
        guard offset >= 0, !overflow, end <= size else {
            throw endsEarly(needed: overflow ? Int.max : end)
        }
        var done = 0
        while done < buffer.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let received = retrying { pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done)) }
            guard received >= 0 else {
                throw SystemErrors.input("read", path, code: Int32(truncatingIfNeeded: -received))
            }
            guard received > 0 else { throw endsEarly(needed: end) }
            done += received
        }
    }

    private func endsEarly(needed: Int) -> RetortError {
        .badData(
            "\(path.quoted(limit: 200)) ends too early", at: RetortError.Location(file: path),
            why: "\(needed) bytes are needed; the file has \(size), or became shorter while it was read",
            help: "Perhaps an incomplete download, or another program is writing the file.")
    }
}
