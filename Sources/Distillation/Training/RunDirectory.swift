import Foundation
import RetortModels
import RetortRuntime
import RetortSupport

/// The directory of a run: what was asked, what happened, what came out. Its layout is a contract (DESIGN, "Contracts").
///
/// A run is a pure function of its resolved recipe and device, so a run that was stopped goes on where its last finished seed of an
/// arm left off: `results of a seed` are written last, after its model.
public final class RunDirectory {
    public let path: String
    private let manifest: JSON
    private var metrics: AppendFile
    private let log: AppendFile
    /// Whether a part of the run was there already.
    private let isReopened: Bool

    static let manifestFormat = "retort-run-1"

    /// Creates the directory, or reopens it when it holds the same run, unfinished.
    ///
    /// - `output`: nil chooses `runs/<recipe>-<date>-<n>`.
    /// - Throws: `RetortError` 73 when the directory holds something else or cannot be created, 74 on a full disk.
    public convenience init(output: String?, recipe: Recipe, device: Device) throws {
        try self.init(
            output: output, name: recipe.name, recipe: recipe.node, dataHash: try recipe.data.contentHash(),
            device: device)
    }

    /// Of a recipe of any family.
    init(output: String?, name: String, recipe: RecipeNode, dataHash: String, device: Device) throws {
        let resolved = recipe.yaml()
        let identity: JSON = [
            "format": .string(Self.manifestFormat), "recipe": .string(name),
            "recipe_sha256": .string(ContentHash.hexadecimal(of: Array(resolved.utf8))),
            "data_sha256": .string(dataHash),
            "device": .string(device.description), "device_summary": .string(device.summary),
            "retort": .string(retortVersion),
        ]
        path = try output.map { try Self.claim($0, identity) } ?? Self.fresh(name)
        manifest = identity
        log = try AppendFile(path: path + "/" + Self.logName)
        guard log.claim() else {
            throw Self.refusal(path, "another retort is at work in it")
        }
        let metricsFile = path + "/metrics.jsonl"
        isReopened = FileManager.default.fileExists(atPath: metricsFile)
        metrics = try AppendFile(path: metricsFile)
        // Early, so that what a full disk ends here is known as this run.
        try setStatus("running")
        try AtomicFile.write(resolved, to: path + "/recipe.resolved.yaml")
        try AtomicFile.write(EnvironmentFacts.json(device).text(.pretty) + "\n", to: path + "/env.json")
    }

    /// The directory the user named: new, empty, or the same run unfinished.
    private static func claim(_ output: String, _ identity: JSON) throws -> String {
        let parent = URL(fileURLWithPath: output).deletingLastPathComponent().path
        try Folder.createWithParents(parent)
        if case .created = try Folder.create(output) { return output }
        let entries = (try? FileManager.default.contentsOfDirectory(atPath: output)) ?? []
        // What a run leaves that ends before its manifest: two files without a byte.
        let isBlank = entries.allSatisfy { name in
            [logName, "metrics.jsonl"].contains(name) && (try? InputFile(path: output + "/" + name))?.size == 0
        }
        if isBlank { return output }
        guard let old = try? JSON.read(output + "/manifest.json") else {
            throw refusal(output, "it is not empty and holds no run")
        }
        for key in ["format", "recipe_sha256", "data_sha256", "device_summary", "retort"]
        where old[key] != identity[key] {
            throw refusal(output, "it holds another run (its \(key) differs)")
        }
        if old["status"] == "finished" { throw refusal(output, "it holds this run, finished") }
        return output
    }

    private static let logName = "log.txt"

    private static func refusal(_ output: String, _ why: String) -> RetortError {
        .cannotCreate(
            "\(output.quoted(limit: 200)) is in use", why: why,
            help: "choose another --output; nothing in this directory was touched")
    }

    private static func fresh(_ recipe: String) throws -> String {
        try Folder.createWithParents("runs")
        let date = DateText.today
        for n in 1...9999 {
            let path = "runs/\(recipe)-\(date)-\(n)"
            if case .created = try Folder.create(path) { return path }
        }
        throw RetortError.cannotCreate(
            "runs/ holds 9999 runs of \(recipe) of today", help: "name a directory with --output")
    }

    /// `running`, `stopped`, `failed`, `finished`; all but the last go on from what is finished.
    func setStatus(_ status: String) throws {
        guard case .object(var object) = manifest else { return }
        object.set("status", .string(status))
        try AtomicFile.write(JSON.object(object).text(.pretty) + "\n", to: path + "/manifest.json")
    }

