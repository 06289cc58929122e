import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Trains one encoder on examples made of texts. A loss sees the whole batch, also where its texts are read in parts.
final class EncoderTrainer {
    let student: AnsweringEncoder
    /// What losses train beside the student.
    let projectors: ProjectorSet
    private let arena: ParameterArena
    private let optimizer: any Optimizer
    private let terms: [(spec: EncoderArmTerm, term: any ObjectiveTerm)]
    /// Those of what models hide, and what they want to see.
    private let inner: [(spec: EncoderArmTerm, term: any LanguageTerm)]
    private let asked: SignalRequest
    private let teacher: TeacherAnswers?
    private let liveTeacher: AnsweringEncoder?
    private let lesson: any EncoderLesson
    private let spec: LanguageTrainSpec
    private let schedule: Schedule
    private let order: EpochOrder
    private let seed: UInt64
    private let device: Device
    private var progress: TrainingProgress
    /// The order of the epoch in progress.
    private var permutation: (epoch: Int, order: [Int32])?
    private let stepsPerEpoch: Int
    /// Texts that were read.
    private(set) var texts = 0

    /// Optimizer steps taken.
    var step: Int { progress.step }
    /// Steps of the whole training.
    let steps: Int

    /// - Parameters:
    ///   - arena: the student's parameters, already placed.
    ///   - teacher: what it answers to all texts; nil where no loss looks at one, or the data have it.
    ///   - liveTeacher: the model itself; needed by losses of what it hides, which want its tokens to be the student's.
    ///   - name: of the arm: projectors are named after it.
    ///   - seed: draws the order of the examples and dropout, and starts projectors.
    /// - Throws: `RetortError` 78 when a loss does not fit the models.
    init(
        _ student: AnsweringEncoder, _ arena: ParameterArena, terms: [EncoderArmTerm], teacher: TeacherAnswers?,
        liveTeacher: AnsweringEncoder? = nil, lesson: any EncoderLesson, spec: LanguageTrainSpec, name: String,
        seed: UInt64
    ) throws {
        self.student = student
        self.arena = arena
        self.teacher = teacher
        self.liveTeacher = liveTeacher
        self.lesson = lesson
        self.spec = spec
        self.seed = seed
        device = student.device
        student.model.checkpointsActivations = spec.checkpointsActivations
        let catalog = AnsweringEncoder.catalog
        let models = ModelPair(student: catalog, teacher: teacher == nil ? nil : catalog)
        self.terms = try terms.enumerated().compactMap { index, term in
            guard let objective = term.objective else { return nil }
            let path = AnsweringEncoder.embedding
            let context = TermContext(
                models: models, student: [path: [student.embeddingWidth]],
                teacher: teacher.map { [path: [$0.embeddingWidth]] } ?? [:], classes: student.width,
                examples: lesson.count, name: "\(name).\(index)", seed: seed, device: student.device)
            return (term, try RetortError.placed(at: term.location) { try objective.term(context) })
        }
        inner = try terms.enumerated().compactMap { index, term in
            guard case .inner(let objective) = term.loss else { return nil }
            let context = LanguageTermContext(
                student: student.model, teacher: liveTeacher?.model, name: "\(name).\(index)")
            return (term, try objective.term(context))
        }
        asked = inner.reduce(into: SignalRequest()) { $0.add($1.term.signals) }
        projectors = try ProjectorSet(
            self.terms.flatMap { $0.term.modules } + inner.flatMap { $0.term.modules }, spec.optimizer, clip: spec.clip,
            seed: seed, on: device)
        stepsPerEpoch = (lesson.count + spec.batch - 1) / spec.batch
        let epochs: Int
        switch spec.length {
        case .epochs(let count): (steps, epochs) = (count * stepsPerEpoch, count)
        case .steps(let count): (steps, epochs) = (count, (count + stepsPerEpoch - 1) / stepsPerEpoch)
        }
        schedule = spec.schedule.make(steps: steps, stepsPerEpoch: stepsPerEpoch)
        optimizer = try spec.optimizer.make(arena, clip: spec.clip)
        if spec.dtype == .bf16 { try arena.keepWorkingCopy() }
        order = EpochOrder(seed: seed)
        progress = TrainingProgress(epochs: epochs)
    }

