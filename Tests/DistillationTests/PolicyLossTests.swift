import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of drawn tokens against their formulas in double, from hidden states through a head.
@Suite("Losses of drawn tokens")
struct PolicyLossTests {
    /// What a recipe says of a loss beside its name, and the same in numbers.
    struct Setting: Sendable, CustomTestStringConvertible {
        let keys: String
        let reference: PolicyReference
        var testDescription: String { "{\(keys)} drawn with share \(reference.share)" }
    }

    /// Tokens of the answers of each batch.
    private static let batches = [[6, 4, 7, 3, 5], [9], [1, 2], [1]]

    /// Texts, what their writer and the teacher made of each token, and what the student sees now.
    private struct Trial {
        /// Of the vocabulary, and of a hidden state: as wide, nothing of the logits' gradient is lost on its way through the head.
        private static let classes = 7
        private let prompts: [Int]
        private let length: Int
        private let texts: [RolloutText]
        /// `[rows, length, classes]`, `[classes, classes]`, `[rows, length, classes]`.
        private let hidden: [Float]
        private let weight: [Float]
        private let taught: [Float]
        let reference: PolicyReference
        let now: PolicyReference.Logits

        /// - Parameter answers: tokens of each text's; prompts are of different lengths too.
        init(_ answers: [Int], _ setting: PolicyReference) {
            let classes = Self.classes
            let prompts = answers.indices.map { 1 + $0 % 3 }
            let length = zip(prompts, answers).map { $0 + $1 }.max() ?? 0
            let size = answers.count * length * classes
            func random(_ stream: UInt64, _ count: Int, _ deviation: Float) -> [Float] {
                Philox(seed: 11, stream: stream).normals(count, deviation: deviation)
            }
            let (hidden, weight) = (random(1, size, 1), random(2, classes * classes, 0.6))
            // The student has moved a little since it wrote.
            let (taught, moved) = (random(3, size, 1.5), random(4, size, 0.6))
            func rows(_ x: [Float]) -> [[Double]] { Float64Reference.rows(x.map(Double.init), classes) }
            func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0.0) { $0 + $1.0 * $1.1 } }
            let head = rows(weight)
            let logits = rows(hidden).map { x in head.map { product($0, x) } }
            let (moves, teacher) = (rows(moved), rows(taught))