    /// One line of `metrics.jsonl`.
    func record(_ members: [(key: String, value: JSON)]) throws {
        try metrics.append(line: JSON.object(members).text())
    }

    /// Takes back the lines of metrics.jsonl about what is to be trained again, of a run that was stopped, or killed.
    /// - Parameters:
    ///   - generation: of several trainings of an arm's seed, the last excepted.
    ///   - count: how many lines of the arm's seed stay.
    /// - Throws: `RetortError` 65 for a file that is not one of ours, 74 when it cannot be written.
    func forget(_ role: String, _ seed: UInt64, generation: Int? = nil, keeping count: Int) throws {
        guard isReopened else { return }
        let file = metrics.path
        let lines = try AppendFile.wholeLines(of: file).split(separator: UInt8(ascii: "\n"))
        var own = 0
        let kept = try lines.enumerated().filter { number, line in
            let line = try JSONCursor.parse(
                Array(line), file: file, origin: SourceOrigin(line: number + 1, column: 1))
            guard try line.member("arm").string() == role, try line.member("seed").int() == Int(seed),
                try line.optional("generation")?.int() == generation
            else {
                return true
            }
            own += 1
            return own <= count
        }
        .map(\.element)
        guard kept.count < lines.count else { return }
        try AtomicFile.write(kept.flatMap { $0 + [UInt8(ascii: "\n")] }, to: file)
        metrics = try AppendFile(path: file)
    }

    /// One line of `log.txt`.
    func note(_ line: String) throws { try log.append(line: line) }

    // MARK: Arms and seeds

    func folder(_ role: String, _ seed: UInt64) -> String { "\(path)/\(role)/seed-\(seed)" }

    /// What an earlier, stopped run finished; nil when this seed of this arm is still to be done.
    func finished(_ role: String, _ seed: UInt64) throws -> SeedResult? {
        let file = folder(role, seed) + "/result.json"
        guard FileManager.default.fileExists(atPath: file) else { return nil }
        return try SeedResult(json: try JSON.read(file), file: file)
    }

    /// Writes the model, then the result: a result on disk means that the model is there too.
    /// - Parameters:
    ///   - preprocessing: what becomes of raw inputs before this model sees them.
    ///   - view: the part of them that it sees.
    ///   - classes: what its classes are called; nil where they have no names.
    ///   - type: what its weights are rounded to.
    func save(
        _ model: any ConfiguredModule, preprocessing: Preprocessing? = nil, seeing view: InputView = .whole,
        classes: ClassNames? = nil, _ result: SeedResult, role: String, projectors: ProjectorSet? = nil,
        as type: SavedType = .f32
    ) throws {
        try save(result, role: role, projectors: projectors) {
            try ModelDirectory.save(
                model, preprocessing: preprocessing, region: view.region, classes: classes, to: $0, as: type)
        }
    }

    /// Rounds what was trained together to what it will be saved as, so that the numbers of the run are those of its files. Where the type
    /// cannot hold a weight, all of it is saved as it is, and the run ends: what was learned is not lost for it.
    /// - Parameters:
    ///   - paths: where each of the models goes.
    ///   - save: writes the model of this number there, in f32.
    /// - Throws: `RetortError` 78 for a weight that the type cannot hold; 73 or 74.
    func round(
        _ models: [any Module], to type: SavedType, at paths: [String],
        save: (_ number: Int, _ path: String) throws -> Void
    ) throws {
        do {
            try type.roundWeights(of: models)
        } catch let error as RetortError where error.exit == .badData {
            for (number, path) in paths.enumerated() { try save(number, path) }
            let place = paths.joined(separator: ", ")
            throw RetortError.recipe(
                error.what, why: "student.save-dtype is \(type.rawValue); what was trained was saved in f32: \(place)",
                help: "take save-dtype: bf16, which has the range of f32, or use what was saved as it is")
        }
    }

    /// Writes the model, then the result.
    /// - Parameter model: writes it into the folder given.
    func save(
        _ result: SeedResult, role: String, projectors: ProjectorSet? = nil, model: (String) throws -> Void
    ) throws {
        let folder = folder(role, result.seed)
        try model(folder + "/final")
        if let projectors, !projectors.isEmpty {
            try ModelDirectory.saveWeights(of: projectors, to: folder + "/projectors.safetensors")
        }
        try AtomicFile.write(result.json.text() + "\n", to: folder + "/result.json")
    }

