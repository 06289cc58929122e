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
        /// The others that teach and are trained in lock step: a loss that takes one teacher is averaged over them.
        public let peers: [any Model]
        /// Share of the inputs that the student does not see.
        public let hidden: Float
        public let balance: LossBalance
        /// What the student sees of an example; the teacher is given all of it.
        public let view: InputView
        /// What a scheme adds to the recipe's losses; each is a mean over examples, or does not depend on them.
        public let own: [any ObjectiveTerm]

        public init(
            _ terms: [ArmTerm], teacher: (any Teacher)?, name: String = "student", peers: [any Model] = [],
            hidden: Float = 0,
            balance: LossBalance = .none, view: InputView = .whole, own: [any ObjectiveTerm] = []
        ) {
            self.terms = terms
            self.teacher = teacher
            self.name = name
            self.peers = peers
            self.hidden = hidden
            self.balance = balance
            self.view = view
            self.own = own
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
    /// Of each loss: made ready once, or once for each peer.
    private let terms: [[PreparedTerm]]
    private let balancer: any LossBalancer
    /// Signals that this model's answer keeps, and those of whoever teaches.
    private var studentSignals: Set<String>
    private let teacherSignals: [Set<String>]
    private let data: DeviceRows
    let device: Device
    private let schedule: Schedule
    private let learningRate: Double
    private let batch: Int
    /// Rows of one forward and backward; larger batches are gone through in parts.
    private let microBatch: Int
    private let order: EpochOrder
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
        order = EpochOrder(seed: seed)
        progress = TrainingProgress(epochs: spec.epochs)
        let prepared = try TermBuilder(model, goal: goal, data: data, seed: seed, on: device)
        studentSignals = prepared.studentSignals
        teacherSignals = prepared.teacherSignals
        terms = try prepared.build()
        balancer = try goal.balance.make(terms: terms.count, optimizer: spec.optimizer, on: device)
        projectors = try ProjectorSet(
            terms.joined().flatMap { $0.term.modules }, spec.optimizer, clip: spec.clip, seed: seed, on: device)
    }

    /// Lets peers that answer in the same step keep what the others want to see of them.
    static func introduce(_ trainers: [Trainer]) {
        for (number, trainer) in trainers.enumerated() where trainer.goal.teacher == nil {
            // Each has the others in this order.
            for (place, other) in trainers.indices.filter({ $0 != number }).enumerated() {
                trainers[other].studentSignals.formUnion(trainer.teacherSignals[place])
            }
        }
    }

    public var stepsPerEpoch: Int { (data.rows + batch - 1) / batch }

    /// Goes on as after this many steps: where the learning rate stands when a training is continued in parts.
    func start(at step: Int) { progress.step = step }

    /// The order of the rows in an epoch: a function of the seed and the epoch alone.
    func permutation(epoch: Int) -> [Int32] { order.permutation(epoch: epoch, count: data.rows) }

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
        for trainer in trainers {
            trainer.model.setTraining(true)
            trainer.projectors.setTraining(true)
            trainer.progress.epoch = index
        }
        let pass = try first.device.dataTimes.counting(.preparing) {
            try TrainingPass(
                first.data, order: order ?? first.permutation(epoch: index), batch: first.batch,
                classes: first.model.classes, views: first.views, seed: first.order.seed(1), epoch: index,
                on: first.device)
        }
        let losses = try compute.empty([trainers.count, steps], for: .data)
        try compute.forEachStep(steps) { s in
            let batch = try pass.next(step: first.step)
            let ids = batch.ids
            if trainers.count == 1, ids.count > first.microBatch {
                try first.learnInParts(batch, lossInto: losses.reshaped([steps]).slice(s..<(s + 1)))
                if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
                return
            }
            let answers = try trainers.map { trainer in try batch.views.map { try trainer.answer($0.x, $0.view) } }
            let inputs = try trainers.enumerated().map { number, trainer in
                try batch.views.enumerated().map { place, shown in
                    let others = answers.enumerated().filter { $0.offset != number }.map { $0.element[place].output }
                    let (student, hidden) = answers[number][place]
                    return Seen(
                        view: shown.view,
                        input: ObjectiveInput(
                            student: student, teachers: try trainer.teachers(shown.x, shown.view, peers: others),
                            labels: batch.labels, targets: batch.targets, ids: ids, hidden: hidden,
                            progress: trainer.progress))
                }
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
            try trainer.balancer.endEpoch()
            return own
        }
    }

    private func check(_ losses: [Float]) throws {
        try RetortError.checkConvergence(
            losses, skipped: try optimizer.nonFiniteSteps() + projectors.nonFiniteSteps(), step: step)
    }

    /// What losses see of a batch, or of a part of it, in one of its views.
    private struct Seen {
        let view: ExampleView
        let input: ObjectiveInput
    }

    /// The views that losses of this epoch look at; the weak one where none does.
    private var views: [ExampleView] {
        let wanted = ExampleView.allCases.filter { view in counts({ _ in true }, in: view) }
        return wanted.isEmpty ? [.weak] : wanted
    }

    /// The student's answer to a view of a batch, or of the part of it that begins at `firstRow`, on the tape, and what a loss hid of the
    /// pictures.
    private func answer(
        _ x: Tensor, _ view: ExampleView, firstRow: Int = 0
    ) throws -> (output: ModelOutput, hidden: Tensor?) {
        var x = try goal.view(x)
        let hiding = goal.terms.first {
            $0.view == view && $0.objective.hiding != nil && $0.ramp.factor(progress) != 0
        }
        let hidden = try hiding?.objective.hiding?.draw(
            for: x, firstRow: firstRow, seed: order.seed(view == .weak ? 2 : 3), step: step, on: device)
        if let hidden { x = try x * (hidden * -1).adding(1) }
        if goal.hidden > 0 {
            let stream = view.stream("hidden") &+ UInt64(step)
            let firstElement = firstRow * (x.count / max(1, x.shape[0]))
            x = try x.dropout(
                goal.hidden, seed: order.seed(0), stream: stream, firstElement: firstElement
            ).scaled(1 - goal.hidden)
        }
        return (try model.forward(x, capturing: studentSignals), hidden)
    }

    /// The answers of all who teach, off the tape, to a view that a loss with a teacher looks at. Stale peers are a teacher like any other.
    private func teachers(_ x: Tensor, _ view: ExampleView, peers: [ModelOutput]) throws -> [ModelOutput] {
        guard counts({ $0.needsTeacher }, in: view) else { return [] }
        return try goal.teacher?.answer(x, capturing: teacherSignals) ?? peers.map(\.detached)
    }

    /// Whether a loss of this kind counts in this epoch.
    /// - Parameter view: nil: of either.
    private func counts(_ kind: (any Objective) -> Bool, in view: ExampleView? = nil) -> Bool {
        goal.terms.contains {
            $0.ramp.factor(progress) != 0 && (view ?? $0.view) == $0.view && kind($0.objective)
        }
    }

    /// Both sides' embeddings of examples, off the tape, by the first loss that has such; nil where none has.
    func embeddings(_ x: Tensor, labels: View) throws -> (student: Tensor, teacher: Tensor)? {
        guard let teacher = goal.teacher, let prepared = terms.joined().first(where: { $0.term is any EmbeddingTerm })
        else { return nil }
        return try Autograd.withoutGradients {
            try prepared.embeddings(
                ObjectiveInput(
                    student: try model.forward(goal.view(x), capturing: studentSignals),
                    teachers: try teacher.answer(x, capturing: teacherSignals), labels: labels))
        }
    }

    /// - Parameter seen: each view of the batch.
    private func learn(_ seen: [Seen], lossInto slot: View) throws {
        let total = try totalLoss(seen)
        try run(Copy(), .init(x: total.view.reshaped([1]), y: .write(slot)), on: device.compute)
        if total.needsGradient { try total.backward() }
        try takeStep()
    }

    private func takeStep() throws {
        let rate = Float(schedule.rate(step, base: learningRate))
        try optimizer.step(learningRate: rate)
        try projectors.step(learningRate: rate)
        try balancer.step(learningRate: rate)
        progress.step += 1
        for prepared in terms.joined() { try prepared.afterStep() }
        try goal.teacher?.afterStep()
    }

    /// The sum of the losses that count in this epoch and look at what is given; of those that span the batch, or of the others, when asked.
    /// - Parameters:
    ///   - seen: views of the batch or of a part of it, each once.
    ///   - share: of the batch's rows that are in them.
    ///   - rows: of the batch; nil: those of the views.
    ///   - spanning: nil: of both.
    ///   - withOwn: whether what the scheme adds is among them.
    private func totalLoss(
        _ seen: [Seen], share: Float = 1, of rows: Int? = nil, spanning: Bool? = nil, withOwn: Bool = true
    ) throws -> Tensor {
        var losses: [Tensor] = []
        for (index, (arm, prepared)) in zip(goal.terms, terms).enumerated() {
            let factor = Float(arm.ramp.factor(progress))
            guard factor != 0, spanning == nil || spanning == arm.objective.spansBatch,
                let input = seen.first(where: { $0.view == arm.view })?.input
            else { continue }
            var loss = try Tensor.total(prepared.map { try $0.loss(input) })
            // The mean over peers first: what balances losses must see what is minimised.
            if prepared.count > 1 { loss = try loss * (1 / Float(prepared.count)) }
            let reduction = arm.reduction.factor(
                rows: rows ?? input.rows, classes: input.student.logits.shape.last ?? 1)
            if reduction != 1 { loss = try loss * reduction }
            loss = try balancer.weigh(loss, term: index, share: share)
            losses.append(factor == 1 ? loss : try loss * factor)
        }
        if spanning != true, withOwn, let input = seen.first?.input {
            losses += try goal.own.map { try $0.loss(input) }
        }
        return losses.isEmpty ? try Tensor([0], [], on: device) : try Tensor.total(losses)
    }

    /// What each loss is multiplied by now beside its own weight and ramp; empty when nothing balances them.
    public func balance() throws -> [Double] { try balancer.weights() }

    // MARK: Micro-batches

    /// A batch in parts, with the gradient of the whole: the mean over rows is taken over the whole batch, and losses that compare
    /// examples with each other see all of it. For those every part goes forward once without a tape; the loss of the joined answers
    /// gives the gradient of each, which the parts' second forward hands on (the gradient cache of Gao et al. 2021,
    /// arXiv:2101.06983). Batch normalisation takes its statistics part by part, as whenever gradients are accumulated. Of two views each
    /// part goes through one after the other.
    private func learnInParts(_ batch: TrainingBatch, lossInto slot: View) throws {
        let rows = batch.ids.count
        let parts = stride(from: 0, to: rows, by: microBatch).map { $0..<min(rows, $0 + microBatch) }
        let taught = try parts.map { range in
            try batch.views.map { try teachers($0.x.slice(range), $0.view, peers: []) }
        }
        func input(
            _ student: ModelOutput, _ teachers: [ModelOutput], _ range: Range<Int>, hidden: Tensor? = nil
        ) -> ObjectiveInput {
            ObjectiveInput(
                student: student, teachers: teachers, labels: batch.labels.slice(range),
                targets: batch.targets?.slice(range), ids: batch.ids.slice(range), hidden: hidden,
                firstRow: range.lowerBound, progress: progress)
        }
        let whole = counts(\.spansBatch)
        var cached = batch.views.map { _ in [(path: String?, gradient: Parameter)]() }
        if whole {
            let statistics = try model.buffers.map { try Tensor(view: $0.view, on: device).copied() }
            let answers = try Autograd.withoutGradients {
                try batch.views.map { shown in
                    try parts.map { try answer(shown.x.slice($0), shown.view, firstRow: $0.lowerBound).output }
                }
            }
            for (buffer, before) in zip(model.buffers, statistics) {
                try run(Copy(), .init(x: before.view, y: .write(buffer.view)), on: device.compute)
            }
            var seen: [Seen] = []
            for (place, shown) in batch.views.enumerated() {
                let (leaves, joined) = try ModelOutput.joined(answers[place]).leaves()
                cached[place] = leaves
                let teachers = try (taught.first?[place] ?? []).indices.map { index in
                    try ModelOutput.joined(taught.map { $0[place][index] })
                }
                seen.append(Seen(view: shown.view, input: input(joined, teachers, 0..<rows)))
            }
            let loss = try totalLoss(seen, spanning: true)
            try run(Copy(), .init(x: loss.view.reshaped([1]), y: .write(slot)), on: device.compute)
            if loss.needsGradient { try loss.backward() }
        }
        for (index, range) in parts.enumerated() {
            for (place, shown) in batch.views.enumerated() {
                let (student, hidden) = try answer(shown.x.slice(range), shown.view, firstRow: range.lowerBound)
                let seen = Seen(
                    view: shown.view, input: input(student, taught[index][place], range, hidden: hidden))
                let share = Float(range.count) / Float(rows)
                let loss =
                    try totalLoss(
                        [seen], share: share, of: rows, spanning: whole ? false : nil, withOwn: place == 0) * share
                let isFirst = !whole && index == 0 && place == 0
                try run(
                    Copy(), .init(x: loss.view.reshaped([1]), y: Output(slot, isFirst ? .write : .accumulate)),
                    on: device.compute)
                var roots: [(tensor: Tensor, upstream: Tensor)] = []
                if loss.needsGradient { roots.append((loss, try Tensor([1], [], on: device))) }
                for (path, leaf) in cached[place] where leaf.hasGradient {
                    let tensor = path.map { student.signals[$0]! } ?? student.logits
                    roots.append((tensor, Tensor(view: leaf.gradient.slice(range), on: device)))
                }
                if !roots.isEmpty { try Tensor.backward(roots) }
            }
        }
        try takeStep()
    }
}

