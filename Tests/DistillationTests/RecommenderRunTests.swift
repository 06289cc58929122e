import Foundation
import RetortData
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A whole distillation of recommenders that takes a second: made-up ratings of a few users.
struct SmallRecommender {
    let folder: ScratchFolder
    private let backend: TestBackend

    static let recipe = """
        data: {kind: interactions, path: ratings.csv, user: userId, item: movieId, rating: rating, timestamp: timestamp, threshold: 3, test: {split: every, n: 4}}
        teacher: {model: {kind: matrix-factorization, dimension: 16, bias: item}, train: {epochs: 6}}
        student: {model: {kind: matrix-factorization, dimension: 3}}
        arms:
          student-alone: {objective: [{loss: bpr}]}
          student: {objective: [{loss: bpr}, {loss: preference-consistent, top: 20, experts: 2}]}
          ranking: {objective: [{loss: bpr}, {loss: ranking-distillation, top: 5, samples: 10}]}
        train: {epochs: 4, batch: 64, optimizer: {kind: adam, lr: 0.02, weight-decay: 0.0001}}
        seeds: [0, 1]
        """

    init(_ backend: TestBackend, _ recipe: String = Self.recipe) throws {
        self.backend = backend
        folder = try ScratchFolder()
        _ = try SyntheticInteractions(users: 40, items: 60, dimension: 4, perUser: 16, popularity: 0.5, seed: 1)
            .write(to: folder.path("ratings.csv"))
        try folder.write(recipe, to: "small.yaml")
    }

    func start(_ output: String, _ overrides: String...) throws -> any RecipeRun {
        try readRecipe(folder.path("small.yaml"), overrides: overrides).start(
            on: try backend.device(), output: folder.path(output), progress: Progress(quiet: true))
    }

    /// The error that ends it.
    func refused(_ piece: String, _ replacement: String) throws -> RetortError? {
        let text = Self.recipe.replacing(piece, with: replacement)
        #expect(text != Self.recipe)
        try folder.write(text, to: "small.yaml")
        let error = thrown(RetortError.self) { _ = try start("run") }
        #expect(!FileManager.default.fileExists(atPath: folder.path("run")), "a refused recipe leaves no run behind")
        return error
    }
}

@Suite("Recommender runs")
struct RecommenderRunTests {
    /// Everything about a run that does not depend on how fast or when it ran.
    private func facts(_ results: RunResults) -> [String] {
        results.arms.flatMap { arm in
            arm.seeds.map { seed in
                let times = [Metric.latency, .peakBytes, .stepTime].map(\.rawValue)
                let metrics = seed.metrics.filter { !times.contains($0.key) }
                let curve = seed.curve.map { "\($0.epoch) \($0.step) \($0.loss) \($0.accuracy ?? -1)" }
                return "\(arm.role) \(seed.seed) \(metrics.sorted { $0.key < $1.key }) \(curve)"
            }
        }
    }

    private func models(_ folder: String) throws -> [String: Data] {
        try contents(of: folder).filter { $0.key.hasSuffix(".safetensors") || $0.key.hasSuffix("config.json") }
    }