    /// Some steps, fewer when a signal asked to stop, or something else does.
    /// - Parameter isEnough: asked after each step.
    /// - Returns: the loss of each that was taken.
    /// - Throws: `RetortError` 86 when a loss or a gradient is not finite.
    func train(steps count: Int, until isEnough: () -> Bool = { false }) throws -> [Float] {
        student.model.setTraining(true)
        projectors.setTraining(true)
        let losses = try device.compute.empty([count], for: .data)
        var taken = 0
        while taken < count {
            progress.epoch = step / stepsPerEpoch
            let examples = device.dataTimes.counting(.preparing) { self.examples(ofStep: step) }
            try learn(examples, lossInto: losses.slice(taken..<(taken + 1)))
            taken += 1
            if StopSignal.isRequested || isEnough() { break }
        }
        let values: [Float] = try device.compute.read(losses.slice(0..<taken))
        try RetortError.checkConvergence(
            values, skipped: try optimizer.nonFiniteSteps() + projectors.nonFiniteSteps(), step: step)
        return values
    }

    /// Goes through a step wherever the training stands: on a device without bytes.
    func rehearse(step: Int) throws {
        progress.step = step
        _ = try train(steps: 1)
    }

    /// Tokens of a step's texts, padding included.
    func tokens(ofStep step: Int) throws -> Int {
        try lesson.texts(of: examples(ofStep: step), epoch: step / stepsPerEpoch).reduce(0) { sum, group in
            let size = min(spec.microBatch ?? .max, max(1, group.count))
            return try stride(from: 0, to: group.count, by: size).reduce(sum) {
                try $0 + student.tokens(Array(group[$1..<min(group.count, $1 + size)])).tokens.ids.count
            }
        }
    }

    private func examples(ofStep step: Int) -> [Int32] {
        let epoch = step / stepsPerEpoch
        guard !spec.drawsWithReplacement else {
            return order.drawn((step * spec.batch)..<((step + 1) * spec.batch), count: lesson.count)
        }
        let all: [Int32]
        if let known = permutation, known.epoch == epoch {
            all = known.order
        } else {
            all = order.permutation(epoch: epoch, count: lesson.count)
            permutation = (epoch, all)
        }
        let first = step % stepsPerEpoch * spec.batch
        return Array(all[first..<min(all.count, first + spec.batch)])
    }

    private func learn(_ examples: [Int32], lossInto slot: View) throws {
        let groups = device.dataTimes.counting(.preparing) { lesson.texts(of: examples, epoch: progress.epoch) }
        try backward(groups, examples, lossInto: slot)
        let rate = Float(schedule.rate(step, base: spec.optimizer.learningRate))
        try optimizer.step(learningRate: rate)
        try projectors.step(learningRate: rate)
        progress.step += 1
    }

    /// Loss and gradient of a batch.
    func backward(_ groups: [[Int32]], _ examples: [Int32], lossInto slot: View) throws {
        guard spec.dtype == .bf16 else { return try accumulate(groups, examples, lossInto: slot) }
        try arena.refreshWorkingCopy()
        try student.model.withReducedPrecision { try accumulate(groups, examples, lossInto: slot) }
    }

