import Foundation
import RetortSupport

/// A folder of reference results: `ops/*.json`, `losses/*.json` and `misc/*.json`, each with its safetensors file
/// beside it.
public struct GoldenFolder: Sendable {
    /// The groups that hold suites of cases; other folders of a golden set (models, tokenizers, …) have forms of their
    /// own.
    static let groups = ["ops", "losses", "misc"]

    public let path: String
    /// Every suite in it, group by group, by name.
    public let suites: [GoldenSuite]

    /// - Throws: exit 66 when there is no such folder or it holds no suite, 65 when a suite is malformed.
    public init(_ path: String) throws {
        self.path = path
        var suites: [GoldenSuite] = []
        for group in Self.groups {
            let folder = path + "/" + group
            let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
            for name in names where name.hasSuffix(".json") {
                suites.append(try GoldenSuite(path: folder + "/" + name, group: group))
            }
        }
        guard !suites.isEmpty else {
            throw RetortError.missingInput(
                "there are no golden suites in \(path.quoted(limit: 400))",
                help: "Suites are \(Self.groups.map { $0 + "/*.json" }.joined(separator: ", ")) in that folder.")
        }
        self.suites = suites
    }

    /// The folder that `RETORT_GOLDEN` names, else `Tests/Fixtures/golden` here or in the nearest folder above.
    public static func find() throws -> GoldenFolder {
        if let named = ProcessInfo.processInfo.environment["RETORT_GOLDEN"], !named.isEmpty {
            return try GoldenFolder(named)
        }
        let start = FileManager.default.currentDirectoryPath
        var folder = start
        while true {
            let candidate = (folder == "/" ? "" : folder) + "/Tests/Fixtures/golden"
            if Folder.exists(candidate) { return try GoldenFolder(candidate) }
            guard folder != "/", !folder.isEmpty else { break }
            folder = (folder as NSString).deletingLastPathComponent
        }
        throw RetortError.missingInput(
            "there is no folder Tests/Fixtures/golden in \(start.quoted(limit: 400)) or above it",
            help: "Run this in a checkout of retort, or name a folder of reference results in RETORT_GOLDEN.")
    }

    /// The suites called `name`: "softmax" or "ops/softmax"; all when nil.
    /// - Throws: exit 64 when there is none.
    func suites(named name: String?) throws -> [GoldenSuite] {
        guard let name else { return suites }
        let found = suites.filter { $0.name == name || $0.family == name }
        guard found.isEmpty else { return found }
        let known = suites.flatMap { [$0.name, $0.family] }
        throw RetortError.usage(
            "there is no golden suite \(name.quoted(limit: 200))",
            help: EditDistance.suggestion(for: name, among: known))
    }
}
