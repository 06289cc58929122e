import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// `retort train` with encoders of texts: for each seed the student of every arm is trained, measured and saved; so is the teacher, unless
/// it comes from a directory. Every model reads the texts by its own tokenizer.
final class EncoderRun: RecipeRun {
    private let recipe: EncoderRecipe
    private let device: Device
    private let directory: RunDirectory
    private let progress: Progress
    private let reading: Reading
    private let taskType: any EncoderTask.Type
    /// Of a teacher from a directory, once it was asked.
    private var loaded: Taught?
    private let clock = ContinuousClock()
    /// As the progress line shows it between two measurements.
    private var lastQuality = "–"

    private var data: any EncoderData { reading.data }
    private var teacherReader: Reader? { reading.teacher }
    private var studentReader: Reader { reading.student }

    /// How a model of the run reads texts.
    struct Reader {
        let folder: String
        let tokenizer: Tokenizer
        let settings: SentenceSettings
        /// Tokens of each at most.
        let length: Int
        let encodings: EncodedTexts
    }

    /// A teacher that was asked all there is to ask.
    private struct Taught {
        let result: SeedResult
        /// nil where no arm looks at it.
        let answers: TeacherAnswers?
        /// Kept for losses of what it hides.
        let model: AnsweringEncoder?
    }

    typealias Made = (model: AnsweringEncoder, arena: ParameterArena)

    /// Reads the data and opens the run directory.
    /// - Throws: `RetortError` for the data or a model (65, 66), the recipe (78) or the output (73, 74).
    init(_ recipe: EncoderRecipe, device: Device, output: String?, progress: Progress) throws {
        self.recipe = recipe
        self.device = device
        self.progress = progress
        reading = try Reading(recipe)
        taskType = type(of: recipe.task)
        try Self.rehearse(recipe, reading, on: device)
        directory = try RunDirectory(
            output: output, name: recipe.name, recipe: recipe.node, dataHash: reading.data.digest, device: device)
    }

    var path: String { directory.path }

    func run() throws -> RunResults { try directory.finishing(trainAll) }

    /// - Parameters:
    ///   - trains: false freezes the model and spares the memory of gradients.
    ///   - dtype: what the matrices of a frozen one are stored as.
    static func make(
        _ spec: EncoderSpec, _ reader: Reader, _ data: any EncoderData, who: String, seed: UInt64,
        trains: Bool = true, dtype: DType = .f32, on device: Device
    ) throws -> Made {
        let (encoder, arena) = try spec.reader(
            head: data.head, tokenizer: reader.tokenizer, settings: reader.settings, who: who, seed: seed,
            trains: trains, dtype: dtype, on: device)
        return (AnsweringEncoder(encoder, reader.encodings, head: data.head, on: device), arena)
    }

    /// Builds every model and every loss once, and goes through one example: what does not fit is refused before anything is trained, and
    /// leaves no directory behind.
    static func rehearse(_ recipe: EncoderRecipe, _ reading: Reading, on device: Device) throws {
        let (data, teacher, student) = (reading.data, reading.teacher, reading.student)
        let (model, arena) = try make(recipe.student, student, data, who: "student", seed: 0, on: device)
        var answers: TeacherAnswers?
        var live: AnsweringEncoder?
        if let teacher, let spec = recipe.teacher {
            if spec.train == nil, let folder = spec.spec.directory {
                try checkHead(of: folder, data, at: spec.spec.location)
            }
            let taught = try make(
                spec.spec, teacher, data, who: "teacher", seed: 0, trains: spec.train != nil, dtype: spec.dtype,
                on: device
            ).model
            if spec.reduces, taught.width <= model.width {
                throw RetortError.recipe(
                    "the teacher's vectors have \(taught.width) numbers, the student's \(model.width)",
                    at: recipe.node["teacher"]?["pca"]?.location,
                    why: "principal components are fewer than what they are made of", help: "remove teacher.pca")
            }
            live = taught
            let width = spec.reduces ? model.width : taught.width
            answers = try reading.stand(in: taught, width: width, on: device)
        }
        for arm in recipe.arms {
            let lesson = try data.lesson(
                for: .student, teacher: arm.needsTeacher ? answers : nil, seed: 0, on: device)
            try EncoderTrainer(
                model, arena, terms: arm.terms, teacher: arm.needsTeacher ? answers : nil,
                liveTeacher: arm.inner == nil ? nil : live, lesson: lesson, spec: arm.train, name: arm.name, seed: 0
            ).rehearse()
        }
    }

