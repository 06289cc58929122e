import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Federated arms in whole runs: 72 training rows of three classes, or the digits.
@Suite("Federated runs")
struct FederatedTests {
    private typealias Arms = [(name: String, keys: String)]

    private struct Place {
        let folder: ScratchFolder
        let backend: TestBackend

        init(_ backend: TestBackend) throws {
            self.backend = backend
            folder = try ScratchFolder()
            try write(labelOf: { $0 % 3 })
        }

        /// 90 rows around three corners; row 0, 5, 10, … test.
        func write(labelOf: (Int) -> Int) throws {
            let random = Philox(seed: 3, stream: Philox.stream("federated run"))
            var csv = "a,b,c,d,label\n"
            for row in 0..<90 {
                let values = (0..<4).map {
                    Float($0 == row % 3 ? 1 : 0) + random.uniform(UInt64(row * 4 + $0), -0.9, 0.9)
                }
                csv += values.map { "\($0)" }.joined(separator: ",") + ",\(labelOf(row))\n"
            }
            try folder.write(csv, to: "rows.csv")
        }

        func recipe(_ arms: Arms, train: String) throws -> Recipe {
            let text =
                """
                data: {kind: csv, path: rows.csv, label: label, test: {every: 5}}
                teacher: {model: {kind: mlp, layers: [4, 8, 3]}, train: {epochs: 1}}
                student: {model: {kind: mlp, layers: [4, 6, 3]}}
                arms:

                """ + arms.map { "  \($0.name): {objective: [{loss: cross-entropy}], \($0.keys)}\n" }.joined()
                + "train: {batch: 8, \(train)}\n"
            return try Recipe.read(try folder.write(text, to: "federated.yaml"))
        }

        func start(_ output: String, _ recipe: Recipe) throws -> TrainingRun {
            try TrainingRun(
                recipe, device: try backend.device(), output: folder.path(output), progress: Progress(quiet: true))
        }

        func run(_ output: String, _ arms: Arms, train: String = FederatedTests.plain) throws -> RunResults {
            try start(output, try recipe(arms, train: train)).run()
        }

        /// The first arm's, of seed 0.
        func session(_ recipe: Recipe) throws -> ArmSession {
            let device = try backend.device()
            let examples = try recipe.data.load()
            let arm = recipe.arms[0]
            return ArmSession(
                role: "arm", seed: 0, initialSeed: 0, model: recipe.student, task: examples.task, terms: arm.terms,
                balance: arm.balance, view: recipe.studentSees,
                training: arm.train, teacher: nil, data: try DeviceRows(examples.train, on: device),
                test: try DeviceRows(examples.test, on: device), device: device, report: { _ in }, note: { _ in })
        }

        func weights(_ output: String, _ arm: String) throws -> Data {
            try Data(
                contentsOf: URL(
                    fileURLWithPath: folder.path("\(output)/\(arm)/seed-0/final/model.safetensors")))
        }

        func metrics(_ output: String, _ arm: String) throws -> [JSON] {
            try String(contentsOfFile: folder.path("\(output)/metrics.jsonl"), encoding: .utf8).split(separator: "\n")
                .map { try JSON.parse(String($0), file: "metrics.jsonl") }.filter { $0["arm"] == .string(arm) }
        }
    }
    private static let plain = "epochs: 6, optimizer: {kind: sgd, lr: 0.2}"

    private func scheme(_ method: String, _ keys: String = "") -> String {
        "scheme: {kind: federated, method: \(method), clients: 4, rounds: 3, local-epochs: 2\(keys)}"
    }

    private func number(_ json: JSON?) -> Double? {
        switch json {
        case .int(let value): Double(value)
        case .double(let value): value
        default: nil
        }
    }

    // MARK: FedAvg and FedProx

