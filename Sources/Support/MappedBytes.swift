import Glibc

/// The bytes of a `ScratchFile`, read as if they were memory: the system fetches what is looked at, and lets go of it when the room is
/// wanted. Safe to use from several threads.
///
/// Files of others are never read this way (see `InputFile`): one that becomes shorter would end the program by SIGBUS. This one has no name
/// by which anybody could do that.
public final class MappedBytes: Sendable {
    /// Bytes.
    public let count: Int
    /// nil: there are none, which cannot be mapped. Nobody writes there.
    private nonisolated(unsafe) let start: UnsafeRawPointer?

    /// What `mmap` returned for so many bytes; it is unmapped at the end.
    init(_ start: UnsafeRawPointer?, count: Int) {
        self.start = start
        self.count = count
    }

    deinit {
        if let start { munmap(UnsafeMutableRawPointer(mutating: start), count) }
    }

    /// Lends `body` the bytes, which begin at a page.
    public func withUnsafeBytes<Value>(_ body: (UnsafeRawBufferPointer) -> Value) -> Value {
        // Optimised code may let go of the object as soon as the address has been read.
        withExtendedLifetime(self) { body(UnsafeRawBufferPointer(start: start, count: count)) }
    }
}