    /// Runs everything, then writes results and report. When a signal stops it, says how to go on. What ends it is in log.txt too.
    func finishing(_ body: () throws -> RunResults) throws -> RunResults {
        do {
            let results = try body()
            try finish(results)
            return results
        } catch let error as RetortError where error.exit == .stopped {
            try? noteEnd(error)
            try setStatus("stopped")
            throw RetortError.stopped(
                error.what, why: hasFinished ? "finished models are in \(path)" : "no model is finished yet",
                help: "the same command with --output \(path) goes on from there")
        } catch {
            // What ended the run is what is told, also where a full disk keeps line and status.
            try? noteEnd(error)
            try? setStatus("failed")
            throw error
        }
    }

    /// One line: "error: … --> … help: …".
    private func noteEnd(_ error: any Error) throws {
        let lines = "\(error)".split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
        try note((error is RetortError ? "" : "error: ") + lines.joined(separator: " "))
    }

    /// Whether any seed of any arm is.
    private var hasFinished: Bool {
        func names(_ folder: String) -> [String] {
            (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        }
        return names(path).contains { role in
            names(path + "/" + role).contains {
                FileManager.default.fileExists(atPath: "\(path)/\(role)/\($0)/result.json")
            }
        }
    }

    /// Writes results and report.
    func finish(_ results: RunResults) throws {
        try AtomicFile.write(results.fileJSON.text() + "\n", to: path + "/results.json")
        try Self.writeReport(results, to: path)
        try setStatus("finished")
    }

    /// Draws `report.html` into a run directory.
    public static func writeReport(_ results: RunResults, to path: String) throws {
        let facts = [
            ("Recipe", results.recipe), ("Device", results.deviceSummary),
            ("Seeds", results.seeds.map(String.init).joined(separator: ", ")), ("Retort", retortVersion),
        ]
        try AtomicFile.write(htmlReport(results, facts: facts), to: path + "/report.html")
    }

    /// The results of a finished run.
    /// - Throws: `RetortError` 66 when the directory holds none, 65 when the file is damaged.
    public static func results(in path: String) throws -> RunResults {
        guard Folder.exists(path) else {
            throw RetortError.missingInput("there is no run directory \(path.quoted(limit: 200))")
        }
        let file = path + "/results.json"
        guard FileManager.default.fileExists(atPath: file) else {
            guard FileManager.default.fileExists(atPath: path + "/manifest.json") else {
                throw RetortError.missingInput(
                    "\(path.quoted(limit: 200)) is no run directory", why: "it has no manifest.json")
            }
            throw RetortError.missingInput(
                "the run in \(path.quoted(limit: 200)) is not finished",
                help: "The command that began it goes on with it: retort train with the same recipe and --output.")
        }
        return try RunResults(json: try JSON.read(file), file: file)
    }
}

/// The version of this program; part of a run's identity.
public let retortVersion = "0.1.0"

/// Calendar dates without a locale.
enum DateText {
    /// `2026-11-21`, UTC.
    static var today: String { String(now.prefix(10)) }
    /// `2026-11-21T02:14:05Z`.
    static var now: String { Date.now.formatted(.iso8601) }
}

/// What of the machine can change a result or a time; never the whole environment, which may hold secrets.
public enum EnvironmentFacts {
    static let variables = [
        "RETORT_FAMILY", "RETORT_THREADS", "RETORT_CPU_LEVEL", "RETORT_OPENBLAS_CORETYPE", "OPENBLAS_CORETYPE",
        "OMP_NUM_THREADS",
        "RETORT_KERNEL_OPTIONS",
        "POCL_MAX_PTHREAD_COUNT", "OCL_ICD_VENDORS", "CUDA_VISIBLE_DEVICES",
    ]

    public static func json(_ device: Device) -> JSON {
        let info = ProcessInfo.processInfo
        let set = variables.compactMap { name in info.environment[name].map { (key: name, value: JSON.string($0)) } }
        return [
            "retort": .string(retortVersion), "date": .string(DateText.now), "device": .string(device.description),
            "device_summary": .string(device.summary), "system": .string(info.operatingSystemVersionString),
            "processors": .int(info.activeProcessorCount), "memory_bytes": .int(Int(clamping: info.physicalMemory)),
            "environment": .object(set),
        ]
    }
}
