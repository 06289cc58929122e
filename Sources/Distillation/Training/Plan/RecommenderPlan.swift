import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Goes through the trainings of a recommender's recipe on a device without bytes.
struct RecommenderPlan {
    private let recipe: RecommenderRecipe
    private let device: Device
    private let rates: DeviceRates
    private let split: InteractionSplit
    private let task: RecommenderTask

    /// Reads the data, and refuses what a run would refuse.
    /// - Throws: `RetortError` 65, 66 for data and models, 78 for the recipe.
    init(_ recipe: RecommenderRecipe, on device: Device, _ rates: DeviceRates) throws {
        self.recipe = recipe
        self.device = device
        self.rates = rates
        split = try recipe.data.load()
        task = RecommenderTask(split)
        try RecommenderRun.rehearse(recipe, task, on: Rehearsal(of: device, rates).device)
    }

    func roles() throws -> [PlannedRole] {
        var roles: [PlannedRole] = []
        if case .train(let spec, let train) = recipe.teacher {
            roles.append(
                try role("teacher", spec, RecommenderRun.teacherTerms, train, isTeacher: true, needsTeacher: false))
        }
        for arm in recipe.arms {
            roles.append(
                try role(
                    arm.name, recipe.student, arm.terms, arm.train, isTeacher: false, needsTeacher: arm.needsTeacher))
        }
        return roles
    }

    private func role(
        _ name: String, _ spec: RecommenderSpec, _ terms: [RecommenderArmTerm], _ training: TrainSpec, isTeacher: Bool,
        needsTeacher: Bool
    ) throws -> PlannedRole {
        let rehearsal = Rehearsal(of: device, rates)
        let here = rehearsal.device
        let tables = try isTeacher ? nil : teacherTables(on: here)
        let teaching = rehearsal.memory.byPurpose
        let (model, arena) = try RecommenderRun.fresh(
            spec, isTeacher ? "teacher" : "student", task, seed: 0, on: here)
        let trainer = try RecommenderTrainer(
            model, arena, terms: terms, teacher: needsTeacher ? tables : nil, name: name, spec: training,
            seed: recipe.seeds[0], on: here)
        var curve = TrainingCurve()
        let work = try rehearsal.work {
            try curve.train(
                passes: training.epochs,
                kind: { epoch in
                    terms.map { $0.ramp.factor(TrainingProgress(epoch: epoch, epochs: training.epochs)) == 0 ? 0 : 1 }
                }, points: 20, on: here, pass: { .init(try trainer.epoch($0)) },
                step: { trainer.step },
                measure: {
                    model.setTraining(false)
                    return try RankingEvaluation(RecommenderRun.constant(model), split, on: here)[
                        RecommenderRun.quality]
                }, report: { _, _ in })
        }
        withExtendedLifetime(tables) {}
        let pairs = min(training.batch, task.train.userOfPair.count)
        return PlannedRole(
            name: name, parameters: model.parameterCount, trained: arena.count, batch: .init(rows: pairs, part: pairs),
            steps: curve.steps, memory: curve.memory, teacher: teaching,
            taken: rehearsal.memory.reserved, largestPiece: rehearsal.largestPiece, work: work, notes: [])
    }

    /// What is there of a teacher that was trained, or read, before.
    private func teacherTables(on device: Device) throws -> EmbeddingTables {
        switch recipe.teacher {
        case .directory(let path):
            return try RecommenderRun.constant(try RecommenderDirectory.load(path, for: task, on: device))
        case .train(let spec, _):
            return try RecommenderRun.constant(
                try RecommenderRun.fresh(spec, "teacher", task, seed: 0, on: device).model)
        }
    }
}

extension RecommenderRecipe {
    public func plan(on device: Device) throws -> RunPlan {
        try checkData()
        let rates = try DeviceRates(measuring: device.compute)
        return RunPlan(
            try RecommenderPlan(self, on: device, rates).roles(), seeds: seeds.count, on: device, rates,
            remedy: "Make the batch smaller (train.batch), or the model (dimension).")
    }
}
