import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Trains one model on rows that live on the device. The host runs the loop and draws the order of the rows; every number is
/// computed on the device, and read back once an epoch.
public final class Trainer {
    /// What a step adds up: losses, and the teacher they look at.
    public struct Goal {
        public let terms: [ArmTerm]
        public let teacher: (any Teacher)?
        /// The arm's name: projectors are named after it.
        public let name: String
        /// The others that are trained in lock step teach: losses are averaged over them. Else all models of a teacher are handed to
        /// each loss together.
        public let hasPeers: Bool
        /// Share of the inputs that the student does not see.
        public let hidden: Float

        public init(
            _ terms: [ArmTerm], teacher: (any Teacher)?, name: String = "student", hasPeers: Bool = false,
            hidden: Float = 0
        ) {
            self.terms = terms
            self.teacher = teacher
            self.name = name
            self.hasPeers = hasPeers
            self.hidden = hidden
        }

        /// Losses without ramps and at most one model that teaches.
        public init(_ objectives: [any Objective], teacher: (any Model)?) {
            self.init(objectives.map { ArmTerm($0) }, teacher: teacher.map { LocalTeacher($0) })
        }
    }

    public let model: any Model
    public let optimizer: any Optimizer
    /// What the losses train beside the student.
    public let projectors: ProjectorSet
    private let goal: Goal
    private let terms: [(ramp: Ramp, term: any ObjectiveTerm)]
    private let request: SignalRequest
    private let data: DeviceRows
    private let device: Device
    private let schedule: Schedule
    private let learningRate: Double
    private let batch: Int
    /// Rows of one forward and backward; larger batches are gone through in parts.
    private let microBatch: Int
    private let order: Philox
    private var progress: TrainingProgress

    /// Optimizer steps taken.
    public var step: Int { progress.step }

    /// - `arena`: the model's parameters, already placed.
    /// - `seed`: draws the order of the rows, by epoch, and starts projectors.
    /// - Throws: `RetortError` 78 when a loss asks for what the models cannot show.
    public init(
        _ model: any Model, _ arena: ParameterArena, goal: Goal, data: DeviceRows, spec: TrainSpec, seed: UInt64,
        on device: Device
    ) throws {
        self.model = model
        self.goal = goal
        self.data = data
        self.device = device
        batch = spec.batch
        microBatch = spec.microBatch ?? spec.batch
        schedule = spec.schedule.make(
            epochs: spec.epochs, stepsPerEpoch: (data.rows + spec.batch - 1) / spec.batch)
        learningRate = spec.optimizer.learningRate
        optimizer = try spec.optimizer.make(arena, clip: spec.clip)
        order = Philox(seed: seed, stream: Philox.stream("order"))
        progress = TrainingProgress(epochs: spec.epochs)
        let prepared = try TermBuilder(model, goal: goal, data: data, seed: seed, on: device)
        request = prepared.request
        terms = try zip(goal.terms, prepared.build()).map { ($0.ramp, $1) }
        projectors = try ProjectorSet(terms.flatMap { $0.term.modules }, spec: spec, seed: seed, on: device)
    }

    public var stepsPerEpoch: Int { (data.rows + batch - 1) / batch }

    /// The order of the rows in an epoch: a function of the seed and the epoch alone.
    func permutation(epoch: Int) -> [Int32] {
        Philox(
            seed: UInt64(order.word(UInt64(epoch))) << 32 | UInt64(order.word(UInt64(epoch) + (1 << 40))),
            stream: Philox.stream("shuffle")
        ).permutation(data.rows)
    }

    /// One pass over the rows.
    /// - `order`: the rows' order; nil draws it.
    /// - Returns: the loss of each step.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite; 75 when a signal asked to stop.
    @discardableResult
    public func epoch(_ index: Int, order: [Int32]? = nil) throws -> [Float] {
        try Self.epoch(index, of: [self], order: order)[0]
    }