    @Test("one client with all rows is central training, bit for bit", arguments: TestBackend.fast)
    func oneClient(_ backend: TestBackend) throws {
        let place = try Place(backend)
        let one = "scheme: {kind: federated, method: fedavg, clients: 1, rounds: 3, local-epochs: 2}"
        for (index, train) in [
            Self.plain, "epochs: 6, optimizer: {kind: sgd, lr: 0.2}, schedule: {kind: cosine, warmup: 5}",
        ].enumerated() {
            _ = try place.run("run\(index)", [("central", "train: {}"), ("federated", one)], train: train)
            #expect(try place.weights("run\(index)", "central") == place.weights("run\(index)", "federated"))
        }
        // An optimizer's memory does not outlive a round, so with momentum only a single round is the same.
        let adam = "epochs: 6, optimizer: {kind: adam, lr: 0.01}"
        let single = "scheme: {kind: federated, method: fedavg, clients: 1, rounds: 1, local-epochs: 6}"
        _ = try place.run("adam", [("central", "train: {}"), ("once", single), ("thrice", one)], train: adam)
        #expect(try place.weights("adam", "central") == place.weights("adam", "once"))
        #expect(try place.weights("adam", "central") != place.weights("adam", "thrice"))
    }

    @Test("a round is the mean of clients that each start from the server", arguments: TestBackend.fast)
    func oneRound(_ backend: TestBackend) throws {
        let place = try Place(backend)
        let recipe = try place.recipe([("arm", scheme("fedavg"))], train: Self.plain)
        let session = try place.session(recipe)
        let federated = try #require(recipe.arms[0].scheme as? FederatedScheme)
        let labels = try session.device.compute.read(session.data.labels, as: Int32.self)
        let shards = FederatedShards(
            labels: labels, classes: 3, clients: 4, alpha: 0.5, publicRows: 0, seed: session.seed)
        let server = try ServerTrainer(federated, shards, session)
        _ = try server.epoch(0)
        let parts = try FederatedParts(federated, shards, session)
        let clients = try (0..<4).map { number in
            let (model, arena) = try session.student()
            let trainer = try parts.trainer(number, model, arena)
            for epoch in 0..<2 { _ = try trainer.epoch(epoch) }
            return try model.parameters.map { try $0.values() }
        }
        for (index, parameter) in server.model.parameters.enumerated() {
            let expected = (0..<parameter.count).map { i in
                zip(clients, shards.clients).reduce(0.0) { $0 + Double($1.0[index][i]) * Double($1.1.count) / 72 }
            }
            // Four products and three sums of fp32, of weights below 4.
            expectClose(try parameter.values(), expected, absolute: 4 * 7 * 0x1p-24, parameter.name)
        }
    }

    @Test("FedProx with mu 0 is FedAvg bit for bit; a larger mu keeps clients nearer", arguments: TestBackend.fast)
    func proximal(_ backend: TestBackend) throws {
        let place = try Place(backend)
        let skew = ", dirichlet: 0.3"
        _ = try place.run(
            "run",
            [
                ("avg", scheme("fedavg", skew)), ("zero", scheme("fedprox", skew + ", mu: 0")),
                ("one", scheme("fedprox", skew + ", mu: 1")), ("ten", scheme("fedprox", skew + ", mu: 3")),
            ])
        #expect(try place.weights("run", "avg") == place.weights("run", "zero"))
        let drifts = try ["zero", "one", "ten"].map { arm in
            try place.metrics("run", arm).compactMap { number($0["federated/drift"]) }
        }
        #expect(drifts.allSatisfy { $0.count == 3 && $0.allSatisfy { $0 > 0 } })
        // In the first round all start from the same weights.
        #expect(drifts[1][0] < 0.8 * drifts[0][0] && drifts[2][0] < 0.8 * drifts[1][0], "\(drifts)")
    }

