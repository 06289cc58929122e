import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Goes through the trainings of an encoder's recipe on a device without bytes: the step with the most tokens, for memory, and a usual
/// one, for time.
struct EncoderPlan {
    private let recipe: EncoderRecipe
    private let device: Device
    private let rates: DeviceRates
    private let reading: EncoderRun.Reading

    private var seed: UInt64 { recipe.seeds[0] }

    /// Reads the data, and refuses what a run would refuse.
    /// - Throws: `RetortError` 65, 66 for data and models, 78 for the recipe.
    init(_ recipe: EncoderRecipe, on device: Device, _ rates: DeviceRates) throws {
        self.recipe = recipe
        self.device = device
        self.rates = rates
        reading = try EncoderRun.Reading(recipe)
        try EncoderRun.rehearse(recipe, reading, on: Rehearsal(of: device, rates).device)
    }

    func roles() throws -> [PlannedRole] {
        var roles: [PlannedRole] = []
        if let teacher = recipe.teacher, let train = teacher.train, let reader = reading.teacher,
            let objective = type(of: recipe.task).aloneObjective
        {
            roles.append(try role(Role.teacher, teacher.spec, reader, [objective], train))
        }
        for arm in recipe.arms {
            roles.append(try role(arm.name, recipe.student, reading.student, arm.terms, arm.train, of: arm))
        }
        return roles
    }

    /// - Parameter arm: nil for the teacher, beside whom nobody is there yet.
    private func role(
        _ name: String, _ spec: EncoderSpec, _ reader: EncoderRun.Reader, _ terms: [EncoderArmTerm],
        _ train: LanguageTrainSpec, of arm: EncoderRecipe.Arm? = nil
    ) throws -> PlannedRole {
        let rehearsal = Rehearsal(of: device, rates)
        let here = rehearsal.device
        let data = reading.data
        let taught = try arm == nil ? nil : teacher(on: here)
        let teaching = rehearsal.memory.byPurpose
        let (model, arena) = try EncoderRun.make(spec, reader, data, who: name, seed: seed, on: here)
        let reads = arm == nil ? EncoderRole.teacher : .student
        let answers = arm?.needsTeacher ?? false ? taught?.answers : nil
        let trainer = try EncoderTrainer(
            model, arena, terms: terms, teacher: answers, liveTeacher: arm?.inner == nil ? nil : taught?.model,
            lesson: data.lesson(for: reads, teacher: answers, seed: seed, on: here), spec: train, name: name,
            seed: seed)
        let sizes = try (0..<trainer.steps).map(trainer.tokens(ofStep:))
        let order = sizes.indices.sorted { sizes[$0] < sizes[$1] }
        guard let largest = order.last else { throw RetortError.internalBug("a training without steps") }
        let usual = order[order.count / 2]
        var memory = MemoryReport()
        // What the first steps leave behind is there in all later ones.
        for step in [usual, largest, largest] {
            here.compute.resetPeakMemory()
            try trainer.rehearse(step: step)
            if rehearsal.memory.peak > memory.peak { memory = rehearsal.memory }
        }
        let work = try rehearsal.work { try trainer.rehearse(step: usual) }
        _ = try data.quality(model, as: reads, teacher: taught?.answers)
        withExtendedLifetime(taught) {}
        return PlannedRole(
            name: name, parameters: model.model.parameterCount, trained: arena.count,
            batch: .init(
                rows: train.batch, part: min(train.microBatch ?? train.batch, train.batch),
                tokens: (sizes[largest], sizes[usual])),
            steps: trainer.steps, memory: memory, teacher: teaching, taken: rehearsal.memory.reserved,
            largestPiece: rehearsal.largestPiece, work: work * Double(trainer.steps), notes: [])
    }

    /// What is there of a teacher while students are trained: what it said, and itself where a loss looks inside it.
    private func teacher(on device: Device) throws -> (answers: TeacherAnswers, model: AnsweringEncoder?)? {
        guard let teacher = recipe.teacher, let reader = reading.teacher else { return nil }
        let (model, _) = try EncoderRun.make(
            teacher.spec, reader, reading.data, who: "teacher", seed: seed, trains: teacher.train != nil,
            dtype: teacher.dtype, on: device)
        let width =
            teacher.reduces
            ? try recipe.student.plan(head: reading.data.head, tokenizer: reading.student.tokenizer).hidden
            : model.width
        let answers = try reading.stand(in: model, width: width, on: device)
        return (answers, recipe.arms.contains { $0.inner != nil } ? model : nil)
    }
}

extension EncoderRecipe {
    func plan(on device: Device) throws -> RunPlan {
        try checkData()
        let rates = try DeviceRates(measuring: device.compute)
        return RunPlan(
            try EncoderPlan(self, on: device, rates).roles(), seeds: seeds.count, on: device, rates,
            remedy: """
                Go through a batch in parts (train.micro-batch), make it smaller (train.batch), cut texts (max-length), or compute
                blocks again in backward (train.activation-checkpointing), or store what steps read in bf16 (train.dtype).
                """)
    }
}
