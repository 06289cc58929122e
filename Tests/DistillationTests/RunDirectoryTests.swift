import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A whole distillation that takes a fraction of a second: three classes of points around three corners.
struct SmallRun {
    let folder: ScratchFolder
    let recipePath: String

    init(_ backend: TestBackend) throws {
        folder = try ScratchFolder()
        let random = Philox(seed: 3, stream: Philox.stream("small run"))
        var csv = "a,b,c,d,label\n"
        for row in 0..<90 {
            let label = row % 3
            let values = (0..<4).map { Float($0 == label ? 1 : 0) + random.uniform(UInt64(row * 4 + $0), -0.6, 0.6) }
            csv += values.map { "\($0)" }.joined(separator: ",") + ",\(label)\n"
        }
        try folder.write(csv, to: "rows.csv")
        recipePath = try folder.write(RecipeTests.good, to: "small.yaml")
        self.backend = backend
    }

    private let backend: TestBackend

    func recipe(_ overrides: String...) throws -> Recipe { try Recipe.read(recipePath, overrides: overrides) }

    func start(_ output: String, _ overrides: String...) throws -> TrainingRun {
        try TrainingRun(
            try Recipe.read(recipePath, overrides: overrides), device: try backend.device(),
            output: folder.path(output),
            progress: Progress(quiet: true))
    }
}

@Suite("Run directory")
struct RunDirectoryTests {
    /// Everything about a run that does not depend on how fast or when it ran.
    private func facts(_ results: RunResults) -> [String] {
        results.arms.flatMap { arm in
            arm.seeds.map { seed in
                let times = [Metric.latency, .peakBytes, .stepTime].map(\.rawValue)
                let metrics = seed.metrics.filter { !times.contains($0.key) }
                let curve = seed.curve.map { "\($0.epoch) \($0.step) \($0.loss) \($0.accuracy ?? -1)" }
                return "\(arm.role) \(seed.seed) \(metrics.sorted { $0.key < $1.key }) \(seed.confusion) \(curve)"
            }
        }
    }

    private func models(_ folder: String) throws -> [String: Data] {
        try contents(of: folder).filter { $0.key.contains("/final/") }
    }

    @Test("who stops a run is told of finished models only where there are some")
    func finishedModels() throws {
        let small = try SmallRun(.cpu)
        let directory = try RunDirectory(
            output: small.folder.path("run"), recipe: small.recipe(), device: TestBackend.cpu.device())
        func stopped() -> RetortError? {
            thrown(RetortError.self) { _ = try directory.finishing { throw RetortError.stopped("after step 1") } }
        }
        #expect(stopped()?.why == "no model is finished yet")
        let result = SeedResult(seed: 0, metrics: [:], curve: [], confusion: [])
        try directory.save(result, role: "alone") { try Folder.createWithParents($0) }
        #expect(stopped()?.why == "finished models are in \(directory.path)")
    }

    @Test("a run that an error ends says so, and goes on when it can")
    func failed() throws {
        let small = try SmallRun(.cpu)
        // Steps of this length leave the finite numbers at once.
        let hot = "train.optimizer={kind: sgd, lr: 1000000}"
        let error = thrown(RetortError.self) { _ = try small.start("run", hot).run() }
        #expect(error?.exit == .diverged)
        // Which training, and the same in the log.
        #expect(error?.what.contains(" seed 0: training diverged: ") == true, "\(String(describing: error))")
        let log = try String(contentsOfFile: small.folder.path("run/log.txt"), encoding: .utf8)
        let last = try #require(log.split(separator: "\n").last)
        #expect(last.hasPrefix("error: " + (error?.what ?? "nothing")) && last.contains("help: lower"), "\(last)")
        let manifest = small.folder.path("run/manifest.json")
        #expect(try JSON.read(manifest)["status"] == "failed")
        // The same run is taken up again, and ends the same way: it is not refused as another's.
        #expect(thrown(RetortError.self) { _ = try small.start("run", hot).run() }?.exit == .diverged)
    }

