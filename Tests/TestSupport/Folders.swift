import Foundation
import RetortSupport
import Synchronization
public import Testing

/// A fresh directory, removed with everything in it when the process ends: optimised code may let go of the object as soon as its
/// path has been asked for.
public final class ScratchFolder {
    public let path: String

    public init() throws {
        let base = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        path = base + "/retort-test-\(ProcessInfo.processInfo.processIdentifier)-\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        Self.made.withLock { $0.append(path) }
        _ = Self.removesAtExit
    }

    private static let made = Mutex<[String]>([])
    private static let removesAtExit: Void = {
        atexit {
            for path in ScratchFolder.made.withLock({ $0 }) { try? FileManager.default.removeItem(atPath: path) }
        }
    }()

    public func path(_ name: String) -> String { path + "/" + name }

    /// Writes a text file and returns its path.
    @discardableResult
    public func write(_ text: String, to name: String) throws -> String {
        try write(Array(text.utf8), to: name)
    }

    /// Writes a file, in sub-folders that are made on the way, and returns its path.
    @discardableResult
    public func write(_ content: [UInt8], to name: String) throws -> String {
        if let slash = name.lastIndex(of: "/") { try folder(String(name[..<slash])) }
        try AtomicFile.write(content, to: path(name))
        return path(name)
    }

    /// Makes a sub-folder and the missing ones above it; returns its path.
    @discardableResult
    public func folder(_ name: String) throws -> String {
        try Folder.createWithParents(path(name))
        return path(name)
    }
}

/// Every file below a directory, by its path from there, with its bytes: to see that nothing was touched, or that two are equal.
public func contents(of folder: String) throws -> [String: Data] {
    guard let paths = FileManager.default.enumerator(atPath: folder) else { return [:] }
    var files: [String: Data] = [:]
    for case let path as String in paths {
        let full = folder + "/" + path
        var isDirectory: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: full, isDirectory: &isDirectory)
        if !isDirectory.boolValue { files[path] = try Data(contentsOf: URL(fileURLWithPath: full)) }
    }
    return files
}

/// Places in the project's tree.
public enum Project {
    /// The folder with Package.swift.
    public static let root: String = {
        let parts = #filePath.split(separator: "/").dropLast(3)
        return "/" + parts.joined(separator: "/")
    }()
    public static func recipe(_ name: String) -> String { root + "/recipes/" + name }
    /// A reference result: of the folder that RETORT_GOLDEN names where that has it, else of the project's own.
    public static func golden(_ name: String) -> String {
        let named = ProcessInfo.processInfo.environment["RETORT_GOLDEN"].map { $0 + "/" + name }
        if let named, FileManager.default.fileExists(atPath: named) { return named }
        return root + "/Tests/Fixtures/golden/" + name
    }
    /// RETORT_SLOW=1: the suites that take minutes.
    public static let runsSlowTests = ProcessInfo.processInfo.environment["RETORT_SLOW"] == "1"
}

/// The error `body` throws, when it is of this type; records an issue otherwise.
public func thrown<E: Error>(
    _ type: E.Type, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> E? {
    do {
        try body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
    } catch let error as E {
        return error
    } catch {
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
    }
    return nil
}
