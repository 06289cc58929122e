import RetortModels
import RetortRuntime
import RetortSupport

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
    /// How many tokens' logits are held at a time when models are asked how likely the tokens are.
    private let chunk: ChunkSize
    /// Whether losses want to know how likely the tokens are.
    private let wantsSignals: Bool
    private let device: Device
    private let seed: UInt64
    private let coins: Philox

    /// What is written at once, one text or a pair of them to a prompt, and the steps taken on it.
    fileprivate struct Collection {
        let texts: [[RolloutText]]
        let number: Int
        var taken = 0
    }

    /// What its next texts depend on beside the weights.
    struct Memory {
        fileprivate var buffer: ReplayBuffer
        fileprivate(set) var threshold: ReplayThreshold
        /// Steps that learned from new texts, and from a buffer's or a collection's.
        fileprivate(set) var learned = (new: 0, again: 0)
        fileprivate var collected: Collection?
    }
    var memory: Memory

    /// Steps that learned from new texts, and from those that were seen before.
    var learned: (new: Int, again: Int) { memory.learned }

    /// - Parameters:
    ///   - data: whose prompts are answered; not packed.
    ///   - heldOut: needed by a replay.
    ///   - batch: examples of a step.
    ///   - chunk: how many tokens' logits are held at a time when models are asked how likely the tokens are.
    init(
        _ spec: RolloutSpec, _ writer: RolloutWriter, student: any LanguageModel, teacher: LanguageTeacher?,
        data: LanguageBatches, heldOut: LanguageBatches?, batch: Int, chunk: ChunkSize, wantsSignals: Bool,
        on device: Device
    ) {
        self.spec = spec
        self.writer = writer
        self.student = student
        self.teacher = teacher
        self.data = data
        self.heldOut = heldOut
        self.batch = batch
        self.chunk = chunk
        self.wantsSignals = wantsSignals
        self.device = device
        seed = writer.sampling.seed
        coins = Philox(seed: seed, stream: Philox.stream("rollouts"))
        if case .replay(let spec) = spec.kind {
            memory = Memory(
                buffer: ReplayBuffer(capacity: spec.capacity), threshold: ReplayThreshold(value: spec.start))
        } else {
            memory = Memory(buffer: ReplayBuffer(capacity: 1), threshold: ReplayThreshold(value: 0))
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
            switch memory.threshold.texts(coin, fresh: spec.fresh.share(progress), isFull: memory.buffer.isFull) {
            case .data: return nil
            case .new:
                let texts = try write(examples, step: step)
                memory.buffer.add(texts)
                return try ready(texts)
            case .buffer:
                let random = Philox(
                    seed: seed ^ UInt64(step) &* 0x9e37_79b9_7f4a_7c15, stream: Philox.stream("replay"))
                memory.learned.again += 1
                return RolloutBatch(memory.buffer.sample(batch, random), pad: data.pad)
            }
        case .mixed(let spec):
            return try collection(spec.collect, epochs: spec.epochs) { try mixed(spec, $0) }
        case .pairs(let spec):
            return try collection(spec.collect, epochs: spec.epochs) { try pairs(spec, $0) }
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
        memory.learned.new += 1
        return RolloutBatch(try measured(texts, share: 0), pad: data.pad)
    }

    private func measured(_ texts: [RolloutText], share: Float) throws -> [RolloutText] {
        guard wantsSignals, let teacher else { return texts }
        return try RolloutSignals.measure(
            texts, student: student, teacher: teacher, share: share, classes: writer.measured, rows: writer.rows,
            chunk: chunk, pad: data.pad, on: device)
    }

    /// Looks at the held-out loss now and then.
    private func followHeldOutLoss(_ spec: ReplaySpec, step: Int) throws {
        guard step % spec.checkEvery == 0, let heldOut else { return }
        let loss = try LanguageEvaluation(student, heldOut, on: device).crossEntropy
        memory.threshold.see(loss, tolerance: spec.tolerance, step: spec.step)
    }

    /// The next batch of what is written at once; when all of it has been seen often enough, it is written anew.
    /// - Parameter write: the texts to the prompts of these numbers.
    private func collection(
        _ count: Int, epochs: Int, write: ([Int]) throws -> [[RolloutText]]
    ) throws -> RolloutBatch {
        let steps = (count + batch - 1) / batch
        func collect(_ number: Int) throws -> Collection {
            Collection(texts: try write(Array(number * count..<(number + 1) * count)), number: number)
        }
        var current = try memory.collected ?? collect(0)
        if current.taken == steps * epochs { current = try collect(current.number + 1) }
        let (pass, place) = current.taken.quotientAndRemainder(dividingBy: steps)
        let order = Philox(
            seed: seed ^ UInt64(current.number * epochs + pass) &* 0x9e37_79b9_7f4a_7c15,
            stream: Philox.stream("mixed")
        ).permutation(count)
        current.taken += 1
        if pass == 0 { memory.learned.new += 1 } else { memory.learned.again += 1 }
        memory.collected = current
        let chosen = order[place * batch..<min(count, (place + 1) * batch)]
        return RolloutBatch(chosen.flatMap { current.texts[Int($0)] }, pad: data.pad)
    }

    /// The examples whose prompts have these numbers, all of the data in one order after the other.
    private func examples(_ numbers: [Int]) -> [Int32] {
        let count = data.corpus.count
        var orders: [Int: [Int32]] = [:]
        return numbers.map { number in
            let (epoch, place) = number.quotientAndRemainder(dividingBy: count)
            let order = orders[epoch] ?? data.order(epoch: epoch)
            orders[epoch] = order
            return order[place]
        }
    }

    private func mixed(_ spec: RolloutSpec.MixedSpec, _ numbers: [Int]) throws -> [[RolloutText]] {
        guard let teacher = teacher?.model else {
            throw TensorError("texts of a mixture with a teacher, without a teacher")
        }
        let share = Float(spec.share)
        let texts = try writer.answers(
            to: prompts(examples(numbers)), by: student, numbers: numbers,
            mixture: share > 0 ? WritingMixture(teacher, share: share) : nil)
        return try measured(texts, share: share).map { [$0] }
    }

    private func pairs(_ spec: RolloutSpec.PairSpec, _ numbers: [Int]) throws -> [[RolloutText]] {
        let examples = examples(numbers)
        let prompts = prompts(examples)
        let chosen: [RolloutText]
        if spec.chosen == .teacher, let model = teacher?.model {
            chosen = try writer.answers(to: prompts, by: model, numbers: numbers, isTeachers: true)
        } else {
            chosen = examples.map {
                RolloutText(of: data.corpus.example(Int($0)), least: self.spec.promptTokens, longest: writer.longest)
            }
        }
        let rejected = try writer.answers(to: prompts, by: student, numbers: numbers)
        return zip(try measured(chosen, share: 0), try measured(rejected, share: 0)).map { [$0, $1] }
    }
}