    @Test("the mean of weights and running statistics, weighted by rows", arguments: TestBackend.fast)
    func weightedMean(_ backend: TestBackend) throws {
        let device = try backend.device()
        let settings = ModelSettings(
            ["depth": .integer(8), "widths": .integers([2, 2, 2, 2])], of: ResNet.architecture)
        let task = ClassificationTask(sample: [1, 8, 8], classes: 3)
        let clients = try (0..<3).map { number in
            let model = try ResNet(settings, for: task)
            let arena = try model.materialize(on: device, seed: UInt64(number))
            let random = Philox(seed: UInt64(number), stream: 1)
            for buffer in model.buffers { try buffer.assign(random.uniforms(buffer.count, 0.1, 2)) }
            return (model: model, arena: arena)
        }
        let rows = [5, 1, 2]
        let state = try ModelState(clients[0].model, clients[0].arena)
        for (index, client) in clients.enumerated() {
            try state.add(
                client.model, client.arena, share: FedAvg.share(rows[index], of: 8), isFirst: index == 0)
        }
        let before = try clients.map { client in
            try client.model.parameters.map { try $0.values() } + client.model.buffers.map { try $0.values() }
        }
        try state.load(into: clients[2].model, clients[2].arena)
        let model = clients[2].model
        let mean = try model.parameters.map { try $0.values() } + model.buffers.map { try $0.values() }
        #expect(!model.buffers.isEmpty)
        for (index, values) in mean.enumerated() {
            let expected = values.indices.map { i in
                zip(before, rows).reduce(0.0) { $0 + Double($1.0[index][i]) * Double($1.1) / 8 }
            }
            // Three products and two sums of fp32, of values up to 2.
            expectClose(values, expected, absolute: 2 * 5 * 0x1p-24, "array \(index)")
        }
        // What is sent: every parameter and every running statistic once, no padding.
        let counts = model.parameters.map { $0.shape.reduce(1, *) } + model.buffers.map { $0.shape.reduce(1, *) }
        #expect(ModelState.count(model) == counts.reduce(0, +))
    }

    // MARK: Consensus

    @Test("targets are the float64 mean of logits, and of probabilities", arguments: TestBackend.fast)
    func targets(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (rows, classes) = (7, 5)
        let random = Philox(seed: 9, stream: 2)
        let all = (0..<3).map { client in
            (0..<(rows * classes)).map { random.uniform(UInt64(client * 1000 + $0), -6, 6) }
        }
        let clients = try all.map { try Tensor($0, [rows, classes], on: device) }
        let logits = try ConsensusTerm.target(of: clients, .meanLogits, temperature: 2).values()
        let meanLogits = (0..<(rows * classes)).map { i in all.reduce(0) { $0 + Double($1[i]) } / 3 }
        expectClose(logits, meanLogits, absolute: 6 * 4 * 0x1p-24, "mean of logits")

        for temperature in [1.0, 2.5] {
            let target = try ConsensusTerm.target(
                of: clients, .meanProbabilities, temperature: Float(temperature))
            let probabilities = try target.softmax(temperature: Float(temperature)).values()
            let soft = all.map { client in
                Float64Reference.rows(client.map(Double.init), classes).flatMap {
                    Float64Reference.softmax($0, temperature: temperature)
                }
            }
            let mean = (0..<(rows * classes)).map { i in soft.reduce(0) { $0 + $1[i] } / 3 }
            expectClose(probabilities, mean, absolute: 2e-6, "mean of probabilities at \(temperature)")
        }
    }

