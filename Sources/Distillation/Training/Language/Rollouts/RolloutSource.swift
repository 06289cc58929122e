import RetortModels
import RetortRuntime

/// Gives the steps of a training texts that a model wrote. A function of the seed, the step and the weights at that step.
final class RolloutSource {
    private let spec: RolloutSpec
    private let writer: RolloutWriter
    private let student: any LanguageModel
    /// Writes, or says how likely what is written is.
    private let teacher: LanguageTeacher?
    private let data: LanguageBatches
    /// What a replay is measured on.
    private let heldOut: LanguageBatches?
    private let batch: Int
    /// Whether losses want to know how likely the tokens are.
    private let wantsSignals: Bool
    private let device: Device
    private let seed: UInt64
    private let coins: Philox

    private var buffer: ReplayBuffer
    /// Share of the steps that learn from the student's texts, and the held-out loss that it follows.
    private(set) var threshold: Double
    private var lossBefore: Double?
    /// Steps that learned from new texts, and from a buffer's or a collection's.
    private(set) var learned = (new: 0, again: 0)

    /// What a mixture wrote, and the steps taken on it.
    private var collected: (texts: [RolloutText], number: Int, taken: Int)?

    /// - Parameters:
    ///   - data: whose prompts are answered; not packed.
    ///   - heldOut: needed by a replay.
    ///   - batch: examples of a step.
    init(
        _ spec: RolloutSpec, _ writer: RolloutWriter, student: any LanguageModel, teacher: LanguageTeacher?,
        data: LanguageBatches, heldOut: LanguageBatches?, batch: Int, wantsSignals: Bool, on device: Device
    ) {
        self.spec = spec
        self.writer = writer
        self.student = student
        self.teacher = teacher
        self.data = data
        self.heldOut = heldOut
        self.batch = batch
        self.wantsSignals = wantsSignals
        self.device = device
        seed = writer.sampling.seed
        coins = Philox(seed: seed, stream: Philox.stream("rollouts"))
        if case .replay(let spec) = spec.kind {
            buffer = ReplayBuffer(capacity: spec.capacity)
            threshold = spec.start
        } else {
            buffer = ReplayBuffer(capacity: 1)
            threshold = 0
        }
    }

    /// The texts that a step learns from; nil: the data's own.
    /// - Parameters:
    ///   - examples: of the data, the step's.
    ///   - progress: of the training, 0 to 1.
    /// - Throws: `RetortError` 75 when a signal asked to stop.
    func texts(step: Int, progress: Double, examples: [Int32]) throws -> RolloutBatch? {
        let coin = Double(coins.uniform(UInt64(step)))
        switch spec.kind {
        case .teacher: return nil
        case .student(let share, let otherwise):
            if coin < share { return try ready(write(examples, step: step)) }
            guard otherwise == .teacher, let model = teacher?.model else { return nil }
            return try ready(write(examples, step: step, by: model))
        case .replay(let spec):
            try followHeldOutLoss(spec, step: step)
            guard coin < threshold else { return nil }
            guard coin >= threshold * spec.fresh.share(progress), buffer.isFull else {
                let texts = try write(examples, step: step)
                buffer.add(texts)
                return try ready(texts)
            }
            let random = Philox(seed: seed ^ UInt64(step) &* 0x9e37_79b9_7f4a_7c15, stream: Philox.stream("replay"))
            learned.again += 1
            return RolloutBatch(buffer.sample(batch, random), pad: data.pad)
        case .mixed(let spec): return try mixed(spec)
        }
    }

    private func prompts(_ examples: [Int32]) -> [[Int32]] {
        examples.map { RolloutText.prompt(of: data.corpus.example(Int($0)), least: spec.promptTokens) }
    }

    private func write(_ examples: [Int32], step: Int, by model: (any LanguageModel)? = nil) throws -> [RolloutText] {
        try writer.answers(
            to: prompts(examples), by: model ?? student, numbers: examples.indices.map { step * batch + $0 })
    }

    private func ready(_ texts: [RolloutText]) throws -> RolloutBatch {
        learned.new += 1
        return RolloutBatch(try measured(texts, share: 0), pad: data.pad)
    }

    private func measured(_ texts: [RolloutText], share: Float) throws -> [RolloutText] {
        guard wantsSignals, let teacher else { return texts }
        return try RolloutSignals.measure(
            texts, student: student, teacher: teacher, share: share, rows: writer.rows, pad: data.pad, on: device)
    }

    /// Looks at the held-out loss now and then: where it has risen, the data are worn out, and more is learned from the student's texts.
    private func followHeldOutLoss(_ spec: ReplaySpec, step: Int) throws {
        guard step % spec.checkEvery == 0, let heldOut else { return }
        let loss = try LanguageEvaluation(student, heldOut, on: device).crossEntropy
        guard let before = lossBefore else { return lossBefore = loss }
        if loss >= before + spec.tolerance {
            threshold = min(1, threshold + spec.step)
            lossBefore = loss
        }
    }

    /// The next batch of what student and teacher wrote together; once all of it has been seen often enough, they write anew.
    private func mixed(_ spec: RolloutSpec.MixedSpec) throws -> RolloutBatch {
        let steps = (spec.collect + batch - 1) / batch
        var current = try collected ?? collect(spec, number: 0)
        if current.taken == steps * spec.epochs { current = try collect(spec, number: current.number + 1) }
        let (pass, place) = current.taken.quotientAndRemainder(dividingBy: steps)
        let order = Philox(
            seed: seed ^ UInt64(current.number * spec.epochs + pass) &* 0x9e37_79b9_7f4a_7c15,
            stream: Philox.stream("mixed")
        ).permutation(spec.collect)
        current.taken += 1
        if pass == 0 { learned.new += 1 } else { learned.again += 1 }
        collected = current
        let chosen = order[place * batch..<min(spec.collect, (place + 1) * batch)]
        return RolloutBatch(chosen.map { current.texts[Int($0)] }, pad: data.pad)
    }

    private func collect(_ spec: RolloutSpec.MixedSpec, number: Int) throws -> (
        texts: [RolloutText], number: Int, taken: Int
    ) {
        guard let teacher = teacher?.model else {
            throw TensorError("texts of a mixture with a teacher, without a teacher")
        }
        let numbers = Array(number * spec.collect..<(number + 1) * spec.collect)
        let count = data.corpus.count
        var orders: [Int: [Int32]] = [:]
        let examples = numbers.map { number -> Int32 in
            let (epoch, place) = number.quotientAndRemainder(dividingBy: count)
            let order = orders[epoch] ?? data.order(epoch: epoch)
            orders[epoch] = order
            return order[place]
        }
        let share = Float(spec.share)
        let texts = try writer.answers(
            to: prompts(examples), by: student, numbers: numbers,
            mixture: share > 0 ? WritingMixture(teacher, share: share) : nil)
        return (try measured(texts, share: share), number, 0)
    }
}