    @Test("layout, metrics, report; two runs are equal bit for bit", arguments: TestBackend.fast)
    func run(_ backend: TestBackend) throws {
        let small = try SmallRecommender(backend)
        let results = try small.start("one").run()
        let again = try small.start("two").run()
        #expect(facts(results) == facts(again))
        #expect(try models(small.folder.path("one")) == models(small.folder.path("two")))
        #expect(Set(facts(results)).count == 8, "arms and seeds differ")

        let roles = ["teacher", "student-alone", "student", "ranking"]
        #expect(results.arms.map(\.role) == roles && results.quality == .ndcg10)
        let files = try contents(of: small.folder.path("one"))
        var expected: Set<String> = [
            "recipe.resolved.yaml", "env.json", "manifest.json", "metrics.jsonl", "log.txt", "report.html",
            "results.json",
        ]
        for role in roles {
            for seed in 0...1 {
                for file in ["final/config.json", "final/model.safetensors", "result.json"] {
                    expected.insert("\(role)/seed-\(seed)/\(file)")
                }
            }
        }
        for seed in 0...1 { expected.insert("student/seed-\(seed)/projectors.safetensors") }
        #expect(Set(files.keys) == expected)
        for arm in results.arms {
            for seed in arm.seeds {
                for metric in ["recall@10", "recall@20", "ndcg@10", "ndcg@20"] {
                    let value = try #require(seed.metrics[metric])
                    #expect(value > 0 && value < 1, "\(arm.role) \(metric): \(value)")
                }
                let curve = seed.curve.map(\.loss)
                #expect(curve.last! < curve.first!, "\(arm.role): \(curve)")
                #expect(seed.curve.last?.accuracy == seed.metrics["ndcg@10"])
            }
        }
        let read = try RunDirectory.results(in: small.folder.path("one"))
        #expect(facts(read) == facts(results) && read.quality == .ndcg10)
        let json = results.summaryJSON.text()
        for key in ["\"recall@10\"", "\"ndcg@10\"", "\"recall@20\"", "\"ndcg@20\""] { #expect(json.contains(key)) }
        let report = String(decoding: files["report.html"]!, as: UTF8.self)
        #expect(report.contains("NDCG@10") && !report.contains("test accuracy"))
        #expect(summaryTable(results).contains("NDCG@10 %") && methodsTable(results).contains("| recall@10 % |"))
        let config = try JSON.read(small.folder.path("one/teacher/seed-0/final/config.json"))
        #expect(config["model_type"] == "matrix-factorization" && config["dimension"] == 16 && config["bias"] == "item")
    }

    @Test("both backends train alike", .enabled(if: TestBackend.hasOpenCL))
    func backends() throws {
        let results = try [TestBackend.cpu, .vector].map {
            try SmallRecommender($0).start("run", "seeds=[0]", "train.epochs=2", "teacher.train.epochs=2").run()
        }
        for (one, two) in zip(results[0].arms, results[1].arms) {
            for (a, b) in zip(one.seeds[0].curve, two.seeds[0].curve) {
                #expect(abs(a.loss - b.loss) < 1e-4 * abs(a.loss), "\(one.role): \(a.loss) and \(b.loss)")
            }
        }
    }

    @Test("a run stopped after seed 0 goes on as if it had not been", arguments: [0, 1])
    func resume(_ progress: Int) throws {
        let small = try SmallRecommender(.cpu)
        let whole = try small.start("whole").run()
        let stopped = small.folder.path("stopped")
        try FileManager.default.copyItem(atPath: small.folder.path("whole"), toPath: stopped)
        var lost = ["results.json", "report.html", "student/seed-1", "ranking/seed-1"]
        if progress == 0 { lost += ["teacher/seed-1", "student-alone/seed-1"] }
        for path in lost { try FileManager.default.removeItem(atPath: stopped + "/" + path) }
        let manifest = String(decoding: try contents(of: stopped)["manifest.json"]!, as: UTF8.self)
        try AtomicFile.write(manifest.replacing("finished", with: "stopped"), to: stopped + "/manifest.json")
        #expect(try facts(small.start("stopped").run()) == facts(whole))
        #expect(try models(stopped) == models(small.folder.path("whole")))
    }

    @Test(
        "eval of what was saved has the run's numbers", arguments: TestBackend.fast,
        ["matrix-factorization", "lightgcn"])
    func evaluated(_ backend: TestBackend, _ kind: String) throws {
        let teacher =
            kind == "lightgcn"
            ? "{kind: lightgcn, dimension: 8, layers: 2}" : "{kind: \(kind), dimension: 16, bias: item}"
        let small = try SmallRecommender(
            backend,
            SmallRecommender.recipe.replacing("{kind: matrix-factorization, dimension: 16, bias: item}", with: teacher))
        let results = try small.start("run", "seeds=[0]").run()
        func final(_ role: String) -> String { small.folder.path("run/\(role)/seed-0/final") }
        for role in ["student-alone", "student", "ranking"] {
            let report = try evaluate(
                recommender: final(role), teacher: final("teacher"),
                recipe: small.folder.path("run/recipe.resolved.yaml"), device: backend.device())
            #expect(report.results.arms.map(\.role) == ["teacher", "student"])
            for (found, name) in zip(report.results.arms, ["teacher", role]) {
                let said = try #require(results.arms.first { $0.role == name }).seeds[0].metrics
                for key in ["recall@10", "recall@20", "ndcg@10", "ndcg@20", "parameters", "bytes"] {
                    #expect(found.seeds[0].metrics[key] == said[key] && said[key] != nil, "\(name) \(key)")
                }
            }
            #expect(report.table.contains("NDCG@10 %") && report.json["users"] == .int(report.counts[0].count))
        }
    }

    @Test("eval of a recommender needs its recipe, and refuses other interactions")
    func evalRefusals() throws {
        let small = try SmallRecommender(.cpu)
        _ = try small.start("run", "seeds=[0]", "train.epochs=1", "teacher.train.epochs=1").run()
        let model = small.folder.path("run/student/seed-0/final")
        func refused(_ recipe: String, _ overrides: [String], _ exit: ExitCode, _ words: String) {
            let error = thrown(RetortError.self) {
                _ = try evaluate(
                    recommender: model, teacher: nil, recipe: small.folder.path(recipe), overrides: overrides,
                    device: TestBackend.cpu.device())
            }
            #expect(error?.exit == exit && "\(error!)".contains(words), "\(String(describing: error))")
        }
        refused("ratings.csv", [], .usage, "recipe.resolved.yaml")
        refused("none.yaml", [], .missingInput, "none.yaml")
        try small.folder.write(SmallLanguage.recipe, to: "language.yaml")
        refused("language.yaml", [], .usage, "another kind of model")
        // Another split would measure on what was learned.
        refused("run/recipe.resolved.yaml", ["data.test={split: last}"], .badData, "interactions_sha256")
        refused("run/recipe.resolved.yaml", ["data.path=none.csv"], .missingInput, "none.csv")
    }

    @Test("a teacher from a directory; one of other interactions is refused")
    func teacherFromDirectory() throws {
        let small = try SmallRecommender(.cpu)
        let first = try small.start("first", "seeds=[0]").run()
        let path = small.folder.path("first/teacher/seed-0/final")
        let second = try small.start("second", "seeds=[0]", "teacher={path: \(path)}").run()
        #expect(facts(first).dropFirst() == facts(second).dropFirst())
        #expect(second.arms[0].seeds[0].metrics["ndcg@10"] == first.arms[0].seeds[0].metrics["ndcg@10"])
        // Another split would have the teacher trained on what is to be predicted.
        let other = thrown(RetortError.self) {
            _ = try small.start("third", "teacher={path: \(path)}", "data.test={split: last}")
        }
        #expect(other?.exit == .badData && other?.what.contains("interactions_sha256") == true, "\(other!)")
        let config = path + "/config.json"
        let text = String(decoding: FileManager.default.contents(atPath: config)!, as: UTF8.self)
        for (piece, replacement) in [
            ("\"dimension\": 16", "\"dimension\": 17"), ("matrix-factorization", "resnet"),
            ("\"dimension\": 16", "\"dimension\": 0"),
        ] {
            #expect(text.contains(piece))
            try AtomicFile.write(text.replacing(piece, with: replacement), to: config)
            let error = thrown(RetortError.self) { _ = try small.start("third", "teacher={path: \(path)}") }
            #expect(error?.exit == .badData, "\(replacement): \(error!)")
        }
    }

    @Test("LightGCN trains, and its embeddings are the paper's sum", arguments: TestBackend.available)
    func lightGCN(_ backend: TestBackend) throws {
        let pairs: [(user: Int32, item: Int32)] = [(0, 0), (0, 2), (1, 2), (3, 1), (3, 2), (3, 4)]
        let (users, items, d) = (4, 5, 3)
        let task = RecommenderTask(train: PositiveLists(pairs, users: users), items: items, identity: "x")
        let device = try backend.device()
        let settings = ModelSettings(
            ["dimension": .integer(d), "layers": .integer(2)], of: LightGCN.architecture)
        let model = try LightGCN(settings, for: task)
        _ = try model.materialize(on: device, seed: 3)
        try model.prepare(on: device)
        let start = try model.parameters.map { try $0.values().map(Double.init) }
        // Users, then items, as nodes of one graph; layers are powers of the normalised adjacency matrix.
        let nodes = users + items
        var adjacency = [[Double]](repeating: [Double](repeating: 0, count: nodes), count: nodes)
        for pair in pairs {
            adjacency[Int(pair.user)][users + Int(pair.item)] = 1
            adjacency[users + Int(pair.item)][Int(pair.user)] = 1
        }
        let degrees = adjacency.map { $0.reduce(0, +) }
        /// The mean of the powers 0, 1, 2 of the normalised adjacency matrix, times x.
        func spread(_ x: [[Double]]) -> [Double] {
            var layer = x
            var sum = x.flatMap { $0 }
            for _ in 0..<2 {
                var next = [[Double]](repeating: [Double](repeating: 0, count: d), count: nodes)
                for a in 0..<nodes {
                    for b in 0..<nodes where adjacency[a][b] != 0 {
                        let weight = 1 / (degrees[a] * degrees[b]).squareRoot()
                        for c in 0..<d { next[a][c] += weight * layer[b][c] }
                    }
                }
                layer = next
                for a in 0..<nodes { for c in 0..<d { sum[a * d + c] += layer[a][c] } }
            }
            return sum.map { $0 / 3 }
        }
        let expected = spread(Float64Reference.rows(start[0] + start[1], d))
        let tables = try model.tables()
        expectClose(try tables.users.values() + tables.items.values(), expected, absolute: 1e-6, relative: 1e-5)
        // The sum is linear in the start, so the gradient of ⟨w, sum⟩ is the transposed (here: the same) matrix times w.
        let weights = (0..<(users * d)).map { Float($0 % 5) - 2 }
        try (tables.users * Tensor(weights, [users, d], on: device)).sum().backward()
        let upstream = weights.map(Double.init) + [Double](repeating: 0, count: items * d)
        expectClose(
            try model.parameters.flatMap { try $0.gradientValues() }, spread(Float64Reference.rows(upstream, d)),
            absolute: 1e-6, relative: 1e-5)
    }

    @Test("a run with LightGCN, saved and read back", arguments: TestBackend.fast)
    func lightGCNRun(_ backend: TestBackend) throws {
        let small = try SmallRecommender(backend)
        let words = [
            "seeds=[0]", "teacher.model={kind: lightgcn, dimension: 16}",
            "student.model={kind: lightgcn, dimension: 3, layers: 2}",
        ]
        let first = try small.start("first", words[0], words[1], words[2]).run()
        let path = small.folder.path("first/teacher/seed-0/final")
        let second = try small.start("second", words[0], "teacher={path: \(path)}", words[2]).run()
        #expect(facts(first).dropFirst() == facts(second).dropFirst())
        for arm in first.arms {
            #expect(arm.seeds[0].curve.last!.loss < arm.seeds[0].curve.first!.loss)
        }
    }

    // MARK: What is wrong

    @Test(
        "what belongs to classifiers, and the reverse: 78 with the place",
        arguments: [
            (
                "{loss: bpr}]}\n  student:", "{loss: hinton}]}\n  student:", 5, "objective.0.loss is 'hinton'",
                "hinton is for data of kind csv"
            ),
            (
                "matrix-factorization, dimension: 3", "mlp, layers: [3, 2]", 3, "student.model.kind is 'mlp'",
                "mlp is for data of kind csv"
            ),
            ("{epochs: 4, batch", "{epochs: 4, micro-batch: 2, batch", 8, "unknown key 'micro-batch' in train", ""),
            ("{epochs: 4, batch", "{epochs: 4, rows: 2, batch", 8, "unknown key 'rows' in train", ""),
            ("loss: ranking-distillation", "loss: rankng-distillation", 7, "is 'rankng-distillation'", ""),
            ("threshold: 3", "label: x", 1, "unknown key 'label' in data", ""),
            ("n: 4", "n: 1", 1, "data.test.n is 1", ""),
            ("split: every, n: 4", "split: random", 1, "data.test.split is 'random'", ""),
            ("rating: rating, ", "", 1, "data.threshold without data.rating", ""),
            (
                "timestamp: timestamp, threshold: 3, test: {split: every, n: 4}", "test: {split: time, share: 0.2}", 1,
                "by time without", ""
            ),
            ("top: 5", "top: 59", 7, "wants 59 items", "items one user leaves"),
            ("threshold: 3,", "threshold: 3, minimum: {user: 1000},", 1, "no user with 1000", ""),
            ("{split: every, n: 4}", "{split: every, n: 999}", 1, "leaves nothing to predict", ""),
        ])
    func refused(_ piece: String, _ replacement: String, _ line: Int, _ what: String, _ why: String) throws {
        let error = try SmallRecommender(.cpu).refused(piece, replacement)
        #expect(error?.exit == .recipe && error?.location?.line == line, "\(error?.description ?? "")")
        #expect(
            error?.what.contains(what) == true
                && error?.why.contains(why) == (why.isEmpty ? error?.why.contains(why) : true), "\(error!)")
    }

