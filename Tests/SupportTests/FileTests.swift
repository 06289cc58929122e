import Glibc
@testable import RetortSupport
import Synchronization
import Testing

/// Counts system calls and lets the n-th fail.
private final class Fault: Sendable {
    let count = Mutex(0)
    let failAt: Int
    let code: Int32

    init(failAt: Int, code: Int32) {
        self.failAt = failAt
        self.code = code
    }

    /// The negative errno when this call is the one to fail.
    func next() -> Int? {
        count.withLock { count in
            count += 1
            return count == failAt ? -Int(code) : nil
        }
    }

    var calls: FileCalls {
        let real = FileCalls.real
        var calls = real
        calls.open = { path, flags in self.next() ?? real.open(path, flags) }
        // One byte short each time: every write is a short write.
        calls.write = { descriptor, bytes in
            let part = UnsafeRawBufferPointer(rebasing: bytes.prefix(max(bytes.count - 1, 1)))
            return self.next() ?? real.write(descriptor, part)
        }
        calls.synchronize = { descriptor in self.next() ?? real.synchronize(descriptor) }
        calls.close = { descriptor in
            let failure = self.next()
            let result = real.close(descriptor)
            return failure ?? result
        }
        calls.rename = { from, to in self.next() ?? real.rename(from, to) }
        return calls
    }
}

@Suite struct AtomicFileTests {
    @Test func writesAndReplaces() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a.bin")
        try AtomicFile.write([1, 2, 3], to: path)
        #expect(try InputFile.read(path, limit: 10) == [1, 2, 3])
        let file = try AtomicFile(path: path)
        try file.write("new ")
        try file.write([])
        try file.write("text")
        #expect(file.bytesWritten == 8)
        #expect(try InputFile.read(path, limit: 10) == [1, 2, 3])
        #expect(folder.names.count == 2)
        try file.commit()
        #expect(try InputFile.read(path, limit: 10) == bytes("new text"))
        #expect(folder.names == ["a.bin"])
        #expect(error { try file.write("more") }?.exit == .internalBug)
        #expect(error { try file.commit() }?.exit == .internalBug)
    }

    @Test func modeFollowsTheUmask() async {
        // The umask belongs to the process, so this one has its own.
        await #expect(processExitsWith: .success) {
            let folder = try TemporaryFolder()
            umask(0o027)
            try AtomicFile.write("x", to: folder.file("a"))
            var information = stat()
            #expect(stat(folder.file("a"), &information) == 0)
            #expect(information.st_mode & 0o777 == 0o640)
        }
    }

    @Test func discardAndDeinitLeaveNothing() throws {
        let folder = try TemporaryFolder()
        do {
            let file = try AtomicFile(path: folder.file("a"))
            try file.write("x")
            file.discard()
            file.discard()
            #expect(folder.names == [])
            let other = try AtomicFile(path: folder.file("b"))
            try other.write("x")
        }
        #expect(folder.names == [])
    }

    @Test func everyFailingCallLeavesTheOldFile() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("a")
        var outcomes: [ExitCode] = []
        var failAt = 1
        while true {
            try AtomicFile.write("old", to: path)
            let fault = Fault(failAt: failAt, code: ENOSPC)
            do {
                let file = try AtomicFile(path: path, calls: fault.calls)
                try file.write("abc")
                try file.commit()
                if fault.count.withLock({ $0 }) < failAt { break }
            } catch {
                outcomes.append(error.exit)
                #expect(error.why == "the disk is full")
                #expect(error.location?.file == path || error.location?.file == folder.path)
                let content = try InputFile.read(path, limit: 100)
                // After the rename only the directory's flush can fail.
                #expect(content == bytes("old") || (content == bytes("abc") && failAt > 6), "call \(failAt)")
            }
            #expect(folder.names == ["a"], "call \(failAt)")
            failAt += 1
        }
        // open, 2 short writes, fsync, close, rename, open directory, fsync directory; close directory is silent.
        #expect(outcomes == Array(repeating: .io, count: 8))
        #expect(failAt == 10)
    }

    @Test(arguments: [
        (EACCES, ExitCode.cannotCreate), (EROFS, .cannotCreate), (EDQUOT, .io), (EIO, .io), (ENOSPC, .io), (EFBIG, .io),
    ])
    func errorsHaveTheRightCode(code: Int32, exit: ExitCode) throws {
        let folder = try TemporaryFolder()
        let calls = Fault(failAt: 1, code: code).calls
        #expect(error { _ = try AtomicFile(path: folder.file("a"), calls: calls) }?.exit == exit)
    }

    @Test func interruptedCallsAreRepeated() throws {
        var results = [-1, -1, 5]
        let result = retrying {
            errno = EINTR
            return results.removeFirst()
        }
        #expect(result == 5)
    }

    @Test func aDeviceThatTakesNothingIsAnError() throws {
        let folder = try TemporaryFolder()
        var calls = FileCalls.real
        calls.write = { _, _ in 0 }
        let file = try AtomicFile(path: folder.file("a"), calls: calls)
        #expect(error { try file.write("x") }?.exit == .io)
    }

    @Test func refusesPlacesThatCannotHoldIt() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write("x", to: folder.file("file"))
        let places = [
            folder.file("none/a"), folder.file("file/a"), folder.path, "/dev/null", "", "/", folder.file(".."),
            folder.file("a\0b"), folder.file(String(repeating: "n", count: 256)),
        ]
        for place in places {
            let failure = error { try AtomicFile.write("x", to: place) }
            #expect(failure?.exit == .cannotCreate, "\(place)")
        }
        #expect(folder.names == ["file"])
    }

    @Test func unusualNamesWork() throws {
        let folder = try TemporaryFolder()
        for name in [String(repeating: "n", count: 255), "a b", "é😀", "new\nline", "-x", "'\"$`"] {
            try AtomicFile.write(name, to: folder.file(name))
            #expect(try InputFile.read(folder.file(name), limit: 1000) == bytes(name))
        }
    }

    @Test func replacesALinkAndNotItsTarget() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write("target", to: folder.file("target"))
        #expect(symlink(folder.file("target"), folder.file("link")) == 0)
        try AtomicFile.write("new", to: folder.file("link"))
        #expect(try InputFile.read(folder.file("target"), limit: 10) == bytes("target"))
        #expect(try InputFile.read(folder.file("link"), limit: 10) == bytes("new"))
    }

    static func mountTmpfs(_ path: String) -> Bool {
        mount("tmpfs", path, "tmpfs", 0, "size=64k") == 0
    }

    static func unmount(_ path: String) {
        umount2(path, Int32(MNT_DETACH))
    }

    /// Whether this process may mount a file system.
    static let canMount: Bool = {
        guard let folder = try? TemporaryFolder(), mountTmpfs(folder.path) else { return false }
        unmount(folder.path)
        return true
    }()

    /// A real full disk: a tmpfs of 64 KiB.
    @Test(.enabled(if: AtomicFileTests.canMount))
    func fullDisk() throws {
        let folder = try TemporaryFolder()
        #expect(Self.mountTmpfs(folder.path))
        defer { Self.unmount(folder.path) }
        let path = folder.file("a")
        try AtomicFile.write("old", to: path)
        let failure = error { try AtomicFile.write([UInt8](repeating: 1, count: 1 << 20), to: path) }
        #expect(failure?.exit == .io)
        #expect(failure?.why == "the disk is full")
        #expect(folder.names == ["a"])
        #expect(try InputFile.read(path, limit: 10) == bytes("old"))

        let log = try AppendFile(path: folder.file("log"))
        var lines = 0
        while lines < 1000 {
            do {
                try log.append(line: String(repeating: "x", count: 1000))
                lines += 1
            } catch {
                #expect(error.exit == .io)
                break
            }
        }
        // What is there is whole lines.
        let written = try InputFile.read(folder.file("log"), limit: 1 << 20)
        #expect(lines > 10 && lines < 1000 && written.count == lines * 1001 && written.last == 10)
    }
}