    /// A teacher's own head says what it knows: one that begins anew would teach noise.
    private static func checkHead(of folder: String, _ data: any EncoderData, at location: RetortError.Location?) throws
    {
        guard case .classification(let wanted) = data.head else { return }
        guard case .classification(let count) = try EncoderDirectory.head(of: folder) else {
            throw RetortError.recipe(
                "the teacher has no classification head", at: location,
                help: "give it a `train`: then it learns the classes first")
        }
        let config = JSONCursor(try JSON.read(folder + "/config.json"), file: folder + "/config.json")
        let names = try EncoderDirectory.classNames(config, count)
        let isUnnamed = names == (0..<count).map { "LABEL_\($0)" }
        // Classes without names are known by their number, where the data's are numbers.
        if !isUnnamed || data.classes == data.classes.indices.map({ "\($0)" }) {
            let known = isUnnamed ? Array(data.classes.prefix(count)) : names
            if let error = try data.unknownClass(beside: known, of: "the teacher") { throw error }
        }
        guard count == wanted, isUnnamed || zip(names, data.classes).allSatisfy({ $0.hasSameBytes(as: $1) }) else {
            throw RetortError.recipe(
                "the teacher knows other classes than the data, or knows them in another order", at: location,
                why:
                    "teacher: \(names.prefix(8).joined(separator: ", ")); data: \(data.classes.prefix(8).joined(separator: ", "))",
                help: "say data.classes in the teacher's order")
        }
    }

    private func trainAll() throws -> RunResults {
        var teacherResults: [SeedResult] = []
        var untrained: [SeedResult] = []
        var armResults = recipe.arms.map { _ in [SeedResult]() }
        try say("device: \(device.summary)")
        try say("data: \(data.summary)")
        for (who, reader) in [("teacher", teacherReader), ("student", studentReader)] {
            if let reader { try say("\(who): \(words(reader))") }
        }
        if let words = recipe.teacher?.precision { try say("teacher: \(words)") }
        for arm in recipe.arms {
            for term in arm.terms { try say("\(arm.name): minimise \(term.contract)") }
            if let words = arm.train.precision { try say("\(arm.name): \(words)") }
        }
        for seed in recipe.seeds {
            let taught = try teacher(seed)
            if let taught { teacherResults.append(taught.result) }
            if taskType.hasVectors {
                let (model, _) = try make(recipe.student, studentReader, "student", seed: seed)
                untrained.append(
                    try measure(model, as: .student, seed: seed, trainer: nil, curve: nil, teacher: taught?.answers))
            }
            for (index, arm) in recipe.arms.enumerated() {
                if let done = try directory.finished(arm.name, seed) {
                    armResults[index].append(done)
                    continue
                }
                armResults[index].append(
                    try fit(
                        arm.name, recipe.student, studentReader, arm.terms, arm.train, seed: seed, initialSeed: seed,
                        teacher: taught?.answers, live: arm.inner == nil ? nil : taught?.model,
                        teaches: arm.needsTeacher
                    ).result)
            }
        }
        let first =
            recipe.teacher.map { teacher in
                [ArmResult(role: Role.teacher, contract: [contract(of: teacher)], seeds: teacherResults)]
            } ?? []
        let before =
            untrained.isEmpty
            ? []
            : [ArmResult(role: EncoderRecipe.untrained, contract: ["the student as it begins"], seeds: untrained)]
        return RunResults(
            recipe: recipe.name, device: device.description, deviceSummary: device.summary, seeds: recipe.seeds,
            classes: data.classes,
            arms: first + before
                + zip(recipe.arms, armResults).map { ArmResult(role: $0.name, contract: $0.contract, seeds: $1) },
            quality: taskType.quality, timeUnit: .step)
    }

    private func contract(of teacher: EncoderRecipe.Teacher) -> String {
        let before = teacher.spec.directory.map { "trained before: \($0)" }
        let here = teacher.train == nil ? nil : taskType.aloneObjective?.contract
        return [before, here].compactMap { $0 }.joined(separator: "; then ")
    }

    private func words(_ reader: Reader) -> String {
        let lengths = (0..<reader.encodings.count).map { reader.encodings.length(of: $0) }.sorted()
        let vectors =
            taskType.hasVectors
            ? "pooling \(reader.settings.pooling.rawValue), \(reader.settings.normalizes ? "length 1" : "any length"), "
            : ""
        return vectors + "tokenizer \(reader.folder.displayable), \(lengths.isEmpty ? 0 : lengths[lengths.count / 2]) "
            + "tokens a text, at most \(lengths.last ?? 0)"
    }