    @Test("a recommender's words in a classifier's recipe: 78, saying where they belong")
    func reverse() throws {
        for (piece, replacement) in [
            ("loss: hinton", "loss: bpr"), ("kind: mlp, layers: [4, 3]", "kind: lightgcn, dimension: 3"),
        ] {
            let error = thrown(RetortError.self) {
                _ = try Recipe.parse(RecipeTests.good.replacing(piece, with: replacement), name: "r.yaml")
            }
            #expect(error?.exit == .recipe && error?.why.contains("for data of kind interactions") == true, "\(error!)")
            #expect(error?.location?.line != nil)
        }
        let whole = thrown(RetortError.self) { _ = try Recipe.parse(SmallRecommender.recipe, name: "r.yaml") }
        #expect(whole?.exit == .recipe && whole?.location?.line == 1)
    }

    @Test("data that is not there or lies; training that diverges")
    func failures() throws {
        let small = try SmallRecommender(.cpu)
        #expect(thrown(RetortError.self) { _ = try small.start("run", "data.path=none.csv") }?.exit == .missingInput)
        #expect(thrown(RetortError.self) { _ = try small.start("run", "data.item=film") }?.exit == .badData)
        let error = thrown(RetortError.self) {
            _ = try small.start("run", "train.optimizer={kind: sgd, lr: 1e6}", "train.epochs=50").run()
        }
        #expect(error?.exit == .diverged, "\(error?.description ?? "")")
    }

