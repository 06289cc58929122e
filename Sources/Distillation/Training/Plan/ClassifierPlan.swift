import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Goes through the trainings of a classifier's recipe on a device without bytes, by the schemes and trainers that will run.
struct ClassifierPlan {
    private let recipe: Recipe
    private let device: Device
    private let rates: DeviceRates
    private let examples: Examples

    /// Reads the data, and refuses what a run would refuse.
    /// - Throws: `RetortError` 65, 66 for data and models, 78 for the recipe.
    init(_ recipe: Recipe, on device: Device, _ rates: DeviceRates) throws {
        self.recipe = recipe
        self.device = device
        self.rates = rates
        examples = try recipe.data.load(teacher: try recipe.teachers.lazy.compactMap { try $0.preprocessing() }.first)
        try TrainingRun.check(recipe, examples)
        try TrainingRun.rehearse(recipe, examples, on: Rehearsal(of: device, rates).device)
    }

    func roles() throws -> [PlannedRole] {
        var roles: [PlannedRole] = []
        for (index, teacher) in recipe.teachers.enumerated() {
            guard case .train(let model, let train) = teacher.source else { continue }
            roles.append(
                try role(
                    teacher.role, OfflineScheme.plain, model, seeing: teacher.sees,
                    [ArmTerm(TeacherSpec.objective)], train, beside: index
                ) { _ in nil })
        }
        for arm in recipe.arms {
            roles.append(
                try role(
                    arm.name, arm.scheme, recipe.student, seeing: recipe.studentSees, arm.terms, balance: arm.balance,
                    arm.train, beside: recipe.teachers.count
                ) { TrainingRun.teacher(of: arm, in: recipe, among: $0) })
        }
        return roles
    }

    /// - Parameters:
    ///   - beside: how many of the teachers are there already.
    ///   - teacher: who teaches, of these.
    private func role(
        _ name: String, _ scheme: any Scheme, _ model: ModelSpec, seeing view: InputView, _ terms: [ArmTerm],
        balance: LossBalance = .none, _ spec: TrainSpec, beside: Int, teacher: ([any Model]) -> LocalTeacher?
    ) throws -> PlannedRole {
        let rehearsal = Rehearsal(of: device, rates)
        let here = rehearsal.device
        let test = try DeviceRows(examples.test, normalization: examples.normalization, on: here)
        let before = rehearsal.memory.byPurpose
        let teachers = try recipe.teachers.prefix(beside).map { try trained($0, on: here) }
        let teaching = rehearsal.memory.byPurpose.merging(before) { $0 - $1 }
        let rows = try spec.rows.map { try examples.train.first($0) } ?? examples.train
        let seed = recipe.seeds[0]
        let session = ArmSession(
            role: name, seed: seed, initialSeed: seed, model: model, task: try examples.task.seen(by: view),
            terms: terms, balance: balance, view: view, training: spec, teacher: teacher(teachers),
            data: try recipe.data.rows(rows, normalization: examples.normalization, on: here), test: test, device: here,
            report: { _ in }, note: { _ in })
        var parameters = 0
        let work = try rehearsal.work {
            parameters = try scheme.train(session).parameterCount
            _ = try session.retrieval()
        }
        // Teachers stay, also beside an arm that looks at none.
        withExtendedLifetime(teachers) {}
        return PlannedRole(
            name: name, parameters: parameters, trained: parameters,
            batch: .init(
                rows: min(spec.batch, rows.count), part: min(spec.microBatch ?? spec.batch, spec.batch, rows.count)),
            steps: session.plannedSteps, memory: session.memory, teacher: teaching, taken: rehearsal.memory.reserved,
            largestPiece: rehearsal.largestPiece, work: work, notes: [])
    }

    /// A teacher as it is there once it has been trained, or read.
    private func trained(_ teacher: TeacherSpec, on device: Device) throws -> any Model {
        let task = try examples.task.seen(by: teacher.sees)
        switch teacher.source {
        case .directory(let path):
            return try TrainingRun.load(
                teacher: path, for: task, of: recipe.data, recipe.data.kind.stated(examples.classNames), on: device)
        case .train(let spec, _):
            let model = try spec.make(for: task, who: "teacher")
            _ = try model.materialize(on: device, seed: 0)
            model.freeze()
            return model
        }
    }
}

extension Recipe {
    public func plan(on device: Device) throws -> RunPlan {
        try checkData()
        let rates = try DeviceRates(measuring: device.compute)
        return RunPlan(
            try ClassifierPlan(self, on: device, rates).roles(), seeds: seeds.count, on: device, rates,
            remedy:
                "Go through a batch in parts (train.micro-batch), make it smaller (train.batch), or take a smaller model."
        )
    }
}