extension Trainer: EpochResumable {
    /// Parts that keep something of their own, by name.
    private var lasting: [(name: String, part: any LastingPart)] {
        var all: [(name: String, part: AnyObject?)] = [("balance", balancer), ("teacher", goal.teacher)]
        for (term, prepared) in terms.enumerated() {
            for (peer, one) in prepared.enumerated() { all.append(("loss.\(term).\(peer)", one.term)) }
        }
        return all.lasting()
    }

    var state: TrainingState {
        var state = TrainingState()
        describe(&state)
        return state
    }

    func resume(_ stored: StoredState) throws { try resume(stored, of: "") }

    /// - Parameter owner: of several trainings in one state, whose this is: "peer1.".
    func describe(_ state: inout TrainingState, of owner: String = "") {
        state.add(optimizer, as: owner + "student")
        state.add(buffersOf: model, as: owner + "student")
        projectors.describe(&state, of: owner)
        for (name, part) in lasting { part.describe(&state, as: owner + name) }
        state.set(owner + "step", .int(step))
    }

    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState, of owner: String) throws {
        try stored.fill(optimizer, with: owner + "student")
        try stored.fill(buffersOf: model, with: owner + "student", on: device.compute)
        try projectors.resume(stored, of: owner)
        for (name, part) in lasting { try part.resume(stored, as: owner + name, on: device.compute) }
        progress.step = try stored.facts.member(owner + "step").int(in: 0...1 << 53)
    }
}

extension RetortError {
    /// The same, of a training among several.
    func inTraining(of role: String, _ seed: UInt64) -> RetortError {
        var error = self
        error.what = "\(role) seed \(seed): \(what)"
        return error
    }

    /// Throws exit 86 when a loss of the steps before `step`, or a gradient among them, was not finite.
    static func checkConvergence(_ losses: [Float], skipped: Int, step: Int) throws(RetortError) {
        func diverged(_ what: String, step: Int) -> RetortError {
            .diverged(
                "training diverged: \(what)", why: "at step \(step + 1)",
                help: "lower the learning rate, clip the gradient (train.clip), or look for bad values in the data")
        }
        if let bad = losses.firstIndex(where: { !$0.isFinite }) {
            // The sign of a NaN says nothing.
            let loss = losses[bad].isNaN ? "NaN" : "\(losses[bad])"
            throw diverged("the loss is \(loss)", step: step - losses.count + bad)
        }
        if skipped > 0 {
            throw diverged("\(skipped) steps of this epoch had a gradient that is not finite", step: step - 1)
        }
    }
}