@Suite struct AppendFileTests {
    @Test func appendsLines() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("log")
        let first = try AppendFile(path: path)
        let second = try AppendFile(path: path)
        try first.append(line: "one")
        try second.append(line: "zwei é")
        try first.append(line: "")
        try first.synchronize()
        try first.close()
        try first.close()
        #expect(try InputFile.read(path, limit: 100) == bytes("one\nzwei é\n\n"))
        #expect(error { try first.append(line: "late") }?.exit == .io)
    }

    @Test func oneWritePerLine() throws {
        let folder = try TemporaryFolder()
        let counter = Counter()
        var calls = FileCalls.real
        calls.write = { descriptor, bytes in
            counter.increment()
            return FileCalls.real.write(descriptor, bytes)
        }
        let file = try AppendFile(path: folder.file("log"), calls: calls)
        try file.append(line: String(repeating: "y", count: 100_000))
        try file.append(line: "z")
        #expect(counter.value == 2)
    }

    @Test func aPartialLineIsTakenBack() throws {
        let folder = try TemporaryFolder()
        let counter = Counter()
        var calls = FileCalls.real
        calls.write = { descriptor, bytes in
            counter.increment()
            switch counter.value {
            case 2: return FileCalls.real.write(descriptor, UnsafeRawBufferPointer(rebasing: bytes.prefix(3)))
            case 3: return -Int(ENOSPC)
            default: return FileCalls.real.write(descriptor, bytes)
            }
        }
        let file = try AppendFile(path: folder.file("log"), calls: calls)
        try file.append(line: "first")
        let failure = error { try file.append(line: "second") }
        #expect(failure?.exit == .io)
        #expect(failure?.why == "the disk is full")
        try file.append(line: "third")
        #expect(try InputFile.read(folder.file("log"), limit: 100) == bytes("first\nthird\n"))
    }

    @Test func fullDevice() throws {
        let file = try AppendFile(path: "/dev/full")
        let failure = error { try file.append(line: "x") }
        #expect(failure?.exit == .io)
        #expect(
            failure?.description == """
                error: cannot write '/dev/full'
                  --> /dev/full
                  the disk is full
                  help: Free some space or choose another disk; nothing else was changed.
                """)
    }

    @Test func refusesLinksAndMissingFolders() throws {
        let folder = try TemporaryFolder()
        #expect(symlink("/dev/null", folder.file("link")) == 0)
        #expect(error { _ = try AppendFile(path: folder.file("link")) }?.exit == .cannotCreate)
        #expect(error { _ = try AppendFile(path: folder.file("none/log")) }?.exit == .cannotCreate)
        #expect(error { _ = try AppendFile(path: folder.path) }?.exit == .cannotCreate)
    }
}