    private func make(_ spec: EncoderSpec, _ reader: Reader, _ who: String, seed: UInt64) throws -> Made {
        try Self.make(spec, reader, data, who: who, seed: seed, on: device)
    }

    /// A teacher that is asked as it is.
    private func frozen(_ teacher: EncoderRecipe.Teacher, _ reader: Reader) throws -> AnsweringEncoder {
        try Self.make(
            teacher.spec, reader, data, who: "teacher", seed: 0, trains: false, dtype: teacher.dtype, on: device
        ).model
    }

    private func teacher(_ seed: UInt64) throws -> Taught? {
        guard let teacher = recipe.teacher, let reader = teacherReader else { return nil }
        guard let train = teacher.train else {
            if let loaded {
                var result = loaded.result
                result.seed = seed
                return Taught(result: result, answers: loaded.answers, model: loaded.model)
            }
            let model = try frozen(teacher, reader)
            let result = try measure(model, as: .teacher, seed: seed, trainer: nil, curve: nil, teacher: nil)
            loaded = Taught(result: result, answers: try answers(model, teacher), model: kept(model))
            return loaded
        }
        guard let objective = taskType.aloneObjective else {
            throw RetortError.internalBug("a teacher that has nothing to learn from")
        }
        let spec = teacher.spec
        if let done = try directory.finished(Role.teacher, seed) {
            let folder = directory.folder(Role.teacher, seed) + "/final"
            let model = try EncoderDirectory.load(folder, head: data.head, on: device, trains: false).model
            let encoder = try SentenceEncoder(model, reader.tokenizer, reader.settings, file: folder)
            let asked = AnsweringEncoder(encoder, reader.encodings, head: data.head, on: device)
            return Taught(result: done, answers: try answers(asked, teacher), model: kept(asked))
        }
        let (model, result) = try fit(
            Role.teacher, spec, reader, [objective], train, seed: seed, initialSeed: seed ^ 0x7eac_4e12,
            teacher: nil, teaches: false)
        return Taught(result: result, answers: try answers(model, teacher), model: kept(model))
    }

    /// The model itself where a loss looks inside it; its answers are enough for all others.
    private func kept(_ model: AnsweringEncoder) -> AnsweringEncoder? {
        recipe.arms.contains { $0.inner != nil } ? model : nil
    }

    /// What a teacher says of all texts, asked once.
    private func answers(_ model: AnsweringEncoder, _ teacher: EncoderRecipe.Teacher) throws -> TeacherAnswers {
        let numbers = (0..<Int32(data.texts.count)).map { $0 }
        let said = try model.answers(numbers, embeddings: data.head != .none) {
            progress.status("the teacher reads  \($0)/\(numbers.count)")
        }
        var reduction: PrincipalComponents?
        if teacher.reduces {
            let count = try recipe.student.plan(head: data.head, tokenizer: studentReader.tokenizer).hidden
            let components = PrincipalComponents(said.values, width: model.width, count: count)
            try say(
                "teacher: \(count) principal components of \(model.width) keep "
                    + "\(NumberFormat.percent(components.kept)) of the variance")
            reduction = components
        }
        return try TeacherAnswers(
            said.values, width: model.width,
            embeddings: data.head == .none ? nil : (said.embeddings, model.embeddingWidth), reduction: reduction,
            on: device)
    }

