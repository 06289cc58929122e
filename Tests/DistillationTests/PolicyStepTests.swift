import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Steps of a training on drawn tokens against the formulas in double, from the texts that are written to the weights that come out.
@Suite("Steps on drawn tokens")
struct PolicyStepTests {
    /// The losses of an arm, and the same in numbers.
    struct Setting: Sendable, CustomTestStringConvertible {
        let objective: String
        let reference: PolicyReference
        /// Whether its advantages are the sampled reverse KL's.
        var isSampled = false
        /// What the cross entropy on plain text weighs.
        var plain = 0.0
        var testDescription: String { "\(objective) drawn with share \(reference.share)" }
    }

    private static let settings = [
        Setting(
            objective: "{loss: minillm}, {loss: cross-entropy, weight: 0.7, on: plain}",
            reference: PolicyReference(share: 0.3), plain: 0.7),
        Setting(
            objective: "{loss: minillm, gamma: 0.8, length-norm: false, clip: 0, single-step: 0.5}",
            reference: PolicyReference(gamma: 0.8, dividesByLength: false, clip: nil, singleStep: 0.5)),
        Setting(
            objective: "{loss: minillm, whiten: false, reward-scale: 2, reward-clip: 0.5}",
            reference: PolicyReference(share: 0.6, scale: 2, limit: 0.5, whitens: false)),
        Setting(
            objective: "{loss: sampled-reverse-kl, clip: 0.2, weight: 1.5}",
            reference: PolicyReference(clip: 0.2, singleStep: 0, weight: 1.5), isSampled: true),
    ]

    @Test(
        "loss and change of the weights are the formula's, on new texts and on the same again",
        arguments: TestBackend.fast, settings)
    func steps(_ backend: TestBackend, _ setting: Setting) throws {
        let device = try backend.device()
        let rollouts =
            "{kind: mixed, share: \(setting.reference.share), collect: 8, epochs: 2, max-new-tokens: 6, prompt-tokens: 3}"
        // With a rate of 1 and nothing else the weights change by the gradient.
        let train = "{micro-batch: 3, optimizer: {kind: sgd, lr: 1}, schedule: {kind: constant}, clip: 0}"
        func make() throws -> SmallTraining {
            try SmallTraining(
                "{objective: [\(setting.objective)], rollouts: \(rollouts), train: \(train)}", deviation: 0.4,
                ends: [2, 3, 8, 17], on: device)
        }
        let training = try make()
        // The same student, which never trains: it is brought to where each step begins.
        let twin = try make().student
        twin.setTraining(false)

        var reference = setting.reference
        var texts: [RolloutText] = []
        for step in 0..<2 {
            let loss = Double(try training.trainer.train(steps: 1)[0])
            if step == 0 {
                texts = try written(by: training)
                #expect(texts.count == 8 && Set(texts.map(\.answer.count)).count > 1, "some end early")
                let (old, taught) = (try logits(twin, texts), try logits(training.teacher, texts))
                reference.texts = zip(texts, zip(old, taught)).map { text, logits in
                    PolicyReference.Text(
                        tokens: text.answer.map { Int($0) }, old: logits.0, teacher: logits.1)
                }
                try check(texts, reference)
            }
            let now = try logits(twin, texts)
            let advantages = setting.isSampled ? reference.gaps(now) : reference.rewardsToCome()
            var expected = reference.loss(now, advantages)
            for parameter in twin.parameters { parameter.clearGradient() }
            try send(reference.gradient(now, advantages), of: texts, through: twin, on: device)
            if setting.plain > 0 {
                let rows = try #require(training.plain).epoch(0).batch(step)
                let other = try crossEntropy(twin, rows, weight: setting.plain, on: device)
                expected += setting.plain * other
            }
            #expect(abs(loss - expected) < 2e-5 * max(1, abs(expected)), "step \(step): \(loss), \(expected)")
            if step == 1, setting.reference.clip != nil {
                #expect(reference.clipped(now, advantages) > 0, "nothing is clipped")
            }

            let (before, after) = (try values(twin), try values(training.student))
            let gradient = try twin.parameters.flatMap { try $0.gradientValues() }.map(Double.init)
            let largest = gradient.map(abs).max() ?? 0
            #expect(largest > 1e-2)
            expectClose(zip(before, after).map { $0 - $1 }, gradient, absolute: 1e-4 * largest, "step \(step)")
            for (own, other) in zip(twin.parameters, training.student.parameters) { try own.assign(other.values()) }
        }
    }