    /// The same in the precision that is set. Where its texts do not go through the student at once, every part goes forward once without a tape;
    /// the loss of all answers gives the gradient of each, which the parts' second forward, of the same dropout, hands on (the gradient
    /// cache of Gao et al. 2021, arXiv:2101.06983).
    private func accumulate(_ groups: [[Int32]], _ examples: [Int32], lossInto slot: View) throws {
        let size = spec.microBatch ?? .max
        let parts = groups.flatMap { group in
            stride(from: 0, to: group.count, by: min(size, group.count)).map {
                Array(group[$0..<min(group.count, $0 + min(size, group.count))])
            }
        }
        texts += groups.reduce(0) { $0 + $1.count }
        func answer(_ index: Int) throws -> ModelOutput {
            let first = parts[..<index].reduce(0) { $0 + $1.count }
            student.model.setDropout(.init(seed: seed, step: step, firstSample: first))
            return try student.answer(parts[index], capturing: asked.student)
        }
        let isWhole = parts.count <= groups.count
        let answers =
            try isWhole ? parts.indices.map(answer) : Autograd.withoutGradients { try parts.indices.map(answer) }
        let output = try Self.joined(answers)
        let (leaves, seen) = try isWhole ? ([], output) : output.leaves()
        let loss = try total(seen, groups, examples)
        try run(Copy(), .init(x: loss.view.reshaped([1]), y: .write(slot)), on: device.compute)
        guard loss.needsGradient else { return }
        try loss.backward()
        guard !isWhole else { return }
        var first = 0
        for (index, part) in parts.enumerated() {
            let again = try answer(index)
            let roots = leaves.compactMap { path, leaf -> (tensor: Tensor, upstream: Tensor)? in
                guard leaf.hasGradient, let tensor = path.map({ again.signals[$0] }) ?? again.logits else { return nil }
                return (tensor, Tensor(view: leaf.gradient.slice(first..<(first + part.count)), on: device))
            }
            if !roots.isEmpty { try Tensor.backward(roots) }
            first += part.count
        }
    }

    /// Parts of a batch as one, on the tape where they are on it.
    private static func joined(_ parts: [ModelOutput]) throws -> ModelOutput {
        guard parts.count > 1 else { return parts[0] }
        var signals: [String: Tensor] = [:]
        for path in parts[0].signals.keys {
            signals[path] = try Tensor.concatenated(parts.map { $0.signals[path]! }, axis: 0)
        }
        return ModelOutput(logits: try Tensor.concatenated(parts.map(\.logits), axis: 0), signals: signals)
    }

    private func total(_ student: ModelOutput, _ groups: [[Int32]], _ examples: [Int32]) throws -> Tensor {
        var inputs: [RankingCandidates: ObjectiveInput] = [:]
        var losses: [Tensor] = []
        for (spec, term) in terms {
            let factor = Float(spec.ramp.factor(progress))
            guard factor != 0 else { continue }
            let input =
                try inputs[spec.candidates] ?? lesson.input(student, groups, examples, spec.candidates, progress)
            inputs[spec.candidates] = input
            let loss = try term.loss(input)
            let weight = factor * spec.reduction.factor(rows: input.rows, classes: input.student.logits.shape.last ?? 1)
            losses.append(weight == 1 ? loss : try loss * weight)
        }
        losses += try innerLosses(student, Array(groups.joined()))
        return losses.isEmpty ? try Tensor([0], [], on: device) : try Tensor.total(losses)
    }

    /// Of the losses of what models hide those that count now. Both models have the same tokens.
    private func innerLosses(_ student: ModelOutput, _ numbers: [Int32]) throws -> [Tensor] {
        let counting = inner.map { ($0.term, Float($0.spec.ramp.factor(progress))) }.filter { $0.1 != 0 }
        guard !counting.isEmpty, let liveTeacher else { return [] }
        liveTeacher.model.setTraining(false)
        let taught = try Autograd.withoutGradients { try liveTeacher.answer(numbers, capturing: asked.teacher).signals }
        let input = try LanguageInput(
            encoder: self.student.tokens(numbers).tokens, student: student.signals, taught: taught, progress, on: device
        )
        return try counting.map { term, factor in
            let loss = try term.loss(input)
            return factor == 1 ? loss : try loss * factor
        }
    }