extension RolloutSource {
    /// What its next texts depend on beside the weights.
    var state: JSON {
        var members: [(key: String, value: JSON)] = [
            ("threshold", .double(memory.threshold.value)),
            ("loss_before", memory.threshold.lossBefore.map { .double($0) } ?? .null),
            ("new", .int(learned.new)), ("again", .int(learned.again)), ("buffer", memory.buffer.state),
        ]
        if let collected = memory.collected {
            let texts: [JSON] = collected.texts.map { .array($0.map(\.state)) }
            members.append(
                (
                    "collected",
                    ["texts": .array(texts), "number": .int(collected.number), "taken": .int(collected.taken)]
                ))
        }
        return .object(members)
    }

    /// - Throws: `RetortError` 65.
    func resume(_ state: JSONCursor) throws {
        memory.threshold.value = try state.member("threshold").double(in: 0...1)
        memory.threshold.lossBefore = try state.optional("loss_before")?.double()
        memory.learned = (try state.member("new").int(in: 0...1 << 53), try state.member("again").int(in: 0...1 << 53))
        memory.buffer = try ReplayBuffer(capacity: memory.buffer.capacity, state: state.member("buffer"))
        memory.collected = try state.optional("collected").map { collected in
            Collection(
                texts: try collected.member("texts").elements().map { try $0.elements().map(RolloutText.init(state:)) },
                number: try collected.member("number").int(in: 0...1 << 53),
                taken: try collected.member("taken").int(in: 0...1 << 53))
        }
    }
}