    /// One pass of several trainers over the same rows in lock step: at each batch all compute their losses before any takes its step.
    /// - Returns: the losses of each trainer's steps.
    static func epoch(_ index: Int, of trainers: [Trainer], order: [Int32]? = nil) throws -> [[Float]] {
        let first = trainers[0]
        let compute = first.device.compute
        let steps = first.stepsPerEpoch
        let pass = try TrainingPass(
            first.data, order: order ?? first.permutation(epoch: index), batch: first.batch,
            classes: first.model.classes, on: first.device)
        for trainer in trainers {
            trainer.model.setTraining(true)
            trainer.projectors.setTraining(true)
            trainer.progress.epoch = index
        }
        let losses = try compute.empty([trainers.count, steps], for: .data)
        for s in 0..<steps {
            let batch = try pass.next(at: .init(seed: UInt64(first.order.word(1)), epoch: index, step: first.step))
            let ids = batch.ids
            if trainers.count == 1, ids.count > first.microBatch {
                try first.learnInParts(batch, lossInto: losses.reshaped([steps]).slice(s..<(s + 1)))
                if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
                continue
            }
            let answers = try trainers.map { try $0.answer(batch.x) }
            let inputs = try trainers.enumerated().map { number, trainer in
                let others = answers.enumerated().filter { $0.offset != number }.map(\.element)
                return ObjectiveInput(
                    student: answers[number], teachers: try trainer.teachers(batch.x, peers: others),
                    labels: batch.labels, targets: batch.targets, ids: ids, progress: trainer.progress)
            }
            for (number, (trainer, input)) in zip(trainers, inputs).enumerated() {
                let slot = losses.slice(number..<(number + 1)).reshaped([steps]).slice(s..<(s + 1))
                try trainer.learn(input, lossInto: slot)
            }
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
        let values: [Float] = try compute.read(losses)
        return try trainers.enumerated().map { number, trainer in
            let own = Array(values[(number * steps)..<((number + 1) * steps)])
            try trainer.check(own)
            return own
        }
    }

    private func check(_ losses: [Float]) throws {
        if let bad = losses.firstIndex(where: { !$0.isFinite }) {
            throw diverged("the loss is \(losses[bad])", step: step - losses.count + bad)
        }
        let skipped = try optimizer.nonFiniteSteps() + projectors.nonFiniteSteps()
        if skipped > 0 {
            throw diverged("\(skipped) steps of this epoch had a gradient that is not finite", step: step - 1)
        }
    }

    /// The student's answer to a batch, on the tape, with what its own losses and its peers' want to see.
    private func answer(_ x: Tensor) throws -> ModelOutput {
        var x = x
        if goal.hidden > 0 {
            let stream = Philox.stream("hidden") &+ UInt64(step)
            x = try x.dropout(goal.hidden, seed: UInt64(order.word(0)), stream: stream).scaled(1 - goal.hidden)
        }
        return try model.forward(
            x, capturing: goal.hasPeers ? request.student.union(request.teacher) : request.student)
    }

    /// The answers of all who teach, off the tape. Stale peers are a teacher like any other.
    private func teachers(_ x: Tensor, peers: [ModelOutput]) throws -> [ModelOutput] {
        guard counts({ $0.needsTeacher }) else { return [] }
        if let teacher = goal.teacher { return try teacher.answer(x, capturing: request.teacher) }
        return goal.hasPeers ? peers.map(\.detached) : []
    }

    /// Whether a loss of this kind counts in this epoch.
    private func counts(_ kind: (any Objective) -> Bool) -> Bool {
        zip(goal.terms, terms).contains { $1.ramp.factor(progress) != 0 && kind($0.objective) }
    }

    private func learn(_ input: ObjectiveInput, lossInto slot: View) throws {
        let total = try totalLoss(input)
        try run(Copy(), .init(x: total.view.reshaped([1]), y: .write(slot)), on: device.compute)
        if total.needsGradient { try total.backward() }
        try takeStep([input])
    }

    /// - Parameter seen: the batch, or its parts.
    private func takeStep(_ seen: [ObjectiveInput]) throws {
        let rate = Float(schedule.rate(step, base: learningRate))
        try optimizer.step(learningRate: rate)
        try projectors.step(learningRate: rate)
        progress.step += 1
        for (_, term) in terms { for input in seen { try term.afterStep(input) } }
        try goal.teacher?.afterStep()
    }

    /// The sum of the terms that count in this epoch; of those that span the batch, or of the others, when asked.
    private func totalLoss(_ input: ObjectiveInput, spanning: Bool? = nil) throws -> Tensor {
        var total: Tensor?
        for (index, (ramp, term)) in terms.enumerated() {
            let objective = goal.terms[index].objective
            let factor = Float(ramp.factor(progress))
            guard factor != 0, spanning == nil || spanning == objective.spansBatch else { continue }
            let single = !goal.hasPeers || !objective.needsTeacher || objective.takesAllTeachers
            let inputs = single ? [input] : input.teachers.map { input.with(teacher: $0) }
            for seen in inputs {
                var loss = try term.loss(seen)
                let weight = factor / Float(inputs.count)
                if weight != 1 { loss = try loss * weight }
                total = try total.map { try $0 + loss } ?? loss
            }
        }
        return try total ?? Tensor([0], [], on: device)
    }

    // MARK: Micro-batches

    /// A batch in parts, with the gradient of the whole: the mean over rows is taken over the whole batch, and losses that compare
    /// examples with each other see all of it. For those every part goes forward once without a tape; the loss of the joined answers
    /// gives the gradient of each, which the parts' second forward hands on (the gradient cache of Gao et al. 2021,
    /// arXiv:2101.06983). Batch normalisation takes its statistics part by part, as whenever gradients are accumulated.
    private func learnInParts(_ batch: TrainingBatch, lossInto slot: View) throws {
        let rows = batch.ids.count
        let parts = stride(from: 0, to: rows, by: microBatch).map { $0..<min(rows, $0 + microBatch) }
        let taught = try parts.map { try teachers(batch.x.slice($0), peers: []) }
        func input(_ student: ModelOutput, _ teachers: [ModelOutput], _ range: Range<Int>) -> ObjectiveInput {
            ObjectiveInput(
                student: student, teachers: teachers, labels: batch.labels.slice(range),
                targets: batch.targets?.slice(range), ids: batch.ids.slice(range), progress: progress)
        }
        let whole = counts(\.spansBatch)
        var cached: [(path: String?, gradient: Parameter)] = []
        if whole {
            let statistics = try model.buffers.map { try Tensor(view: $0.view, on: device).copied() }
            let answers = try Autograd.withoutGradients { try parts.map { try answer(batch.x.slice($0)) } }
            for (buffer, before) in zip(model.buffers, statistics) {
                try run(Copy(), .init(x: before.view, y: .write(buffer.view)), on: device.compute)
            }
            let (leaves, joined) = try ModelOutput.joined(answers).leaves()
            cached = leaves
            let teachers = try (taught.first ?? []).indices.map { index in
                try ModelOutput.joined(taught.map { $0[index] })
            }
            let loss = try totalLoss(input(joined, teachers, 0..<rows), spanning: true)
            try run(Copy(), .init(x: loss.view.reshaped([1]), y: .write(slot)), on: device.compute)
            if loss.needsGradient { try loss.backward() }
        }
        var seenParts: [ObjectiveInput] = []
        for (index, range) in parts.enumerated() {
            let student = try answer(batch.x.slice(range))
            let seen = input(student, taught[index], range)
            let loss = try totalLoss(seen, spanning: whole ? false : nil) * (Float(range.count) / Float(rows))
            try run(
                Copy(), .init(x: loss.view.reshaped([1]), y: Output(slot, whole || index > 0 ? .accumulate : .write)),
                on: device.compute)
            var roots: [(tensor: Tensor, upstream: Tensor)] = []
            if loss.needsGradient { roots.append((loss, try Tensor([1], [], on: device))) }
            for (path, leaf) in cached where leaf.hasGradient {
                let tensor = path.map { student.signals[$0]! } ?? student.logits
                roots.append((tensor, Tensor(view: leaf.gradient.slice(range), on: device)))
            }
            if !roots.isEmpty { try Tensor.backward(roots) }
            seenParts.append(seen)
        }
        try takeStep(seenParts)
    }

    private func diverged(_ what: String, step: Int) -> RetortError {
        .diverged(
            "training diverged: \(what)", why: "at step \(step + 1)",
            help: "lower the learning rate, clip the gradient (train.clip), or look for bad values in the data")
    }
}
