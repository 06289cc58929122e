import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort train`: for each seed a teacher and the student of every arm, each trained, measured and saved.
public final class TrainingRun: RecipeRun {
    private let recipe: Recipe
    private let device: Device
    private let directory: RunDirectory
    private let progress: Progress
    private let examples: Examples
    private let teacherPreprocessing: [Preprocessing]
    private let test: DeviceRows
    private let task: ClassificationTask
    private let clock = ContinuousClock()
    /// As the progress line shows it between two measurements.
    private var lastAccuracy = "–"

    /// Reads the data and opens the run directory.
    /// - Throws: `RetortError` for the data (65, 66), the recipe (78) or the output (73, 74).
    public init(_ recipe: Recipe, device: Device, output: String?, progress: Progress) throws {
        self.recipe = recipe
        self.device = device
        self.progress = progress
        teacherPreprocessing = try recipe.teachers.compactMap { try $0.preprocessing() }
        examples = try recipe.data.load(teacher: teacherPreprocessing.first)
        task = examples.task
        try Self.check(recipe, examples)
        test = try DeviceRows(examples.test, normalization: examples.normalization, on: device)
        try Self.rehearse(recipe, examples, on: device)
        directory = try RunDirectory(output: output, recipe: recipe, device: device)
    }

    /// Asked before anything is there, so that a refused recipe leaves no directory behind.
    /// - Throws: `RetortError` 78 for models or rows that do not fit the data, 65 for a label that a model has no class for.
    static func check(_ recipe: Recipe, _ examples: Examples) throws {
        try checkLabels(recipe, classes: examples.task.classes)
        for teacher in recipe.teachers {
            let seen = try examples.task.seen(by: teacher.sees)
            if case .train(let model, _) = teacher.source { _ = try model.make(for: seen, who: "teacher") }
        }
        _ = try recipe.student.make(for: examples.task.seen(by: recipe.studentSees), who: "student")
        for arm in recipe.arms {
            guard let rows = arm.train.rows else { continue }
            let own = recipe.node["arms"]?[arm.name]?["train"]?["rows"]
            _ = try examples.train.first(
                rows, key: own == nil ? "train.rows" : "arms.\(arm.name).train.rows",
                at: (own ?? recipe.node["train"]?["rows"])?.location)
        }
        for teacher in recipe.teachers {
            guard case .train(_, let spec) = teacher.source, let rows = spec.rows else { continue }
            let path = teacher.name.map { ["teachers", $0] } ?? ["teacher"]
            let place = (path + ["train", "rows"]).reduce(recipe.node, { $0?[$1] })?.location
            _ = try examples.train.first(rows, key: path.joined(separator: ".") + ".train.rows", at: place)
        }
    }

    /// Models whose last layer the recipe states, against the labels of a CSV file.
    /// - Throws: `RetortError` 65 with the place of the first label that one of them has no class for.
    private static func checkLabels(_ recipe: Recipe, classes all: Int) throws {
        guard case .csv(let column, _, _) = recipe.data.kind else { return }
        var models: [(owner: String, spec: ModelSpec)] = []
        for case .train(let spec, _) in recipe.teachers.map(\.source) { models.append(("the teacher", spec)) }
        models.append(("the student", recipe.student))
        for arm in recipe.arms {
            for spec in arm.scheme.peers.compactMap({ $0 }) {
                models.append(("a student of the arm \(arm.name)", spec))
            }
        }
        for (owner, spec) in models {
            guard let classes = spec.statedClasses, classes < all else { continue }
            let place = spec.location?.line.map { " (line \($0) of the recipe)" } ?? ""
            let error = try RetortError.unknownLabel(
                in: recipe.data.path, column: column, of: owner, classes: classes, all: all,
                source: "its last layer has as many outputs\(place)", remedy: "the last layer needs \(all) outputs")
            if let error { throw error }
        }
    }

    /// Builds the losses of every arm once, on fresh models: what does not fit is refused before anything is trained, not when its
    /// arm's turn comes.
    static func rehearse(_ recipe: Recipe, _ examples: Examples, on device: Device) throws {
        func fresh(_ spec: ModelSpec, _ who: String, seeing view: InputView) throws -> any Model {
            let model = try spec.make(for: examples.task.seen(by: view), who: who)
            _ = try model.materialize(on: device, seed: 0)
            return model
        }
        let teachers: [any Model] = try recipe.teachers.map { teacher in
            switch teacher.source {
            case .train(let spec, _): try fresh(spec, "teacher", seeing: teacher.sees)
            case .directory(let path):
                try Self.load(
                    teacher: path, for: examples.task.seen(by: teacher.sees), of: recipe.data,
                    recipe.data.kind.stated(examples.classNames), on: device)
            }
        }
        for (spec, model) in zip(recipe.teachers, teachers) {
            guard case .train(_, let train) = spec.source else { continue }
            try rehearseSmallestStep(
                model, train, examples, seeing: spec.sees, who: "the teacher", at: recipe.node["train"]?.location,
                on: device)
        }
        let data = try DeviceRows(
            try examples.train.first(min(2, examples.train.count)), normalization: examples.normalization, on: device)
        for arm in recipe.arms {
            try arm.scheme.rehearse(
                examples.task.seen(by: recipe.studentSees), rows: arm.train.rows ?? examples.train.count)
            let student = try fresh(recipe.student, "student", seeing: recipe.studentSees)
            func another(_ spec: ModelSpec?) throws -> any Model {
                try fresh(spec ?? recipe.student, "student", seeing: recipe.studentSees)
            }
            let peers = try arm.scheme.peers.map(another)
            func build(_ teacher: LocalTeacher?, _ student: any Model, _ peers: [any Model]) throws {
                let goal = Trainer.Goal(
                    arm.terms, teacher: teacher, name: arm.name, peers: peers, view: recipe.studentSees)
                _ = try TermBuilder(student, goal: goal, data: data, seed: 0, on: device).build()
            }
            if peers.isEmpty {
                try build(teacher(of: arm, in: recipe, among: teachers), student, [])
            } else {
                // Peers learn from the others as these do from them.
                let all = arm.scheme.trainsPeers ? [student] + peers : [student]
                for learner in all {
                    let others = ([student] + peers).filter { $0 !== learner }
                    try build(
                        arm.scheme.peersShareSteps
                            ? nil : LocalTeacher(others, seeing: others.map { _ in recipe.studentSees }), learner,
                        arm.scheme.peersShareSteps ? others : [])
                }
            }
            if !arm.scheme.keepsTeachers {
                // Later generations have one like themselves.
                try build(LocalTeacher(try another(nil), seeing: recipe.studentSees), student, [])
            }
            for model in [student] + peers {
                try rehearseSmallestStep(
                    model, arm.train, examples, seeing: recipe.studentSees, who: "the arm \(arm.name)",
                    at: recipe.node["arms"]?[arm.name]?.location, on: device)
            }
        }
    }

    /// Batch normalisation has no statistics of one value: a step of one row, where maps have shrunk to one position, is refused.
    private static func rehearseSmallestStep(
        _ model: any Model, _ train: TrainSpec, _ examples: Examples, seeing view: InputView, who: String,
        at location: RetortError.Location?, on device: Device
    ) throws {
        let rows = examples.train.count
        guard train.smallestPart(of: rows) == 1 else { return }
        let one = try DeviceRows(try examples.train.first(1), normalization: examples.normalization, on: device)
        model.setTraining(true)
        do {
            _ = try Autograd.withoutGradients { try model(view(one.examples(0..<1, on: device))) }
        } catch let error as KernelError {
            throw RetortError.recipe(
                "\(who) has a step of one row, which its batch normalisation cannot take", at: location,
                why: "\(train.rows ?? rows) rows in batches of \(train.batch)"
                    + (train.microBatch.map { " and micro-batches of \($0)" } ?? "") + "; \(error)",
                help: "choose a batch, or a number of rows, that leaves more than one row for every step")
        }
    }

    /// - Parameter all: the recipe's teachers.
    static func teacher(of arm: Recipe.Arm, in recipe: Recipe, among all: [any Model]) -> LocalTeacher? {
        arm.teachers.isEmpty
            ? nil : LocalTeacher(arm.teachers.map { all[$0] }, seeing: arm.teachers.map { recipe.teachers[$0].sees })
    }

    public var path: String { directory.path }

    /// Trains everything.
    /// - Throws: `RetortError` 75 when a signal asked to stop (what is finished is saved), 86 when training diverges.
    public func run() throws -> RunResults {
        try directory.finishing(trainAll)
    }

    private func trainAll() throws -> RunResults {
        var teacherResults = recipe.teachers.map { _ in [SeedResult]() }
        var together: [SeedResult] = []
        var armResults = recipe.arms.map { _ in [SeedResult]() }
        try say("device: \(device.summary)")
        for theirs in teacherPreprocessing where !theirs.treatsInputs(as: examples.preprocessing) {
            let ours = examples.preprocessing?.description ?? "as they are"
            try say("a teacher was trained on other inputs: \(theirs); here: \(ours)")
        }
        if case .files(let files) = examples.train {
            try say("\(files.count) training images are decoded anew in each epoch: they are more than data.memory")
        }
        for arm in recipe.arms {
            for term in arm.terms { try say("\(arm.name): minimise \(term.contract)") }
            for line in [arm.balance.contract, arm.scheme.contract] where !line.isEmpty {
                try say("\(arm.name): \(line)")
            }
        }
        for line in recipe.remarks { try say(line) }

        for seed in recipe.seeds {
            let taught = try recipe.teachers.map { try teacher($0, seed) }
            for (index, (_, result)) in taught.enumerated() { teacherResults[index].append(result) }
            let teachers = taught.map(\.0)
            let reference = try reference(teachers)
            if teachers.count > 1 { together.append(try measureTogether(teachers, reference, seed: seed)) }
            for (index, arm) in recipe.arms.enumerated() {
                armResults[index].append(try student(arm, seed, teachers, reference))
            }
        }
        var roles = zip(recipe.teachers, teacherResults).map {
            ArmResult(role: $0.role, contract: [$0.contract], seeds: $1)
        }
        if roles.count > 1 {
            let names = recipe.teachers.compactMap(\.name).joined(separator: ", ")
            roles.insert(
                ArmResult(role: Role.teacher, contract: ["mean of the probabilities of \(names)"], seeds: together),
                at: 0)
        }
        return RunResults(
            recipe: recipe.name, device: device.description, deviceSummary: device.summary, seeds: recipe.seeds,
            classes: examples.classNames,
            arms: roles + zip(recipe.arms, armResults).flatMap { rows(of: $0, $1) },
            gallery: try gallery())
    }

    /// An arm's row and those of the students that learned beside its own.
    private func rows(of arm: Recipe.Arm, _ seeds: [SeedResult]) -> [ArmResult] {
        let peers = arm.scheme.peers.enumerated().map { number, peer in
            let kind = (peer ?? recipe.student).type.architecture.kind
            return ["peer \(number + 1) of \(arm.name), a model of kind \(kind): it minimises what \(arm.name) does"]
        }
        return ArmResult(role: arm.name, contract: arm.contract, seeds: seeds).apart(peers)
    }

    /// For images: where the first seed's students differ from their teacher, by the models as they were saved.
    private func gallery() throws -> Gallery? {
        guard examples.test.sample.count == 3 else { return nil }
        let seed = recipe.seeds[0]
        func saved(_ role: String) throws -> any Model {
            try ModelDirectory.load(directory.folder(role, seed) + "/final", on: device).model
        }
        let teachers = try recipe.teachers.map { teacher in
            switch teacher.source {
            case .train: try saved(teacher.role)
            case .directory(let path): try load(teacher, path)
            }
        }
        let arms = recipe.arms.map(\.name)
        var gallery = try Gallery(
            examples.test,
            evaluations: [(Role.teacher, try reference(teachers))]
                + arms.map { ($0, try Evaluation(try saved($0), test, seeing: recipe.studentSees, on: device)) })
        let pictures = gallery?.pictures.prefix(Gallery.mapped) ?? []
        guard !pictures.isEmpty else { return gallery }
        func add(_ model: any Model, seeing view: InputView, of role: String) throws {
            let maps = try ModelMaps(
                model, test, seeing: view, rows: pictures.map(\.row), labels: pictures.map(\.label), on: device)
            gallery?.add(maps, of: role)
        }
        // The mean of several looks nowhere.
        if teachers.count == 1 { try add(teachers[0], seeing: recipe.teachers[0].sees, of: Role.teacher) }
        for role in arms { try add(try saved(role), seeing: recipe.studentSees, of: role) }
        return gallery
    }

    // MARK: Teachers

    /// - Parameter names: what the classes of the data are called, where they have names: the teacher's are put in their order.
    /// - Throws: `RetortError` 65 when the teacher is for other data.
    static func load(
        teacher path: String, for task: ClassificationTask, of data: DataSource, _ names: ClassNames?,
        on device: Device
    ) throws -> any Model {
        let (model, _) = try ModelDirectory.load(path, on: device)
        if case .csv(let column, _, _) = data.kind, model.classes < task.classes {
            let error = try RetortError.unknownLabel(
                in: data.path, column: column, of: "the teacher", classes: model.classes, all: task.classes,
                source: "as \(path.quoted(limit: 200)) has", remedy: "it needs a teacher of \(task.classes) classes")
            if let error { throw error }
        }
        try names?.align(model, from: path, who: "the teacher")
        guard model.accepts(task.sample), model.classes == task.classes else {
            throw RetortError.badData(
                "the teacher maps examples of shape \(model.task.sample) to "
                    + "\(NumberFormat.counted(model.classes, "class", "classes")); the data has "
                    + "\(task.sample) and \(task.classes)", at: .init(file: path + "/config.json"))
        }
        model.freeze()
        return model
    }

    private func load(_ teacher: TeacherSpec, _ path: String) throws -> any Model {
        try Self.load(teacher: path, for: task.seen(by: teacher.sees), of: recipe.data, classNames, on: device)
    }

    private func teacher(_ spec: TeacherSpec, _ seed: UInt64) throws -> (any Model, SeedResult) {
        switch spec.source {
        case .directory(let path):
            let model = try load(spec, path)
            return (model, try measure(model, seeing: spec.sees, seed: seed, session: nil, reference: nil))
        case .train(let model, let train):
            if let done = try directory.finished(spec.role, seed) {
                let (model, _) = try ModelDirectory.load(directory.folder(spec.role, seed) + "/final", on: device)
                model.freeze()
                return (model, done)
            }
            // Teachers of one architecture start, and are trained in an order, of their own.
            let own = seed ^ (spec.name.map { UInt64(Philox(seed: seed, stream: Philox.stream($0)).word(0)) } ?? 0)
            let (trained, result) = try fit(
                OfflineScheme.plain, role: spec.role, model: model, view: spec.sees,
                terms: [ArmTerm(TeacherSpec.objective)], spec: train, seed: seed, orderSeed: own,
                initialSeed: own ^ 0x7eac_4e12, teacher: nil, reference: nil)
            trained.freeze()
            return (trained, result)
        }
    }

    /// What students are compared with: the teacher's answers, or the mean of the probabilities of several.
    private func reference(_ teachers: [any Model]) throws -> Evaluation {
        Evaluation.mean(
            of: try zip(teachers, recipe.teachers).map { try Evaluation($0, test, seeing: $1.sees, on: device) })
    }

    /// Several teachers as one: what they cost is added up.
    private func measureTogether(_ teachers: [any Model], _ evaluation: Evaluation, seed: UInt64) throws -> SeedResult {
        let parameters = Double(teachers.reduce(0) { $0 + $1.parameterCount })
        return SeedResult(
            seed: seed, evaluation,
            [
                .parameters: parameters, .bytes: parameters * 4,
                .latency: try zip(teachers, recipe.teachers).reduce(0) {
                    $0 + (try forwardLatency($1.0, test, seeing: $1.1.sees, on: device))
                },
            ], curve: [])
    }

    // MARK: Students

    private func student(
        _ arm: Recipe.Arm, _ seed: UInt64, _ teachers: [any Model], _ reference: Evaluation
    ) throws -> SeedResult {
        if let done = try directory.finished(arm.name, seed) { return done }
        // The weights depend on the seed alone: every arm starts from the same student.
        return try fit(
            arm.scheme, role: arm.name, model: recipe.student, view: recipe.studentSees, terms: arm.terms,
            balance: arm.balance, spec: arm.train, seed: seed, orderSeed: seed, initialSeed: seed,
            teacher: Self.teacher(of: arm, in: recipe, among: teachers), reference: reference
        ).result
    }

    private func fit(
        _ scheme: any Scheme, role: String, model: ModelSpec, view: InputView, terms: [ArmTerm],
        balance: LossBalance = .none, spec: TrainSpec, seed: UInt64, orderSeed: UInt64, initialSeed: UInt64,
        teacher: (any Teacher)?,
        reference: Evaluation?
    ) throws -> (model: any Model, result: SeedResult) {
        let start = clock.now
        let rows = try spec.rows.map { try examples.train.first($0) } ?? examples.train
        let place = CheckpointPlace(
            folder: directory.folder(role, seed) + "/checkpoints", spec: recipe.checkpoint,
            forget: { try self.directory.forget(role, seed, generation: $0, keeping: $1) })
        let session = ArmSession(
            role: role, seed: orderSeed, initialSeed: initialSeed, model: model, task: try task.seen(by: view),
            terms: terms, balance: balance, view: view, training: spec, teacher: teacher, data: try deviceRows(rows),
            test: test, device: device, report: { try self.record($0, role, seed) },
            note: { try self.say("\(role) seed \(seed): \($0)") }, place: place)
        let saved = Role.isTeacher(role) ? SavedType.f32 : recipe.savedType
        let trained: any Model
        var result: SeedResult
        do {
            trained = try scheme.train(session)
            let models = [trained] + session.peers
            try directory.round(models.map { $0 as any Module }, to: saved, at: paths(of: session, role, seed)) {
                try ModelDirectory.save(
                    models[$0], preprocessing: examples.preprocessing, region: view.region, classes: classNames, to: $1)
            }
            result = try measure(trained, seeing: view, seed: seed, session: session, reference: reference)
            result.peers = try session.peers.map {
                try measure($0, seeing: view, seed: seed, session: nil, reference: reference)
            }
        } catch let error as RetortError where error.exit == .stopped {
            throw try session.stopped()
        } catch let error as RetortError where error.exit == .diverged {
            throw error.inTraining(of: role, seed)
        }
        for (number, (peer, own)) in zip(session.peers, result.peers).enumerated() {
            try say(
                "\(role) seed \(seed): peer \(number + 1) (\(peer.parameterCount) parameters): accuracy "
                    + NumberFormat.percent(own.metrics[Metric.accuracy.rawValue] ?? .nan))
            try ModelDirectory.save(
                peer, preprocessing: examples.preprocessing, region: view.region, classes: classNames,
                to: paths(of: session, role, seed)[number + 1], as: saved)
        }
        try directory.save(
            trained, preprocessing: examples.preprocessing, seeing: view, classes: classNames, result, role: role,
            projectors: session.projectors, as: saved)
        place.remove()
        let time = NumberFormat.duration(seconds: (clock.now - start).seconds)
        try say(
            "\(role) seed \(seed): accuracy \(NumberFormat.percent(result.metrics[Metric.accuracy.rawValue] ?? .nan)), "
                + "\(session.steps) steps in \(time)"
                + (session.finalBalance.isEmpty
                    ? ""
                    : ", losses balanced to "
                        + session.finalBalance.map { NumberFormat.significant($0) }.joined(separator: ", ")))
        return (trained, result)
    }

    /// Where the student of an arm and seed goes, and behind it its peers.
    private func paths(of session: ArmSession, _ role: String, _ seed: UInt64) -> [String] {
        let folder = directory.folder(role, seed)
        return [folder + "/final"] + session.peers.indices.map { folder + "/peers/\($0 + 1)" }
    }

    /// Where the classes have names.
    private var classNames: ClassNames? { recipe.data.kind.stated(examples.classNames) }

    private func deviceRows(_ rows: ExampleSet) throws -> DeviceRows {
        try recipe.data.rows(rows, normalization: examples.normalization, on: device)
    }

    /// One epoch: a line of metrics.jsonl where accuracy was measured, and the progress line.
    private func record(_ report: EpochReport, _ role: String, _ seed: UInt64) throws {
        let point = report.point
        if let accuracy = point.accuracy {
            let facts = report.facts.map {
                (key: $0.key, value: Int(exactly: $0.value).map(JSON.int) ?? .double($0.value))
            }
            let generation: [(key: String, value: JSON)] = report.generation.map { [("generation", .int($0))] } ?? []
            try directory.record(
                [
                    ("arm", .string(role)), ("seed", .int(Int(seed))), ("epoch", .int(point.epoch)),
                    ("step", .int(point.step)), ("train/loss", .double(point.loss)),
                    ("eval/accuracy", .double(accuracy)),
                ] + generation + facts)
            lastAccuracy = NumberFormat.percent(accuracy)
        }
        let loss = NumberFormat.significant(point.loss)
        let label = "\(role) seed \(seed)" + (report.generation.map { ", generation \($0)" } ?? "")
        progress.status("\(label)  epoch \(point.epoch)/\(report.epochs)  loss \(loss)  accuracy \(lastAccuracy)")
    }

    private func measure(
        _ model: any Model, seeing view: InputView, seed: UInt64, session: ArmSession?, reference: Evaluation?
    ) throws -> SeedResult {
        let evaluation = try Evaluation(model, test, seeing: view, on: device)
        var metrics: [Metric: Double] = [
            .parameters: Double(model.parameterCount), .bytes: Double(model.parameterCount * 4),
            .latency: try forwardLatency(model, test, seeing: view, on: device),
        ]
        if let session {
            metrics[.peakBytes] = Double(session.peakBytes)
            metrics[.stepTime] = session.stepMicroseconds
            metrics[.retrieval] = try session.retrieval()
            metrics.merge(session.metrics) { $1 }
        }
        return SeedResult(seed: seed, evaluation, metrics, curve: session?.curve ?? [], reference: reference)
    }

    private func say(_ line: String) throws {
        progress.end(line)
        try directory.note(line)
    }
}

extension Recipe: RunnableRecipe {
    public var contracts: [(arm: String, lines: [String])] { arms.map { (arm: $0.name, lines: $0.contract) } }

    public func start(on device: Device, output: String?, progress: Progress) throws -> any RecipeRun {
        try checkData()
        return try TrainingRun(self, device: device, output: output, progress: progress)
    }
}
