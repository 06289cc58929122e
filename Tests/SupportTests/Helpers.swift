import Glibc
@testable import RetortSupport
import Testing

/// A fresh directory under the system's temporary directory, removed with everything in it at the end.
final class TemporaryFolder {
    let path: String

    init() throws {
        let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        path = base + "/retort-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        #expect(try Folder.create(path) == .created)
    }

    deinit {
        for name in names { unlink(path + "/" + name) }
        rmdir(path)
    }

    func file(_ name: String) -> String { path + "/" + name }

    /// The names in the folder, hidden ones too, sorted.
    var names: [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

/// The error `body` throws; records an issue when it throws none.
func error(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> RetortError? {
    do {
        try body()
        Issue.record("no error was thrown", sourceLocation: sourceLocation)
        return nil
    } catch let error as RetortError {
        return error
    } catch {
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