    @Test(
        "peers that learn beside the student are kept beside it, and measured: a row each", arguments: TestBackend.fast)
    func peers(_ backend: TestBackend) throws {
        let small = try SmallRun(backend)
        let arms =
            "arms={pair: {objective: [{loss: cross-entropy}, {loss: forward-kl}], "
            + "scheme: {kind: mutual, peers: 3, others: [{kind: mlp, layers: [4, 9, 3]}]}}}"
        let results = try small.start("run", arms).run()
        let folder = small.folder.path("run/pair/seed-0")
        let (peer, _) = try ModelDirectory.load(folder + "/peers/1", on: backend.device())
        let (own, _) = try ModelDirectory.load(folder + "/final", on: backend.device())
        #expect(peer.parameterCount == 4 * 9 + 9 + 9 * 3 + 3 && own.parameterCount != peer.parameterCount)
        let log = try String(contentsOfFile: small.folder.path("run/log.txt"), encoding: .utf8)
        #expect(log.contains("pair seed 0: peer 1 (75 parameters): accuracy "), "\(log)")

        // Each by its own size, over the seeds of its arm, with all that a student's row has but its training.
        #expect(results.arms.map(\.role) == ["teacher", "pair", "pair/peer-1", "pair/peer-2"])
        let size = { (role: String) in results.arms.first { $0.role == role }?.spread(.parameters)?.mean }
        #expect(size("pair/peer-1") == 75 && size("pair") == size("pair/peer-2"))
        let data = try DeviceRows(
            try small.recipe().data.load(teacher: nil).test, normalization: nil, on: backend.device())
        for (number, arm) in results.arms.dropFirst(2).enumerated() {
            #expect(arm.seeds.map(\.seed) == [0, 1] && arm.spread(.accuracy)?.deviation != nil)
            #expect(arm.spread(.bytes)?.mean == arm.spread(.parameters).map { $0.mean * 4 })
            #expect([Metric.macroF1, .agreement, .klToTeacher, .latency].allSatisfy { arm.spread($0) != nil })
            for seed in arm.seeds {
                let path = small.folder.path("run/pair/seed-\(seed.seed)/peers/\(number + 1)")
                let saved = try ModelDirectory.load(path, on: backend.device()).model
                let accuracy = try Evaluation(saved, data, on: backend.device()).accuracy
                #expect(seed.metrics[Metric.accuracy.rawValue] == accuracy, "\(path)")
            }
        }
        #expect(results.arms[1].seeds.allSatisfy { $0.peers.isEmpty })

        // A seed that was finished before brings its peers along, and one of an older retort has none.
        let finished = try SeedResult(json: try JSON.read(folder + "/result.json"), file: "result.json")
        #expect(finished.peers.compactMap { $0.metrics["parameters"] } == [75, Double(own.parameterCount)])
        let read = try RunDirectory.results(in: small.folder.path("run"))
        #expect(facts(read) == facts(results))
        #expect(
            summaryTable(read).contains("pair/peer-2") && read.summaryJSON.text().contains(#""role":"pair/peer-2""#))
        #expect(htmlReport(read, facts: []).contains("pair/peer-1"))
        var older = finished
        older.peers = []
        let rows = ArmResult(role: "pair", contract: [], seeds: [older, finished]).apart([["a"]])
        #expect(rows.map(\.seeds.count) == [2, 1, 1] && rows.map(\.contract) == [[], ["a"], []])
        #expect(ArmResult(role: "pair", contract: [], seeds: [older]).apart([["a"]]).map(\.role) == ["pair"])
    }

    @Test("the layout is the contract's", arguments: TestBackend.fast)
    func layout(_ backend: TestBackend) throws {
        let small = try SmallRun(backend)
        let results = try small.start("run").run()
        #expect(results.arms.map(\.role) == ["teacher", "alone", "taught"])
        #expect(results.arms.allSatisfy { $0.seeds.map(\.seed) == [0, 1] })
        let files = try contents(of: small.folder.path("run"))
        var expected: Set<String> = [
            "recipe.resolved.yaml", "env.json", "manifest.json", "metrics.jsonl", "log.txt", "report.html",
            "results.json",
        ]
        for role in ["teacher", "alone", "taught"] {
            for seed in 0...1 {
                for file in ["final/config.json", "final/model.safetensors", "result.json"] {
                    expected.insert("\(role)/seed-\(seed)/\(file)")
                }
            }
        }
        #expect(Set(files.keys) == expected)
        let manifest = try JSON.read(small.folder.path("run/manifest.json"))
        #expect(manifest["status"] == "finished" && manifest["recipe"] == "small")
        let lines = String(decoding: files["metrics.jsonl"]!, as: UTF8.self).split(separator: "\n")
        // Teacher 2 epochs, each arm 3, two seeds.
        #expect(lines.count == 2 * (2 + 3 + 3))
        for line in lines { _ = try JSON.parse(String(line), file: "metrics.jsonl") }
        let text = String(decoding: files["recipe.resolved.yaml"]!, as: UTF8.self)
        #expect(try RecipeReader.read(text, file: "resolved").yaml() == text)
        let read = try RunDirectory.results(in: small.folder.path("run"))
        #expect(facts(read) == facts(results))
    }

    /// Two feature vectors, and two feature maps.
    @Test("what a hint trains beside the student is saved beside its model, not in it", arguments: ["vectors", "maps"])
    func projectors(_ shape: String) throws {
        let small = try SmallRun(.cpu)
        let folder = small.folder
        var models = ["{kind: mlp, layers: [4, 8, 8, 3]}", "{kind: mlp, layers: [4, 5, 6, 3]}"]
        var expected: [String: [Int]] = ["taught.1.0.weight": [8, 6], "taught.1.0.bias": [8]]
        var data = "{kind: csv, path: rows.csv, label: label, test: {every: 5}}"
        if shape == "maps" {
            try SamplePictures(channels: 3, height: 8, width: 8).writeFolder(folder, "data", train: 24, test: 6)
            models = ["{kind: cnn, channels: [4, 5]}", "{kind: cnn, channels: [3, 2]}"]
            data = "{kind: images, path: data, height: 8, width: 8}"
            expected = ["conv.weight": [5, 2, 1, 1], "conv.bias": [5], "bn.weight": [5], "bn.bias": [5]]
            expected.merge(["bn.running_mean": [5], "bn.running_var": [5]]) { one, _ in one }
            expected = Dictionary(uniqueKeysWithValues: expected.map { ("taught.1.0." + $0.key, $0.value) })
        }
        let recipe = try folder.write(
            """
            data: \(data)
            teacher: {model: \(models[0])}
            student: {model: \(models[1])}
            arms:
              alone: {objective: [{loss: cross-entropy}]}
              taught: {objective: [{loss: cross-entropy}, {loss: fitnet, alpha: 1}]}
            train: {epochs: 2, batch: 8, optimizer: {kind: adam, lr: 0.01}}
            """, to: "hint.yaml")
        func start(_ output: String, _ overrides: String...) throws {
            _ = try TrainingRun(
                try Recipe.read(recipe, overrides: overrides), device: try TestBackend.cpu.device(),
                output: folder.path(output), progress: Progress(quiet: true)
            ).run()
        }
        try start("run")
        let files = try contents(of: folder.path("run"))
        let own = files.keys.filter { $0.hasPrefix("taught/seed-0/") }
        var saved = ["result.json", "projectors.safetensors", "final/config.json", "final/model.safetensors"]
        if shape == "maps" { saved.append("final/preprocessor_config.json") }
        #expect(Set(own) == Set(saved.map { "taught/seed-0/" + $0 }))
        #expect(files.keys.filter { $0.hasSuffix("projectors.safetensors") }.count == 1, "the other roles have none")
        func tensors(_ path: String) throws -> [String: [Int]] {
            Dictionary(
                uniqueKeysWithValues: try SafeTensors(path: folder.path(path)).tensors.map { ($0.name, $0.shape) })
        }
        #expect(try tensors("run/taught/seed-0/projectors.safetensors") == expected)
        // The model is what the arm without a hint has.
        #expect(
            try tensors("run/taught/seed-0/final/model.safetensors")
                == tensors("run/alone/seed-0/final/model.safetensors"))
        // They are trained: other bytes after fewer epochs.
        try start("short", "train.epochs=1")
        #expect(
            try contents(of: folder.path("short"))["taught/seed-0/projectors.safetensors"]
                != files["taught/seed-0/projectors.safetensors"])
    }

    @Test("two runs of one recipe are equal bit for bit", arguments: TestBackend.fast)
    func deterministic(_ backend: TestBackend) throws {
        let small = try SmallRun(backend)
        let (one, two) = (try small.start("one").run(), try small.start("two").run())
        #expect(facts(one) == facts(two))
        #expect(try models(small.folder.path("one")) == models(small.folder.path("two")))
        // The arms really differ, and the seeds too.
        #expect(Set(facts(one).map { $0.split(separator: "]")[0].dropFirst(9) }).count > 3)
    }

    /// What a stopped run leaves behind: everything of seed 0, and of seed 1 nothing, a teacher, or a model without its result.
    @Test("a run stopped after seed 0 goes on as if it had not been", arguments: TestBackend.fast, [0, 1, 2])
    func resume(_ backend: TestBackend, _ progress: Int) throws {
        let small = try SmallRun(backend)
        let whole = try small.start("whole").run()
        let stopped = small.folder.path("stopped")
        try FileManager.default.copyItem(atPath: small.folder.path("whole"), toPath: stopped)
        var lost = ["results.json", "report.html", "alone/seed-1", "taught/seed-1"]
        if progress == 0 { lost.append("teacher/seed-1") }
        if progress == 2 { lost[2] = "alone/seed-1/result.json" }
        for path in lost { try FileManager.default.removeItem(atPath: stopped + "/" + path) }
        let manifest = String(decoding: try contents(of: stopped)["manifest.json"]!, as: UTF8.self)
        try AtomicFile.write(manifest.replacing("finished", with: "stopped"), to: stopped + "/manifest.json")
        let old = try contents(of: stopped)

        let resumed = try small.start("stopped").run()
        #expect(facts(resumed) == facts(whole))
        #expect(try models(stopped) == models(small.folder.path("whole")))
        #expect(try JSON.read(stopped + "/manifest.json")["status"] == "finished")
        // What was finished is taken as it is, not trained again: even its times are the old ones.
        let new = try contents(of: stopped)
        for (path, bytes) in old where path.contains("seed-0/") { #expect(new[path] == bytes, "\(path)") }
    }

    @Test("a finished run is refused and left alone")
    func finished() throws {
        let small = try SmallRun(.cpu)
        _ = try small.start("run").run()
        try expectRefused(small, "run", "finished")
    }

    @Test("another run's directory is refused and left alone")
    func anotherRun() throws {
        let small = try SmallRun(.cpu)
        _ = try small.start("run", "train.epochs=1", "seeds=[0]").run()
        try expectRefused(small, "run", "recipe_sha256")
        // The same recipe on other data.
        let again = try SmallRun(.cpu)
        _ = try again.start("run", "seeds=[0]").run()
        let csv = String(decoding: try contents(of: again.folder.path)["rows.csv"]!, as: UTF8.self)
        try again.folder.write(csv + "1,0,0,0,0\n", to: "rows.csv")
        try expectRefused(again, "run", "data_sha256", "seeds=[0]")
    }

    @Test("another device's run is refused", .enabled(if: TestBackend.available.contains(.vector)))
    func anotherDevice() throws {
        let small = try SmallRun(.cpu)
        _ = try small.start("run").run()
        let before = try contents(of: small.folder.path("run"))
        let error = thrown(RetortError.self) {
            _ = try TrainingRun(
                try small.recipe(), device: try TestBackend.vector.device(), output: small.folder.path("run"),
                progress: Progress(quiet: true))
        }
        #expect(error?.exit == .cannotCreate && error?.why.contains("device") == true)
        #expect(try contents(of: small.folder.path("run")) == before)
    }

    @Test("somebody's own directory is refused and left alone")
    func foreign() throws {
        let small = try SmallRun(.cpu)
        try Folder.createWithParents(small.folder.path("mine/deep"))
        try small.folder.write("my thesis", to: "mine/thesis.txt")
        try expectRefused(small, "mine", "holds no run")
        // A manifest that is damaged, or someone else's, is not taken for ours either.
        for text in ["{", "{}", "[]", #"{"format": "retort-run-1"}"#, #"{"status": "stopped"}"#] {
            try small.folder.write(text, to: "mine/manifest.json")
            try expectRefused(small, "mine", nil)
        }
    }

    @Test("what a full disk left of a run before its manifest is taken; such files with something in them are not")
    func blank() throws {
        let small = try SmallRun(.cpu)
        for file in ["log.txt", "metrics.jsonl"] { try small.folder.write("", to: "blank/" + file) }
        _ = try small.start("blank", "seeds=[0]", "train.epochs=1").run()
        try small.folder.write("a thought", to: "thoughts/log.txt")
        try expectRefused(small, "thoughts", "holds no run")
    }

    @Test("a directory that a run is in is refused to another, and free when it ends")
    func occupied() throws {
        let small = try SmallRun(.cpu)
        var run: TrainingRun? = try small.start("run", "seeds=[0]", "train.epochs=1")
        let error = thrown(RetortError.self) { _ = try small.start("run", "seeds=[0]", "train.epochs=1") }
        #expect(error?.exit == .cannotCreate && error?.why.contains("another retort") == true)
        _ = try run?.run()
        run = nil
        try FileManager.default.removeItem(atPath: small.folder.path("run/taught"))
        let manifest = small.folder.path("run/manifest.json")
        let text = try String(contentsOfFile: manifest, encoding: .utf8)
        try text.replacing("finished", with: "stopped").write(toFile: manifest, atomically: true, encoding: .utf8)
        _ = try small.start("run", "seeds=[0]", "train.epochs=1").run()
    }

    @Test("an empty directory is taken; a file or a place below a file is not")
    func places() throws {
        let small = try SmallRun(.cpu)
        #expect(try Folder.create(small.folder.path("empty")) == .created)
        _ = try small.start("empty", "seeds=[0]", "train.epochs=1").run()
        try small.folder.write("x", to: "file")
        for place in ["file", "file/run"] {
            let error = thrown(RetortError.self) { _ = try small.start(place) }
            #expect(error?.exit == .cannotCreate, "\(place): \(error?.description ?? "")")
        }
        #expect(try contents(of: small.folder.path)["file"] == Data("x".utf8))
        // Missing parents are made, a trailing slash is no name.
        _ = try small.start("new/deep/run/", "seeds=[0]", "train.epochs=1").run()
        #expect(FileManager.default.fileExists(atPath: small.folder.path("new/deep/run/results.json")))
    }

    @Test("a recipe that does not fit its data leaves no directory behind")
    func nothingLeft() throws {
        let small = try SmallRun(.cpu)
        for (override, exit) in [
            ("student.model.layers=[5, 3]", ExitCode.recipe), ("student.model.layers=[4, 4]", .recipe),
            // Of the classes 0, 1 and 2 it has no output for the last.
            ("student.model.layers=[4, 2]", .badData), ("teacher.model.layers=[3, 3]", .recipe),
            ("data.label=nothing", .badData),
            ("data.path=none.csv", .missingInput),
            ("train.rows=10000", .recipe), ("data.scale=0", .recipe),
        ] {
            let error = thrown(RetortError.self) { _ = try small.start("run", override).run() }
            #expect(error?.exit == exit, "\(override): \(error?.description ?? "")")
            #expect(!FileManager.default.fileExists(atPath: small.folder.path("run")), "\(override)")
        }
    }

    @Test("too many rows are refused by the key that asks for them, where it stands")
    func tooManyRows() throws {
        let small = try SmallRun(.cpu)
        for (key, count) in [
            ("data.rows", 90), ("teacher.train.rows", 73), ("train.rows", 73), ("arms.taught.train.rows", 1000),
        ] {
            let error = thrown(RetortError.self) { _ = try small.start("run", "\(key)=\(count)") }
            #expect(error?.exit == .recipe && error?.what == "\(key) is \(count)", "\(String(describing: error))")
            #expect(error?.location?.file == "command line" && error?.why == "there are 72 training rows", "\(key)")
            _ = try small.start("fits-\(key)", "\(key)=72")
        }
        let pictures = SamplePictures(channels: 1, height: 6, width: 5)
        try pictures.writeFolder(small.folder, "pictures", train: 12, test: 3)
        try pictures.writeIDX(small.folder, "idx", train: 12, test: 3)
        for data in ["images, path: pictures, height: 6, width: 5, channels: 1", "idx, path: idx"] {
            let error = thrown(RetortError.self) {
                _ = try small.start("run", "data={kind: \(data), rows: 13}", "student.model.layers=[30, 3]")
            }
            #expect(error?.what == "data.rows is 13" && error?.location != nil, "\(String(describing: error))")
        }
    }

    @Test("data that are not there: the recipe's line, and both places that were looked at")
    func missingData() throws {
        let folder = try ScratchFolder()
        let text = RecipeTests.good.replacing("rows.csv", with: "gone/rows.csv")
        let path = try folder.write(Array(text.utf8), to: "sub/r.yaml")
        let recipe = try readRecipe(path)
        let device = try TestBackend.cpu.device()
        let here = FileManager.default.currentDirectoryPath
        for body in [
            { _ = try recipe.start(on: device, output: folder.path("run"), progress: Progress(quiet: true)) },
            { _ = try recipe.plan(on: device) },
        ] as [() throws -> Void] {
            let error = thrown(RetortError.self, body)
            #expect(error?.exit == .missingInput && error?.what.contains("'gone/rows.csv'") == true)
            #expect(error?.location?.file == path && error?.location?.line == 1)
            #expect((error?.location?.column ?? 0) > 20, "\(String(describing: error))")
            #expect(
                error?.why
                    == "there is nothing at \(folder.path("sub/gone/rows.csv"))\nand nothing at \(here)/gone/rows.csv")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path("run")))
        // Beside the recipe it is found.
        try folder.write(Array("a,b,c,d,label\n1,2,3,4,0\n1,2,3,4,1\n1,2,3,4,2\n".utf8), to: "sub/gone/rows.csv")
        try readRecipe(path).checkData()
    }

    @Test("a diverging run ends with 86 and says so", arguments: TestBackend.fast)
    func diverges(_ backend: TestBackend) throws {
        let small = try SmallRun(backend)
        let error = thrown(RetortError.self) {
            _ = try small.start(
                "run", "train.optimizer.lr=1e6", "train.optimizer={kind: sgd, lr: 1e6}", "train.epochs=200"
            ).run()
        }
        #expect(error?.exit == .diverged, "\(error?.description ?? "")")
        #expect(error?.help.contains("learning rate") == true)
    }

    @Test("a teacher from a directory", arguments: TestBackend.fast)
    func teacherFromDirectory(_ backend: TestBackend) throws {
        let small = try SmallRun(backend)
        let first = try small.start("first", "seeds=[0]").run()
        let path = small.folder.path("first/teacher/seed-0/final")
        let second = try small.start("second", "seeds=[0]", "teacher={path: \(path)}").run()
        #expect(facts(first).dropFirst() == facts(second).dropFirst())
        #expect(second.arms[0].seeds[0].metrics["accuracy"] == first.arms[0].seeds[0].metrics["accuracy"])
    }

    private func expectRefused(
        _ small: SmallRun, _ output: String, _ why: String?, _ overrides: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let before = try contents(of: small.folder.path(output))
        let error = thrown(RetortError.self, sourceLocation: sourceLocation) {
            _ = try TrainingRun(
                try Recipe.read(small.recipePath, overrides: overrides), device: try TestBackend.cpu.device(),
                output: small.folder.path(output), progress: Progress(quiet: true))
        }
        #expect(error?.exit == .cannotCreate, sourceLocation: sourceLocation)
        if let why { #expect(error?.why.contains(why) == true, "\(error?.why ?? "")", sourceLocation: sourceLocation) }
        #expect(try contents(of: small.folder.path(output)) == before, sourceLocation: sourceLocation)
    }
}