    private func fit(
        _ role: String, _ spec: EncoderSpec, _ reader: Reader, _ terms: [EncoderArmTerm],
        _ training: LanguageTrainSpec, seed: UInt64, initialSeed: UInt64, teacher: TeacherAnswers?,
        live: AnsweringEncoder? = nil, teaches: Bool
    ) throws -> (model: AnsweringEncoder, result: SeedResult) {
        let start = clock.now
        let (model, arena) = try make(spec, reader, role, seed: initialSeed)
        let reads = Role.isTeacher(role) ? EncoderRole.teacher : .student
        let saved = reads == .teacher ? SavedType.f32 : recipe.savedType
        let trainer = try EncoderTrainer(
            model, arena, terms: terms, teacher: teaches ? teacher : nil, liveTeacher: live,
            lesson: data.lesson(for: reads, teacher: teaches ? teacher : nil, seed: seed, on: device), spec: training,
            name: role, seed: seed)
        let checkpoints = Checkpoints(in: directory.folder(role, seed) + "/checkpoints", recipe.checkpoint)
        let training = try SteppedTraining(trainer, checkpoints, on: device)
        try directory.forget(role, seed, keeping: training.curve.points.count)
        if training.goesOn { try say("\(role) seed \(seed): goes on from step \(trainer.step)") }
        var isWritten = false
        let result: SeedResult
        do {
            try training.train(points: 10) {
                try data.quality(model, as: reads, teacher: teacher)
            } report: { point, _ in
                try record(point, role, seed, trainer.steps)
            }
            // A stop while it is measured would write down what was rounded.
            if saved != .f32 {
                try training.writeDown()
                isWritten = true
            }
            try directory.round([model.model], to: saved, at: [directory.folder(role, seed) + "/final"]) {
                try save(model, reader, to: $1, as: .f32)
            }
            result = try measure(
                model, as: reads, seed: seed, trainer: trainer, curve: training.curve, teacher: teacher)
        } catch let error as RetortError where error.exit == .stopped {
            // In a step, between two, or while something is measured: the steps that were taken are kept.
            if !isWritten { try training.writeDown() }
            throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal") after step \(trainer.step)")
        } catch let error as RetortError where error.exit == .diverged {
            throw error.inTraining(of: role, seed)
        }
        arena.dropWorkingCopy()
        try directory.save(result, role: role, projectors: trainer.projectors) {
            try save(model, reader, to: $0, as: saved)
        }
        checkpoints.remove()
        let time = NumberFormat.duration(seconds: (clock.now - start).seconds)
        let quality = taskType.quality
        try say(
            "\(role) seed \(seed): \(quality.name) "
                + "\(NumberFormat.percent(result.metrics[quality.rawValue] ?? .nan)), \(trainer.step) steps in \(time)")
        return (model, result)
    }

    private func save(_ model: AnsweringEncoder, _ reader: Reader, to folder: String, as type: SavedType) throws {
        try EncoderDirectory.save(model.model, classes: data.classes, to: folder, as: type)
        try LanguageModelDirectory.copyTokenizer(from: reader.folder, to: folder)
        guard taskType.hasVectors else { return }
        var settings = reader.settings
        settings.length = model.encoder.readLength
        try settings.save(to: folder, width: model.width, positions: model.model.maxPositions)
    }

    /// One part of a training: a line of metrics.jsonl, and the progress line.
    private func record(_ point: CurvePoint, _ role: String, _ seed: UInt64, _ steps: Int) throws {
        let quality = taskType.quality
        if let value = point.accuracy {
            try directory.record([
                ("arm", .string(role)), ("seed", .int(Int(seed))), ("step", .int(point.step)),
                ("train/loss", .double(point.loss)), ("eval/\(quality.rawValue)", .double(value)),
            ])
            lastQuality = NumberFormat.percent(value)
        }
        progress.status(
            "\(role) seed \(seed)  step \(point.step)/\(steps)  loss \(NumberFormat.significant(point.loss))  "
                + "\(quality.name) \(lastQuality)")
    }

    private func measure(
        _ model: AnsweringEncoder, as role: EncoderRole, seed: UInt64, trainer: EncoderTrainer?,
        curve: TrainingCurve?, teacher: TeacherAnswers?
    ) throws -> SeedResult {
        let measured = try data.measure(model, as: role, teacher: teacher, trainer: trainer)
        var metrics = measured.metrics
        metrics[.parameters] = Double(model.model.parameterCount)
        metrics[.bytes] = Double(model.model.parameterCount * 4)
        model.model.setTraining(false)
        metrics[.latency] = try medianMicroseconds(on: device) {
            _ = try Autograd.withoutGradients { try model.answer([0]) }
        }
        if let curve {
            metrics[.peakBytes] = Double(curve.peakBytes)
            metrics[.stepTime] = curve.stepMicroseconds
        }
        return SeedResult(
            seed: seed, metrics: Dictionary(uniqueKeysWithValues: metrics.map { ($0.key.rawValue, $0.value) }),
            curve: curve?.points ?? [], confusion: measured.confusion, teacherConfusion: measured.teacherConfusion)
    }

    private func say(_ line: String) throws {
        progress.end(line)
        try directory.note(line)
    }
}

extension EncoderRecipe: RunnableRecipe {
    var contracts: [(arm: String, lines: [String])] { arms.map { (arm: $0.name, lines: $0.contract) } }

    func start(on device: Device, output: String?, progress: Progress) throws -> any RecipeRun {
        try checkData()
        return try EncoderRun(self, device: device, output: output, progress: progress)
    }
}