            var (reference, now) = (setting, PolicyReference.Logits())
            for (row, count) in answers.enumerated() {
                let first = row * length + prompts[row] - 1
                let places = first..<first + count
                reference.texts.append(
                    PolicyReference.Text(
                        tokens: (0..<count).map { (row * 5 + $0 * 3) % classes },
                        old: places.map { place in zip(logits[place], moves[place]).map { $0 + $1 } },
                        teacher: places.map { teacher[$0] }))
                now.append(places.map { logits[$0] })
            }
            texts = reference.texts.enumerated().map { row, text in
                let logs = text.tokens.indices.map { reference.drawn(text, $0) }
                let mixtures = text.tokens.indices.map { reference.mixture(text, $0) }
                var written = RolloutText(
                    prompt: [Int32](repeating: 1, count: prompts[row]), answer: text.tokens.map { Int32($0) })
                written.signals = RolloutText.Signals(
                    student: logs.map { Float($0.q) }, teacher: logs.map { Float($0.p) },
                    importance: zip(logs, mixtures).map { Float(exp($0.q) / $1) })
                return written
            }
            (self.prompts, self.length, self.reference, self.now) = (prompts, length, reference, now)
            (self.hidden, self.weight, self.taught) = (hidden, weight, taught)
        }

        private func row(_ number: Int, of x: [Float]) -> [Float] {
            let size = length * Self.classes
            return Array(x[(number * size)..<((number + 1) * size)])
        }

        /// Value, and the gradients of hidden states and head, of the texts in this order, gone through in these parts.
        private func run(
            _ objective: String, order: [Int], parts: [Range<Int>], on device: Device
        ) throws -> (value: Double, states: [Float], head: [Float]) {
            let classes = Self.classes
            let node = try RecipeReader.readValue(
                objective, .variant(key: "loss", LanguageObjectiveRegistry.sections))
            let term = try LanguageObjectiveRegistry.make(node).term(
                LanguageTermContext(
                    student: LanguageTeacherTests.Rig.model(1, on: device).model, teacher: nil, name: "a"))
            var batch = RolloutBatch(order.map { texts[$0] }, pad: 0)
            if let advantage = try term.advantages(of: batch, TrainingProgress()) {
                batch.signals?.advantage = advantage
            }
            let share = 1 / Float(batch.batch.targetCount)
            let (matrix, matrixLeaf) = try Tensor.variable(weight, [classes, classes], on: device)
            var value = 0.0
            var states = [[Float]](repeating: [], count: texts.count)
            for range in parts {
                let (part, numbers) = (batch.rows(range), Array(order[range]))
                let count = numbers.count * length
                let (x, leaf) = try Tensor.variable(
                    numbers.flatMap { row($0, of: hidden) }, [numbers.count, length, classes], on: device)
                let teacher = try Tensor(numbers.flatMap { row($0, of: taught) }, [count, classes], on: device)
                let shares: [Float] = part.batch.targets.map { $0 >= 0 ? share : 0 }
                let weights = try device.compute.view(shares, [count])
                let loss = try term.loss(
                    LanguageInput(
                        hidden: x, head: OutputHead(weight: matrix), teachers: [.live(DenseLogits(teacher))],
                        labels: device.compute.view(part.batch.targets, [count], .i32), targets: part.batch.targets,
                        weights: weights, shares: shares, gradient: .added, rollout: part.signals, student: [:],
                        taught: [:], tokens: TokenBatch(part.batch), tokenWeights: weights,
                        progress: TrainingProgress()))
                value += Double(try loss.item())
                try loss.backward()
                let gradient = try leaf.gradientValues()
                for (place, number) in numbers.enumerated() { states[number] = row(place, of: gradient) }
            }
            return (value, states.flatMap { $0 }, try matrixLeaf.gradientValues())
        }

        /// The loss as a recipe has it beside the reference: whole, in parts, and with its texts in another order.
        func compare(_ objective: String, _ advantages: [[Double]], on backend: TestBackend) throws {
            let classes = Self.classes
            let device = try backend.device()
            let value = reference.loss(now, advantages)
            var states = [Double](repeating: 0, count: hidden.count)
            var head = [Double](repeating: 0, count: weight.count)
            for (row, text) in reference.gradient(now, advantages).enumerated() {
                for (t, gradient) in text.enumerated() {
                    let place = (row * length + prompts[row] - 1 + t) * classes
                    for (k, dz) in gradient.enumerated() {
                        for j in 0..<classes {
                            states[place + j] += dz * Double(weight[k * classes + j])
                            head[k * classes + j] += dz * Double(hidden[place + j])
                        }
                    }
                }
            }
            let rows = texts.count
            let straight = Array(0..<rows)
            let reversed = Array(straight.reversed())
            var ways: [(order: [Int], parts: [Range<Int>])] = [(order: straight, parts: [0..<rows])]
            if rows > 1 {
                ways.append((order: straight, parts: [0..<1, 1..<rows]))
                ways.append((order: reversed, parts: [0..<rows]))
                ways.append((order: reversed, parts: [0..<(rows - 1), (rows - 1)..<rows]))
            }
            for (order, parts) in ways {
                let found = try run(objective, order: order, parts: parts, on: device)
                let what = "\(objective) \(rows) texts, order \(order), parts \(parts)"
                #expect(abs(found.value - value) < 2e-5 * max(1, abs(value)), "\(what): \(found.value), \(value)")
                for (name, (own, expected)) in [("states", (found.states, states)), ("head", (found.head, head))] {
                    let largest = expected.map(abs).max() ?? 0
                    expectClose(own, expected, absolute: 5e-5 * max(largest, 1e-2), "\(what), \(name)")
                }
            }
            // The comparison says something: of many tokens some are clipped where there is a clip, and some are not.
            guard rows > 2 else { return }
            let tokens = advantages.reduce(0) { $0 + $1.count }
            let clipped = reference.clipped(now, advantages)
            #expect(reference.clip == nil ? clipped == 0 : (1..<tokens).contains(clipped), "\(clipped) of \(tokens)")
            #expect(head.contains { abs($0) > 1e-2 } && states.contains { abs($0) > 1e-3 })
        }
    }

    private static let miniLLMSettings = [
        Setting(keys: "", reference: PolicyReference(share: 0.2)),
        Setting(keys: "", reference: PolicyReference()),
        Setting(
            keys: ", gamma: 0.5, clip: 0, length-norm: false",
            reference: PolicyReference(share: 0.3, gamma: 0.5, dividesByLength: false, clip: nil)),
        Setting(
            keys: ", whiten: false, reward-scale: 2, reward-clip: 0.7, clip: 0.05, single-step: 0",
            reference: PolicyReference(share: 0.5, scale: 2, limit: 0.7, whitens: false, clip: 0.05, singleStep: 0)),
        Setting(
            keys: ", gamma: 1, reward-clip: 1, clip: 0.5, single-step: 0.3",
            reference: PolicyReference(share: 1, gamma: 1, limit: 1, clip: 0.5, singleStep: 0.3)),
        Setting(
            keys: ", gamma: 0, length-norm: false, whiten: false",
            reference: PolicyReference(share: 0.2, gamma: 0, dividesByLength: false, whitens: false)),
    ]

    @Test(
        "MiniLLM: value and gradients are the formula's, whatever the parts and the order of the texts",
        arguments: TestBackend.fast, miniLLMSettings)
    func miniLLM(_ backend: TestBackend, _ setting: Setting) throws {
        for answers in Self.batches {
            let trial = Trial(answers, setting.reference)
            try trial.compare("{loss: minillm\(setting.keys)}", trial.reference.rewardsToCome(), on: backend)
            guard answers.count > 2, setting.reference.limit < 100 else { continue }
            let rewards = trial.reference.texts.flatMap { text in
                text.tokens.indices.map { abs(trial.reference.reward(text, $0)) }
            }
            #expect(rewards.contains { $0 > setting.reference.limit })
            #expect(rewards.contains { $0 < setting.reference.limit })
        }
    }

    private static let sampledSettings = [
        Setting(keys: "", reference: PolicyReference(clip: nil, singleStep: 0)),
        Setting(keys: ", clip: 0.2", reference: PolicyReference(clip: 0.2, singleStep: 0)),
        Setting(keys: "", reference: PolicyReference(share: 0.3, clip: nil, singleStep: 0)),
        Setting(keys: ", clip: 0.1, weight: 0.3", reference: PolicyReference(clip: 0.1, singleStep: 0, weight: 0.3)),
    ]

    @Test(
        "the sampled reverse KL: value and gradients are the formula's, whatever the parts and the order of the texts",
        arguments: TestBackend.fast, sampledSettings)
    func sampled(_ backend: TestBackend, _ setting: Setting) throws {
        for answers in Self.batches {
            let trial = Trial(answers, setting.reference)
            try trial.compare(
                "{loss: sampled-reverse-kl\(setting.keys)}", trial.reference.gaps(trial.now), on: backend)
        }
    }
}