    @Test("the losses of a batch look up the rows' targets", arguments: TestBackend.fast)
    func digest(_ backend: TestBackend) throws {
        let device = try backend.device()
        let random = Philox(seed: 2, stream: 7)
        let target = random.uniforms(6 * 3, -3, 3)
        let student = Philox(seed: 3, stream: 7).uniforms(2 * 3, -3, 3)
        let ids: [Int32] = [4, 1]
        let rows = ids.map { id in (0..<3).map { Double(target[Int(id) * 3 + $0]) } }
        let own = Float64Reference.rows(student.map(Double.init), 3)
        func loss(_ kind: ConsensusTerm.Kind) throws -> Double {
            let term = ConsensusTerm(kind, on: device)
            term.targets = try Tensor(target, [6, 3], on: device)
            let view = try device.compute.view(ids, [2], .i32)
            return Double(
                try term.loss(
                    ObjectiveInput(
                        student: ModelOutput(logits: try Tensor(student, [2, 3], on: device)), teachers: [],
                        labels: view,
                        ids: view)
                ).item())
        }
        let error = zip(own, rows).flatMap { zip($0, $1).map { abs($0 - $1) } }
        #expect(abs(try loss(.absoluteError) - Float64Reference.mean(error)) < 1e-6)
        let divergences = zip(own, rows).map { own, row in
            4
                * Float64Reference.divergence(
                    Float64Reference.softmax(row, temperature: 2), Float64Reference.logSoftmax(own, temperature: 2))
        }
        #expect(abs(try loss(.divergence(temperature: 2)) - Float64Reference.mean(divergences)) < 1e-5)
    }

    @Test("without learning on public rows FedMD is clients by themselves and FedDF is FedAvg, bit for bit")
    func publicLearning() throws {
        let place = try Place(.cpu)
        func keys(_ rate: String) -> String { ", public: 20, public-optimizer: {kind: sgd, lr: \(rate)}" }
        let noStart = ", transfer-epochs: 0, private-epochs: 0"
        _ = try place.run(
            "run",
            [
                ("local", scheme("local", ", public: 20")), ("still", scheme("fedmd", keys("0") + noStart)),
                ("digest", scheme("fedmd", keys("0.1") + noStart)), ("avg", scheme("fedavg", ", public: 20")),
                ("mean", scheme("feddf", keys("0"))), ("fused", scheme("feddf", keys("0.1"))),
            ])
        #expect(try place.weights("run", "local") == place.weights("run", "still"))
        #expect(try place.weights("run", "local") != place.weights("run", "digest"))
        #expect(try place.weights("run", "avg") == place.weights("run", "mean"))
        #expect(try place.weights("run", "avg") != place.weights("run", "fused"))
    }

    @Test("a model that learns a consensus comes near it", arguments: TestBackend.fast)
    func digestLearns(_ backend: TestBackend) throws {
        let place = try Place(backend)
        let device = try backend.device()
        for digest in ["mae", "kl"] {
            let keys =
                ", public: 30, public-epochs: 200, public-batch: 30, digest: \(digest)"
                + ", public-optimizer: {kind: adam, lr: 0.01}"
            let recipe = try place.recipe([("arm", scheme("fedmd", keys))], train: Self.plain)
            let arm = recipe.arms[0]
            let session = try place.session(recipe)
            let federated = try #require(arm.scheme as? FederatedScheme)
            let shards = FederatedShards(
                labels: [Int32](repeating: 0, count: 72), classes: 3, clients: 4, alpha: 1, publicRows: 30, seed: 0)
            let parts = try FederatedParts(federated, shards, session)
            let (other, _) = try session.student(number: 1)
            let (model, arena) = try session.student()
            let term = ConsensusTerm(federated.digest, on: device)
            let wanted = try parts.publicLogits(other)
            // A plain evaluation of the public rows gives the same answers.
            let rows = try session.data.selecting(shards.publicRows, on: device)
            #expect(try wanted.values() == Evaluation(other, rows, on: device).logits)
            term.targets = wanted
            func distance() throws -> Double {
                let (own, target) = (try parts.publicLogits(model), wanted)
                let losses =
                    try
                    (digest == "mae"
                    ? own.meanAbsoluteError(target)
                    : own.divergence(fromTeachers: [target], .meanLogits, temperature: 1))
                return Double(try losses.item())
            }
            let before = try distance()
            let trainer = try parts.publicTrainer(model, arena, term, schedule: .constant, seed: 1)
            for epoch in 0..<federated.publicEpochs { _ = try trainer.epoch(epoch) }
            let after = try distance()
            #expect(after < 0.3 * before, "\(digest): \(before) → \(after)")
        }
    }