    @Test("every default of the schema is valid, and the shipped recipe reads the shipped data")
    func shipped() throws {
        for type in RecommenderObjectiveRegistry.all {
            let node = try RecipeReader.readValue(
                "{loss: \(type.section.name)}", .variant(key: "loss", RecommenderObjectiveRegistry.sections))
            for field in type.section.fields {
                if case .defaulted = field.presence {
                    #expect(node[field.key] != nil, "\(type.section.name) \(field.key)")
                }
            }
            #expect(
                !RecommenderObjectiveRegistry.make(node).contract.isEmpty && RecipeHelp.text.contains(type.section.name)
            )
        }
        let recipe = try #require(try readRecipe(Project.recipe("recommender.yaml")) as? RecommenderRecipe)
        #expect(recipe.seeds.count == 3 && recipe.arms.map(\.name).prefix(2) == ["student-alone", "student"])
        let split = try recipe.data.load()
        #expect(split.users.count > 500 && split.testUsers.count > 500 && split.train.count > 3 * split.test.count)
    }

    @Test("the shipped ratings are what the generator writes; skewed, and no two seeds alike")
    func synthetic() throws {
        let folder = try ScratchFolder()
        let path = folder.path("ratings.csv")
        _ = try SyntheticInteractions.standard.write(to: path)
        let shipped = Project.root + "/data/synthetic-interactions/ratings.csv"
        #expect(FileManager.default.contents(atPath: path) == FileManager.default.contents(atPath: shipped))
        #expect(
            thrown(RetortError.self) { _ = try SyntheticInteractions.standard.write(to: path) }?.exit == .cannotCreate)
        let data = try Interactions.read(
            path, format: .init(user: "userId", item: "movieId", rating: "rating", timestamp: "timestamp", threshold: 4)
        )
        var counts = [Int](repeating: 0, count: data.items.count)
        for event in data.events { counts[Int(event.item)] += 1 }
        let sorted = counts.sorted(by: >)
        let share = Double(sorted.prefix(sorted.count / 10).reduce(0, +)) / Double(data.events.count)
        #expect(share > 0.25, "a tenth of the items have \(share) of the interactions")
        for (flag, error) in [
            (
                "users",
                thrown(RetortError.self) {
                    _ = try SyntheticInteractions(users: 0, items: 9, dimension: 1, perUser: 1, popularity: 1, seed: 0)
                }
            ),
            (
                "per-user",
                thrown(RetortError.self) {
                    _ = try SyntheticInteractions(users: 1, items: 9, dimension: 1, perUser: 5, popularity: 1, seed: 0)
                }
            ),
            (
                "seed",
                thrown(RetortError.self) {
                    _ = try SyntheticInteractions(users: 1, items: 9, dimension: 1, perUser: 1, popularity: 1, seed: -1)
                }
            ),
        ] {
            #expect(error?.exit == .usage && error?.what.contains("--" + flag) == true)
        }
    }
}