final class Counter: Sendable {
    private let count = Mutex(0)
    func increment() { count.withLock { $0 += 1 } }
    var value: Int { count.withLock { $0 } }
}

@Suite struct InputFileTests {
    @Test func readsRanges() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write("0123456789", to: folder.file("a"))
        let file = try InputFile(path: folder.file("a"))
        #expect(file.size == 10)
        #expect(try file.read(offset: 3, count: 4) == bytes("3456"))
        #expect(try file.read(offset: 10, count: 0) == [])
        for (offset, count) in [(8, 3), (11, 1), (-1, 1), (Int.max, 1), (0, Int.max), (0, -1)] {
            #expect(error { _ = try file.read(offset: offset, count: count) }?.exit == .badData, "\(offset) \(count)")
        }
    }

    @Test func errorsHaveTheRightCode() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write("0123456789", to: folder.file("a"))
        #expect(mkfifo(folder.file("pipe"), 0o600) == 0)
        let failures: [(String, ExitCode, String)] = [
            (folder.file("none"), .missingInput, "there is no such file or directory"),
            (folder.file("a/b"), .missingInput, "a part of the path is not a directory"),
            (folder.path, .badData, "it is a directory; a file is needed here"),
            (folder.file("pipe"), .badData, "it is not a regular file"),
            ("/dev/zero", .badData, "it is not a regular file"),
            (folder.file("a") + "\0x", .missingInput, ""),
            ("", .missingInput, "there is no such file or directory"),
        ]
        for (path, exit, why) in failures {
            let failure = error { _ = try InputFile.read(path, limit: 100) }
            #expect(failure?.exit == exit, "\(path)")
            #expect(failure?.why == why, "\(path)")
        }
        let failure = error { _ = try InputFile.read(folder.file("a"), limit: 9) }
        #expect(failure?.exit == .badData)
        #expect(failure?.why == "it has 10 B; the limit here is 9 B")
    }

    @Test func aFileThatShrinksIsAnError() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write("0123456789", to: folder.file("a"))
        let file = try InputFile(path: folder.file("a"))
        #expect(truncate(folder.file("a"), 4) == 0)
        #expect(error { _ = try file.readAll(limit: 100) }?.exit == .badData)
    }

    @Test func hugeRequestsAreErrors() throws {
        #expect(
            error {
                _ = try Allocation.array(count: 1 << 59, of: "t") { (_: UnsafeMutableBufferPointer<UInt8>) in }
            }?.exit == .badData)
        // A sparse file claims 2^50 bytes; no machine gives that memory.
        let folder = try TemporaryFolder()
        try AtomicFile.write("", to: folder.file("a"))
        guard truncate(folder.file("a"), 1 << 43) == 0 else { return }
        let file = try InputFile(path: folder.file("a"))
        #expect(error { _ = try file.read(offset: 0, count: 1 << 43) }?.exit == .badData)
    }
}

@Suite struct FolderTests {
    @Test func createsExclusively() throws {
        let folder = try TemporaryFolder()
        defer { rmdir(folder.file("a")) }
        #expect(try Folder.create(folder.file("a")) == .created)
        #expect(try Folder.create(folder.file("a")) == .alreadyExists)
        #expect(Folder.exists(folder.file("a")))
        #expect(error { _ = try Folder.create(folder.file("x/y")) }?.exit == .cannotCreate)
    }

    @Test func createsParents() throws {
        let folder = try TemporaryFolder()
        defer { for name in ["a/b/c", "a/b", "a"] { rmdir(folder.file(name)) } }
        try Folder.createWithParents(folder.file("a//b/c/"))
        try Folder.createWithParents(folder.file("a/b/c"))
        #expect(Folder.exists(folder.file("a/b/c")))
        try AtomicFile.write("x", to: folder.file("file"))
        #expect(error { try Folder.createWithParents(folder.file("file/d")) }?.exit == .cannotCreate)
    }
}
