import Glibc

/// Directories.
public enum Folder {
    /// What `create` found.
    public enum Creation: Sendable, Equatable {
        /// The directory is new and ours.
        case created
        /// Something with this name was there before.
        case alreadyExists
    }

    /// Creates one directory, exclusively: of two processes that try, one gets `created`. Mode `0777 & ~umask`.
    /// - Throws: exit 73 when it cannot be created, 74 on a full disk or I/O error.
    public static func create(_ path: String) throws(RetortError) -> Creation {
        try checkPath(path, isInput: false)
        let result = retrying { Int(mkdir(path, 0o777)) }
        if result == -Int(EEXIST) { return .alreadyExists }
        guard result >= 0 else {
            throw SystemErrors.output("create the directory", path, code: Int32(truncatingIfNeeded: -result))
        }
        return .created
    }

    /// Creates a directory and the missing ones above it. An existing directory is fine.
    /// - Throws: exit 73 when one cannot be created or is a file, 74 on a full disk or I/O error.
    public static func createWithParents(_ path: String) throws(RetortError) {
        var end = path.startIndex
        while end < path.endIndex {
            // The next slash after at least one other character.
            let start = path[end...].firstIndex { $0 != "/" } ?? path.endIndex
            end = path[start...].firstIndex(of: "/") ?? path.endIndex
            let part = String(path[..<end])
            if start < end, try create(part) == .alreadyExists, !exists(part) {
                throw SystemErrors.output("create the directory", part, code: ENOTDIR)
            }
        }
    }

    /// True when `path` is a directory, or a link to one.
    public static func exists(_ path: String) -> Bool {
        var information = stat()
        return !path.utf8.contains(0) && stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
    }

    /// The names in a directory, files and directories alike, without `.` and `..`, in byte order: the same everywhere, whatever the
    /// language of the system.
    /// - Throws: exit 66 when it is not there or not readable, 65 when it is a file, a name is not UTF-8 or there are more than
    ///   `limit`, 74 on I/O errors.
    public static func names(in path: String, limit: Int = 1 << 24) throws(RetortError) -> [String] {
        try checkPath(path, isInput: true)
        guard let directory = opendir(path) else {
            guard errno != ENOTDIR || access(path, F_OK) != 0 else {
                throw .badData(
                    "cannot list \(path.quoted(limit: 200))", at: RetortError.Location(file: path),
                    why: "it is a file; a directory is needed here")
            }
            throw SystemErrors.input("list", path, code: errno)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(directory) else {
                guard errno == 0 else { throw SystemErrors.input("list", path, code: errno) }
                break
            }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(validating: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard let name else {
                throw .badData(
                    "a name in \(path.quoted(limit: 200)) is not valid UTF-8", at: RetortError.Location(file: path),
                    help: "Rename it.")
            }
            if name == "." || name == ".." { continue }
            names.append(name)
            guard names.count <= limit else {
                throw .badData(
                    "\(path.quoted(limit: 200)) holds too many names", at: RetortError.Location(file: path),
                    why: "the limit is \(limit)")
            }
        }
        return names.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    }

    /// Flushes a directory, so that names created in it survive a power failure.
    /// - Throws: exit 73 or 74.
    public static func synchronize(_ path: String) throws(RetortError) {
        try synchronize(path, calls: .real)
    }

    static func synchronize(_ path: String, calls: FileCalls) throws(RetortError) {
        let opened = calls.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard opened >= 0 else {
            throw SystemErrors.output("flush the directory", path, code: Int32(truncatingIfNeeded: -opened))
        }
        let descriptor = Int32(truncatingIfNeeded: opened)
        let flushed = calls.synchronize(descriptor)
        _ = calls.close(descriptor)
        // Some file systems cannot flush directories and say EINVAL; there is nothing more to do there.
        guard flushed >= 0 || flushed == -Int(EINVAL) else {
            throw SystemErrors.output("flush the directory", path, code: Int32(truncatingIfNeeded: -flushed))
        }
    }
}
