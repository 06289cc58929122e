import Glibc
@testable import RetortSupport
import Testing

@Suite struct ScratchFileTests {
    /// Appends bytes.
    private func append(_ bytes: [UInt8], to file: ScratchFile) throws {
        try bytes.withUnsafeBytes { try file.append($0) }
    }

    /// The lines of `/proc/self/maps` with a text: what this process has mapped.
    private func mappings(of text: String) -> Int {
        let descriptor = open("/proc/self/maps", O_RDONLY | O_CLOEXEC)
        defer { close(descriptor) }
        var lines: [UInt8] = []
        var part = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(descriptor, &part, part.count)
            guard count > 0 else { break }
            lines += part[..<count]
        }
        return String(decoding: lines, as: UTF8.self).split(separator: "\n").count { $0.contains(text) }
    }

    @Test func isReadWithoutAName() throws {
        let folder = try TemporaryFolder()
        let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 * 31 / 8) }
        var mapped: MappedBytes?
        do {
            let file = try ScratchFile(in: folder.path)
            #expect(folder.names == [])
            try append(Array(content[..<5]), to: file)
            try append([], to: file)
            try append(Array(content[5...]), to: file)
            #expect(file.bytesWritten == content.count && file.folder == folder.path)
            mapped = try file.mapped()
        }
        // The file is closed by now, and still there for whoever reads it.
        #expect(folder.names == [])
        #expect(mapped?.count == content.count)
        #expect(mapped?.withUnsafeBytes { Array($0) } == content)
        // A folder that is a link has another path there, and the same name.
        let name = String(folder.path.split(separator: "/").last ?? "")
        withExtendedLifetime(mapped) { #expect(mappings(of: name) == 1) }
        mapped = nil
        #expect(mappings(of: name) == 0)
    }

    @Test func anEmptyOneHasNoBytes() throws {
        let folder = try TemporaryFolder()
        let mapped = try ScratchFile(in: folder.path).mapped()
        #expect(mapped.count == 0 && mapped.withUnsafeBytes { $0.count } == 0)
    }

    @Test func nobodyElseMayOpenIt() throws {
        let folder = try TemporaryFolder()
        var calls = FileCalls.real
        calls.openPrivate = { path in
            let opened = FileCalls.real.openPrivate(path)
            var information = stat()
            #expect(stat(path, &information) == 0)
            #expect(information.st_mode & 0o777 == 0o600)
            return opened
        }
        _ = try ScratchFile(in: folder.path, calls: calls)
        #expect(folder.names == [])
    }

    @Test func aFolderThatTakesNoFileIsRefused() throws {
        let folder = try TemporaryFolder()
        try AtomicFile.write("x", to: folder.file("file"))
        for place in [folder.file("none"), folder.file("file"), "/proc", folder.path + "\0"] {
            #expect(error { _ = try ScratchFile(in: place) }?.exit == .cannotCreate, "\(place)")
        }
        let failure = error { _ = try ScratchFile(in: "/proc/none") }
        #expect(
            failure?.description == """
                error: cannot create a temporary file in '/proc/none'
                  --> /proc/none
                  there is no such file or directory
                  help: Name a folder that you may write to in the environment variable TMPDIR.
                """)
    }

    @Test(arguments: [(EACCES, ExitCode.cannotCreate), (EROFS, .cannotCreate), (ENOSPC, .io), (EDQUOT, .io)])
    func whatTheSystemSaysHasTheRightCode(code: Int32, exit: ExitCode) throws {
        let folder = try TemporaryFolder()
        var opening = FileCalls.real
        opening.openPrivate = { _ in -Int(code) }
        #expect(error { _ = try ScratchFile(in: folder.path, calls: opening) }?.exit == exit)
        var naming = FileCalls.real
        naming.unlink = { path in
            _ = FileCalls.real.unlink(path)
            return -Int(code)
        }
        #expect(error { _ = try ScratchFile(in: folder.path, calls: naming) }?.exit == exit)
        var flushing = FileCalls.real
        flushing.synchronize = { _ in -Int(code) }
        let file = try ScratchFile(in: folder.path, calls: flushing)
        try append([1], to: file)
        #expect(error { _ = try file.mapped() }?.exit == exit)
    }

    @Test func aFullDiskHasAWayOut() throws {
        let folder = try TemporaryFolder()
        let counter = Counter()
        var calls = FileCalls.real
        calls.write = { descriptor, bytes in
            counter.increment()
            return counter.value == 1 ? FileCalls.real.write(descriptor, bytes) : -Int(ENOSPC)
        }
        let file = try ScratchFile(in: folder.path, calls: calls)
        try append([1, 2, 3], to: file)
        let failure = error { try append([4], to: file) }
        #expect(failure?.exit == .io && failure?.why == "the disk is full" && failure?.location?.file == folder.path)
        #expect(failure?.help.hasSuffix("a folder on a disk with room in the environment variable TMPDIR.") == true)
        #expect(file.bytesWritten == 3 && folder.names == [])
    }

    /// A real full disk: a tmpfs of 64 KiB.
    @Test(.enabled(if: AtomicFileTests.canMount))
    func fullDisk() throws {
        let folder = try TemporaryFolder()
        #expect(AtomicFileTests.mountTmpfs(folder.path))
        defer { AtomicFileTests.unmount(folder.path) }
        let file = try ScratchFile(in: folder.path)
        let failure = error { try append([UInt8](repeating: 1, count: 1 << 20), to: file) }
        #expect(failure?.exit == .io && failure?.why == "the disk is full")
        #expect(folder.names == [])
    }

    @Test func theFolderIsNamedOrNot() {
        #expect(ScratchFile.usualFolder(environment: { $0 == "TMPDIR" ? "/named" : nil }) == "/named")
        let usual = ["/var/tmp", "/tmp"]
        #expect(usual.contains(ScratchFile.usualFolder(environment: { _ in nil })))
        #expect(usual.contains(ScratchFile.usualFolder(environment: { _ in "" })))
    }
}