    @Test("labels of public rows matter only where a method looks at them")
    func publicLabels() throws {
        // The public rows of seed 0 among the 72 training rows, as rows of the file: each block of five begins with a test row.
        let publicRows = FederatedShards(
            labels: [Int32](repeating: 0, count: 72), classes: 3, clients: 4, alpha: 1, publicRows: 20, seed: 0
        ).publicRows
        let inFile = Set(publicRows.map { Int($0) / 4 * 5 + 1 + Int($0) % 4 })
        let keys = ", public: 20, public-epochs: 2, public-batch: 8"
        let arms: Arms = [
            ("feddf", scheme("feddf", keys)), ("unlabelled", scheme("fedmd", keys + ", transfer-epochs: 0")),
            ("transfer", scheme("fedmd", keys + ", transfer-epochs: 2")),
        ]
        let place = try Place(.cpu)
        _ = try place.run("right", arms)
        try place.write { row in (row + (inFile.contains(row) ? 1 : 0)) % 3 }
        _ = try place.run("wrong", arms)
        #expect(try place.weights("right", "feddf") == place.weights("wrong", "feddf"))
        #expect(try place.weights("right", "unlabelled") == place.weights("wrong", "unlabelled"))
        #expect(try place.weights("right", "transfer") != place.weights("wrong", "transfer"))
    }

    // MARK: What is exchanged

    @Test("bytes are those counted by hand")
    func bytes() throws {
        let place = try Place(.cpu)
        let models = ", models: [{kind: mlp, layers: [4, 6, 3]}, {kind: mlp, layers: [4, 3]}]"
        let results = try place.run(
            "run",
            [
                ("avg", scheme("fedavg")), ("half", scheme("fedavg", ", fraction: 0.5")), ("prox", scheme("fedprox")),
                ("df", scheme("feddf", ", public: 0.25")), ("mixed", scheme("feddf", ", public: 0.25" + models)),
                ("md", scheme("fedmd", ", public: 10")), ("alone", scheme("local")),
            ])
        let weights = 4 * (4 * 6 + 6 + 6 * 3 + 3)
        let small = 4 * (4 * 3 + 3)
        let expected: [(String, Int?)] = [
            ("avg", 3 * 4 * weights), ("half", 3 * 2 * weights), ("prox", 3 * 4 * weights), ("df", 3 * 4 * weights),
            ("mixed", 3 * 2 * (weights + small)), ("md", 3 * 4 * 10 * 3 * 4), ("alone", nil),
        ]
        for (role, total) in expected {
            let metrics = try #require(results.arms.first { $0.role == role }).seeds[0].metrics
            #expect(metrics["bytes_up"] == total.map(Double.init), "\(role)")
            #expect(metrics["bytes_down"] == total.map(Double.init), "\(role)")
            let lines = try place.metrics("run", role)
            #expect(lines.count == 3, "\(role)")
            for (index, line) in lines.enumerated() {
                let part = total.map { Double($0 * (index + 1) / 3) }
                #expect(number(line["federated/bytes_up"]) == part && number(line["federated/bytes_down"]) == part)
                #expect(number(line["federated/bytes_round"]) == total.map { Double(2 * $0 / 3) })
            }
        }
        let json = results.summaryJSON.text()
        #expect(json.contains(#""bytes_up":{"mean":\#(3 * 4 * weights),"sd":null}"#), "\(json)")
        #expect(summaryTable(results).contains("sent up") && summaryTable(results).contains("worst client %"))
        #expect(summaryTable(results).split(separator: "\n").allSatisfy { $0.unicodeScalars.count <= 100 })
        #expect(htmlReport(results, facts: []).contains("clients to server, whole run"))
        let log = try String(contentsOfFile: place.folder.path("run/log.txt"), encoding: .utf8)
        #expect(log.contains("avg seed 0: 72 rows: 0 public, 4 clients with "), "\(log)")
        #expect(log.contains("half: FedAvg: 4 clients, Dirichlet(0.5) over classes, 3 rounds of 2 of 4 clients"))
    }

