import Glibc

/// The system calls the writers make, as values: the seam through which a test makes any one of them fail.
///
/// Every call returns its result, or the negative errno, and is repeated when a signal interrupts it.
struct FileCalls: Sendable {
    /// `open(path, flags, 0666)`; the kernel applies the umask.
    var open: @Sendable (_ path: String, _ flags: Int32) -> Int = { path, flags in
        retrying { Int(Glibc.open(path, flags, 0o666)) }
    }
    /// A new file, to be read and written, that nobody else may open, whatever the umask says.
    var openPrivate: @Sendable (_ path: String) -> Int = { path in
        let flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC
        return retrying { Int(Glibc.open(path, flags, 0o600)) }
    }
    var write: @Sendable (_ descriptor: Int32, _ bytes: UnsafeRawBufferPointer) -> Int = { descriptor, bytes in
        retrying { Glibc.write(descriptor, bytes.baseAddress, bytes.count) }
    }
    var synchronize: @Sendable (_ descriptor: Int32) -> Int = { descriptor in
        retrying { Int(fsync(descriptor)) }
    }
    /// Never repeated: on Linux the descriptor is gone even when close reports EINTR.
    var close: @Sendable (_ descriptor: Int32) -> Int = { descriptor in
        Glibc.close(descriptor) == 0 || errno == EINTR ? 0 : -Int(errno)
    }
    var rename: @Sendable (_ from: String, _ to: String) -> Int = { from, to in
        retrying { Int(Glibc.rename(from, to)) }
    }
    var unlink: @Sendable (_ path: String) -> Int = { path in
        retrying { Int(Glibc.unlink(path)) }
    }

    static let real = FileCalls()

    /// Writes all of `bytes`, in as many calls as the system needs.
    /// - Returns: 0, or the positive errno of the call that failed.
    func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Int32 {
        var rest = bytes
        while !rest.isEmpty {
            let written = write(descriptor, rest)
            guard written >= 0 else { return Int32(truncatingIfNeeded: -written) }
            // POSIX allows 0 for a device that takes nothing; without this the loop would never end.
            guard written > 0 else { return EIO }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
        }
        return 0
    }
}

/// Repeats `call` while a signal interrupts it. Returns its result, or the negative errno when it is below zero.
func retrying(_ call: () -> Int) -> Int {
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { return -Int(code) }
    }
}

/// Opens a new file in `directory` under a name that nothing has. The name is short and repeats no other, which may already be as long as
/// names can be.
/// - Returns: its path, and what `open` returned for it: exclusively, so that a name that is taken is `-EEXIST`.
func openTemporary(in directory: String, _ open: (_ path: String) -> Int) -> (path: String, opened: Int) {
    var path = ""
    var opened = -Int(EEXIST)
    for _ in 0..<16 where opened == -Int(EEXIST) {
        let random = String(UInt64.random(in: 0...UInt64.max), radix: 16)
        path = directory + "/.retort-\(getpid())-\(random).tmp"
        opened = open(path)
    }
    return (path, opened)
}

/// Swift passes a string to C up to its first NUL, which would name another file than the one checked.
func checkPath(_ path: String, isInput: Bool) throws(RetortError) {
    guard path.utf8.contains(0) else { return }
    let what = "the path \(path.quoted(limit: 200)) contains a NUL byte"
    throw isInput ? .missingInput(what) : .cannotCreate(what)
}