    /// Computes the losses once, of a few examples: what does not fit is found before anything is trained.
    /// - Throws: `RetortError` 78.
    func rehearse() throws {
        let examples = (0..<Int32(min(4, lesson.count))).map { $0 }
        let groups = lesson.texts(of: examples, epoch: 0)
        student.model.setTraining(false)
        _ = try Autograd.withoutGradients {
            try innerLosses(student.answer(Array(groups.joined()), capturing: asked.student), Array(groups.joined()))
        }
    }

    /// Vectors of texts as the arm's first loss with a space of its own compares them, of length 1, off the tape; nil where none has one.
    func embeddings(of numbers: [Int32]) throws -> (student: Tensor, teacher: Tensor)? {
        guard let teacher, let term = terms.lazy.compactMap({ $0.term as? any EmbeddingTerm }).first else { return nil }
        student.model.setTraining(false)
        projectors.setTraining(false)
        return try Autograd.withoutGradients {
            let parts = try stride(from: 0, to: numbers.count, by: 32).map { start in
                let part = Array(numbers[start..<min(numbers.count, start + 32)])
                let labels = try device.compute.view(part, [part.count], .i32)
                return try term.embeddings(
                    ObjectiveInput(student: student.answer(part), teachers: [teacher.output(part)], labels: labels))
            }
            return (
                try Tensor.concatenated(parts.map(\.student), axis: 0),
                try Tensor.concatenated(parts.map(\.teacher), axis: 0)
            )
        }
    }
}

extension EncoderTrainer: SteppedTrainer {
    /// Parts that keep something of their own, by name.
    private var lasting: [(name: String, part: any LastingPart)] {
        terms.enumerated().map { (name: "loss.\($0)", part: $1.term) }.lasting()
    }

    /// What the next step depends on.
    var state: TrainingState {
        var state = TrainingState()
        state.add(optimizer, as: "student")
        state.add(buffersOf: student.model, as: "student")
        projectors.describe(&state)
        for (name, part) in lasting { part.describe(&state, as: name) }
        for (index, term) in inner.enumerated() {
            if let own = term.term.state { state.set("inner.\(index)", own) }
        }
        state.set("step", .int(step))
        state.set("texts", .int(texts))
        return state
    }

    /// Goes on from there.
    /// - Throws: `RetortError` 65 for the state of another training.
    func resume(_ stored: StoredState) throws {
        try stored.fill(optimizer, with: "student")
        try stored.fill(buffersOf: student.model, with: "student", on: device.compute)
        try projectors.resume(stored)
        for (name, part) in lasting { try part.resume(stored, as: name, on: device.compute) }
        for (index, term) in inner.enumerated() {
            if let own = try stored.facts.optional("inner.\(index)") { try term.term.resume(own) }
        }
        progress.step = try stored.facts.member("step").int(in: 0...steps)
        texts = try stored.facts.member("texts").int(in: 0...1 << 53)
    }
}

extension LanguageInput {
    /// Of an encoder: tokens that see each other in both directions, and nothing that is predicted of them.
    init(
        encoder tokens: TokenBatch, student: [String: Tensor], taught: [String: Tensor], _ progress: TrainingProgress,
        on device: Device
    ) throws {
        let count = tokens.ids.count
        let share = 1 / Float(max(1, tokens.valid?.count { $0 } ?? count))
        let weights = try device.compute.view(
            tokens.valid.map { $0.map { $0 ? share : 0 } } ?? [Float](repeating: share, count: count), [count])
        let nothing = try Tensor([0], [1, 1], on: device)
        self.init(
            hidden: nothing, head: try OutputHead(weight: nothing), teachers: [], labels: weights, targets: [],
            weights: weights, shares: [], gradient: .held, rollout: nil, student: student, taught: taught,
            tokens: tokens, tokenWeights: weights, progress: progress, isCausal: false)
    }
}