    @Test("clients keep what they are: accuracies of each, the first is saved")
    func clients() throws {
        let place = try Place(.cpu)
        let results = try place.run(
            "run",
            [
                ("md", scheme("fedmd", ", public: 10, transfer-epochs: 2, private-epochs: 2")),
                ("local", scheme("local")),
            ])
        let log = try String(contentsOfFile: place.folder.path("run/log.txt"), encoding: .utf8)
        for role in ["md", "local"] {
            let metrics = try #require(results.arms.first { $0.role == role }).seeds[0].metrics
            let line = try #require(
                log.split(separator: "\n").first { $0.contains("\(role) seed 0: clients' accuracy: ") })
            let each =
                line.split(separator: ": ").last?.split(separator: ", ").compactMap {
                    Double($0.replacing("%", with: "").trimmingCharacters(in: .whitespaces))
                } ?? []
            #expect(each.count == 4, "\(line)")
            let mean = 100 * (metrics["client_accuracy"] ?? .nan)
            #expect(abs(each.reduce(0, +) / 4 - mean) < 0.06, "\(line), mean \(mean)")
            #expect(abs((each.min() ?? 0) - 100 * (metrics["worst_client_accuracy"] ?? .nan)) < 0.06)
            #expect(abs(each[0] - 100 * (metrics["accuracy"] ?? .nan)) < 0.06)
        }
    }

    // MARK: Runs

    @Test("the same seed gives the same bits", arguments: TestBackend.fast)
    func deterministic(_ backend: TestBackend) throws {
        let place = try Place(backend)
        let keys = ", fraction: 0.5, public: 20, public-epochs: 2"
        let arms: Arms = [
            ("fedavg", scheme("fedavg", ", fraction: 0.5")), ("fedprox", scheme("fedprox", ", fraction: 0.5")),
            ("feddf", scheme("feddf", keys + ", ensemble: mean-probabilities, temperature: 2")),
            ("fedmd", scheme("fedmd", keys + ", digest: kl")), ("local", scheme("local")),
        ]
        let (one, two) = (try place.run("one", arms), try place.run("two", arms))
        for (index, arm) in arms.enumerated() {
            #expect(try place.weights("one", arm.0) == place.weights("two", arm.0), "\(arm.0)")
            #expect(one.arms[index + 1].seeds[0].confusion == two.arms[index + 1].seeds[0].confusion)
            #expect(
                one.arms[index + 1].seeds[0].metrics["worst_client_accuracy"]
                    == two.arms[index + 1].seeds[0].metrics["worst_client_accuracy"])
        }
        #expect(try place.weights("one", "fedavg") != place.weights("one", "fedprox"))
    }

    @Test("what cannot work is refused before anything is trained, with its place")
    func refusals() throws {
        let place = try Place(.cpu)
        func refused(
            _ keys: String, _ what: String, objective: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
        ) {
            let error = thrown(RetortError.self, sourceLocation: sourceLocation) {
                var recipe = try place.recipe([("arm", keys)], train: Self.plain)
                if let objective {
                    recipe = try Recipe.read(
                        place.folder.path("federated.yaml"), overrides: ["arms.arm.objective=\(objective)"])
                }
                _ = try place.start("run", recipe).run()
            }
            #expect(error?.exit == .recipe, sourceLocation: sourceLocation)
            #expect(error?.what.contains(what) == true, "\(error?.description ?? "")", sourceLocation: sourceLocation)
            // The arm stands on line 5; an override has no place in the file.
            #expect(
                objective != nil || error?.location?.line == 5, "\(error?.description ?? "")",
                sourceLocation: sourceLocation)
            #expect(!FileManager.default.fileExists(atPath: place.folder.path("run")), sourceLocation: sourceLocation)
        }
        refused(scheme("fedmd"), "fedmd needs a public set")
        refused(scheme("feddf"), "feddf needs a public set")
        refused(scheme("fedmd", ", public: 80"), "80 public rows of 72")
        refused(scheme("feddf", ", public: 0.001"), "0 public rows of 72")
        refused(scheme("feddf", ", public: 2.5"), "scheme.public is 2.5")
        refused(scheme("feddf", ", public: 70"), "4 clients and 2 rows")
        refused("scheme: {kind: federated, method: fedavg, clients: 73}", "73 clients and 72 rows")
        refused("train: {rows: 3}, " + scheme("fedavg"), "4 clients and 3 rows")
        refused(scheme("fedavg", ", fraction: 0.1"), "fraction picks nobody")
        refused(scheme("fedavg", ", fraction: 0"), "fraction picks nobody")
        refused(scheme("local", ", fraction: 0.5"), "fraction means nothing to local")
        refused(scheme("fedavg", ", mu: 1"), "scheme.mu means nothing to fedavg")
        refused(scheme("fedprox", ", models: [{kind: mlp, layers: [4, 3]}]"), "scheme.models means nothing to fedprox")
        refused(scheme("fedmd", ", public: 9, temperature: 2"), "scheme.temperature means nothing")
        refused(scheme("fedmd", ", public: 9, models: [{kind: mlp, layers: [5, 3]}]"), "client's")
        refused("train: {epochs: 3}, " + scheme("fedavg"), "has train.epochs")
        refused(scheme("fedavg"), "needs a teacher", objective: "[{loss: hinton}]")
    }

    @Test("on digits, every method beats the mean client by itself", arguments: TestBackend.fast)
    func digits(_ backend: TestBackend) throws {
        let folder = try ScratchFolder()
        func keys(_ method: String, _ more: String = "") -> String {
            "{kind: federated, method: \(method), clients: 8, rounds: 12, local-epochs: 2, dirichlet: 0.3, "
                + "public: 0.2\(more)}"
        }
        let recipe = """
            data: {kind: csv, path: \(Project.root)/data/uci-digits/digits.csv, label: label, scale: 0.0625, test: {every: 5}}
            teacher: {model: {kind: mlp, layers: [64, 10]}, train: {epochs: 1}}
            student: {model: {kind: mlp, layers: [64, 32, 10]}}
            arms:
              local: {objective: [{loss: cross-entropy}], scheme: \(keys("local"))}
              fedavg: {objective: [{loss: cross-entropy}], scheme: \(keys("fedavg"))}
              fedprox: {objective: [{loss: cross-entropy}], scheme: \(keys("fedprox", ", mu: 0.1"))}
              feddf: {objective: [{loss: cross-entropy}], scheme: \(keys("feddf", ", public-epochs: 5"))}
              fedmd: {objective: [{loss: cross-entropy}], scheme: \(keys("fedmd", ", transfer-epochs: 5, private-epochs: 2"))}
            train: {epochs: 1, batch: 32, optimizer: {kind: sgd, lr: 0.1, momentum: 0.9}}
            seeds: [1]
            """
        let run = try TrainingRun(
            try Recipe.read(try folder.write(recipe, to: "digits.yaml")), device: try backend.device(),
            output: folder.path("run"), progress: Progress(quiet: true))
        let results = try run.run()
        func metric(_ role: String, _ key: String) throws -> Double {
            let arm = try #require(results.arms.first { $0.role == role })
            return try #require(arm.seeds[0].metrics[key])
        }
        let alone = try metric("local", "client_accuracy")
        let gains = try ["fedavg", "fedprox", "feddf"].map { try metric($0, "accuracy") - alone }
        print("digits on \(backend): client by itself \(alone), gains \(gains)")
        print("fedmd", try metric("fedmd", "client_accuracy"))
        #expect(gains.allSatisfy { $0 > 0.1 })
        #expect(try metric("fedmd", "client_accuracy") > alone + 0.05)
        #expect(try metric("fedmd", "worst_client_accuracy") > metric("local", "worst_client_accuracy"))
    }
}