    @Test(
        "what was drawn from a mixture counts by the student's share of it: all tokens together have the gradient of KL(q‖p)",
        arguments: TestBackend.fast, [0.0, 0.3, 1.0])
    func mixtures(_ backend: TestBackend, _ share: Double) throws {
        let device = try backend.device()
        let student = try LanguageTeacherTests.Rig.model(2, on: device).model
        let teacher = LanguageTeacher(try LanguageTeacherTests.Rig.model(1, on: device).model, on: device)
        let prompt: [Int32] = [3, 5, 2]
        let texts = try RolloutSignals.measure(
            (0..<24).map { RolloutText(prompt: prompt, answer: [$0]) }, student: student, teacher: teacher,
            share: Float(share), rows: 5, chunk: .automatic, pad: 0, on: device)
        func gradient(_ objective: String, _ batch: RolloutBatch) throws -> [Float] {
            let node = try RecipeReader.readValue(
                objective, .variant(key: "loss", LanguageObjectiveRegistry.sections))
            let loss = try LanguageLoss(student, [LanguageArmTerm(node)], teachers: [teacher], name: "a", on: device)
            for parameter in student.parameters { parameter.clearGradient() }
            let total = try loss(
                batch, loss.terms, targets: batch.batch.targetCount, of: batch.batch.tokenCount, TrainingProgress())
            try total.backward()
            return try student.parameters.flatMap { try $0.gradientValues() }
        }
        let exact = try gradient("{loss: reverse-kl}", RolloutBatch([texts[0]], pad: 0))
        var batch = RolloutBatch(texts, pad: 0)
        var signals = try #require(batch.signals)
        for place in batch.batch.targets.indices where batch.batch.targets[place] >= 0 {
            let (q, p) = (Double(signals.student[place]), Double(signals.teacher[place]))
            // Each token as often as it is drawn, where the loss takes the mean over one of each.
            let drawn = (1 - share) * exp(q) + share * exp(p)
            signals.advantage[place] = Float(24 * drawn * (p - q))
        }
        batch.signals = signals
        let found = try gradient("{loss: minillm, clip: 0, single-step: 0}", batch)
        let largest = exact.map { Double(abs($0)) }.max() ?? 0
        #expect(largest > 1e-2)
        expectClose(found, exact.map(Double.init), absolute: 5e-5 * largest)
    }

    /// The texts that it learns from, with what is known of them.
    private func written(by training: SmallTraining) throws -> [RolloutText] {
        let state = try #require(training.source).state
        return try JSONCursor(state, file: "state").member("collected").member("texts").elements().flatMap {
            try $0.elements().map { try RolloutText(state: $0) }
        }
    }

    /// What was measured of the tokens: how likely both find them, and the student's share of the mixture.
    private func check(_ texts: [RolloutText], _ reference: PolicyReference) throws {
        for (text, known) in zip(texts, reference.texts) {
            let signals = try #require(text.signals)
            let logs = known.tokens.indices.map { reference.drawn(known, $0) }
            expectClose(signals.student, logs.map { $0.q }, absolute: 1e-5, "ln q")
            expectClose(signals.teacher, logs.map { $0.p }, absolute: 1e-5, "ln p")
            let shares = known.tokens.indices.map { exp(logs[$0].q) / reference.mixture(known, $0) }
            expectClose(signals.importance, shares, absolute: 2e-5, "importance")
        }
    }

    private func values(_ model: any LanguageModel) throws -> [Float] {
        try model.parameters.flatMap { try $0.values() }
    }

    /// Where each token of the answers is predicted, in rows side by side.
    private func places(of texts: [RolloutText], length: Int) -> [[Int]] {
        texts.enumerated().map { row, text in
            text.answer.indices.map { row * length + text.prompt.count - 1 + $0 }
        }
    }

    /// Of each token of each answer.
    private func logits(_ model: any LanguageModel, _ texts: [RolloutText]) throws -> PolicyReference.Logits {
        let batch = RolloutBatch(texts, pad: 0).batch
        let rows = try logits(model, batch)
        return places(of: texts, length: batch.length).map { text in text.map { rows[$0] } }
    }

    /// Of each place.
    private func logits(_ model: any LanguageModel, _ batch: LanguageBatch) throws -> [[Double]] {
        let logits = try Autograd.withoutGradients { try model.forward(TokenBatch(batch)).logits.values() }
        return Float64Reference.rows(logits.map(Double.init), model.vocabulary)
    }

    /// From the gradient of the answers' logits to the parameters, on the model's own tape.
    private func send(
        _ gradient: PolicyReference.Logits, of texts: [RolloutText], through model: any LanguageModel,
        on device: Device
    ) throws {
        let batch = RolloutBatch(texts, pad: 0).batch
        var upstream = [[Double]](
            repeating: [Double](repeating: 0, count: model.vocabulary), count: batch.targets.count)
        for (own, numbers) in zip(gradient, places(of: texts, length: batch.length)) {
            for (dz, place) in zip(own, numbers) { upstream[place] = dz }
        }
        try send(upstream, of: batch, through: model, on: device)
    }

    /// From the gradient of the logits of all places.
    private func send(
        _ gradient: [[Double]], of batch: LanguageBatch, through model: any LanguageModel, on device: Device
    ) throws {
        let logits = try model.forward(TokenBatch(batch)).logits
        let numbers = gradient.flatMap { row in row.map { Float($0) } }
        try logits.backward(upstream: Tensor(numbers, logits.shape, on: device))
    }

    /// Mean over the tokens that are learned; `weight` times its gradient is sent to the parameters.
    private func crossEntropy(
        _ model: any LanguageModel, _ batch: LanguageBatch, weight: Double, on device: Device
    ) throws -> Double {
        let count = Double(batch.targetCount)
        var value = 0.0
        var gradient: [[Double]] = []
        for (row, target) in zip(try logits(model, batch), batch.targets) {
            guard target >= 0 else {
                gradient.append([Double](repeating: 0, count: row.count))
                continue
            }
            let label = Int(target)
            value -= Float64Reference.logSoftmax(row)[label] / count
            var difference = Float64Reference.softmax(row)
            difference[label] -= 1
            gradient.append(difference.map { $0 * weight / count })
        }
        try send(gradient, of: batch, through: model, on: device)
        return value
    }
}
