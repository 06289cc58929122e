import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// DistiLLM-2's loss of pairs of texts against its formula in double.
@Suite("DistiLLM-2")
struct DistiLLM2Tests {
    private static let (rows, length, width, classes) = (4, 5, 3, 7)
    /// Chosen and rejected texts of two prompts, of different lengths.
    private let texts = [
        RolloutText(prompt: [1], answer: [2, 3, 4, 5], isTeachers: true), RolloutText(prompt: [1], answer: [6, 2]),
        RolloutText(prompt: [2, 3], answer: [4], isTeachers: true), RolloutText(prompt: [2, 3], answer: [5, 6, 1]),
    ]
    private let student: [[Float]] = [[-2, -1.5, -3, -1], [-0.5, -0.7], [-1.2], [-0.9, -1.1, -0.4]]
    private let teacher: [[Float]] = [[-0.8, -0.3, -0.9, -0.4], [-2, -1], [-0.3], [-0.8, -1.3, -0.5]]

    private func batch() -> RolloutBatch {
        let measured = zip(texts, zip(student, teacher)).map { text, logs in
            var text = text
            text.signals = .init(student: logs.0, teacher: logs.1, importance: logs.0.map { _ in 1 })
            return text
        }
        return RolloutBatch(measured, pad: 0)
    }

    private func term(_ keys: String, _ device: Device) throws -> any LanguageTerm {
        let node = try RecipeReader.readValue(
            "{loss: distillm2\(keys)}", .variant(key: "loss", LanguageObjectiveRegistry.sections))
        let model = try LanguageTeacherTests.Rig.model(1, on: device).model
        return try LanguageObjectiveRegistry.make(node).term(
            LanguageTermContext(student: model, teacher: nil, name: "a"))
    }

    /// α of each text, by the formula.
    private func shares(_ first: (chosen: Double, rejected: Double)? = nil) -> [Double] {
        let gaps = zip(texts, zip(student, teacher)).map { text, logs -> Double in
            let (q, p) = (exp(Self.mean(logs.0)), exp(Self.mean(logs.1)))
            return text.isTeachers ? p - q : q - p
        }
        let (chosen, rejected) = first ?? ((gaps[0] + gaps[2]) / 2, (gaps[1] + gaps[3]) / 2)
        return zip(texts, gaps).map { text, gap in
            let share = gap > 0 ? 1 - 0.9 * (text.isTeachers ? chosen : rejected) / (gap + 1e-5) : 0
            return max(0.01, min(0.1, share))
        }
    }

    private static func mean(_ x: [Float]) -> Double { x.reduce(0) { $0 + Double($1) } / Double(x.count) }

    @Test("each text's share follows how far the models are apart on it; the first batch sets the measure")
    func adaptive() throws {
        let term = try term("", TestBackend.cpu.device())
        let found = try #require(try term.advantages(of: batch(), TrainingProgress(steps: 8)))
        let expected = shares()
        #expect(Set(expected).count > 2 && expected.contains(0.1) && expected.contains(0.01), "\(expected)")
        for (row, text) in texts.enumerated() {
            for place in text.answer.indices {
                let share = Double(found[row * Self.length + text.prompt.count - 1 + place])
                #expect(abs(share - expected[row]) < 1e-6)
            }
        }
        // A later batch is measured by the first, not by itself.
        let later = RolloutBatch(
            zip(texts, student).map { text, logs in
                var text = text
                text.signals = .init(student: logs, teacher: logs.map { $0 + 0.3 }, importance: logs.map { _ in 1 })
                return text
            }, pad: 0)
        let again = try #require(try term.advantages(of: later, TrainingProgress(step: 1, steps: 8)))
        let gap = exp(Self.mean(student[2]) + 0.3) - exp(Self.mean(student[2]))
        let first =
            (exp(Self.mean(teacher[0])) - exp(Self.mean(student[0])) + exp(Self.mean(teacher[2]))
                - exp(Self.mean(student[2]))) / 2
        #expect(abs(Double(again[2 * Self.length + 1]) - max(0.01, min(0.1, 1 - 0.9 * first / (gap + 1e-5)))) < 1e-6)
        let fixed = try #require(
            try self.term(", adaptive: false", TestBackend.cpu.device()).advantages(of: batch(), TrainingProgress()))
        #expect(fixed.allSatisfy { $0 == 0.1 })
    }

    @Test("value and gradient are the formula's, in parts as in one", arguments: TestBackend.fast, [true, false])
    func formula(_ backend: TestBackend, _ isGradual: Bool) throws {
        let device = try backend.device()
        let term = try term(", weight: 0.7, gradual: \(isGradual)", device)
        let whole = batch()
        let progress = TrainingProgress(step: 2, steps: 8)
        var filled = whole
        filled.signals?.advantage = try #require(try term.advantages(of: whole, progress))

        let (rows, length, width, classes) = (Self.rows, Self.length, Self.width, Self.classes)
        let hidden = Philox(seed: 3, stream: 1).normals(rows * length * width, deviation: 1)
        let weight = Philox(seed: 3, stream: 2).normals(classes * width, deviation: 1)
        let logits = Philox(seed: 3, stream: 3).normals(rows * length * classes, deviation: 1.5)
        let targets = whole.batch.targets
        let count = targets.count { $0 >= 0 }

        var (value, gradient) = (0.0, [Float]())
        for range in [0..<1, 1..<4] {
            let part = filled.rows(range)
            let places = range.lowerBound * length..<range.upperBound * length
            let (x, leaf) = try Tensor.variable(
                Array(hidden[places.lowerBound * width..<places.upperBound * width]), [range.count, length, width],
                on: device)
            let head = try OutputHead(weight: Tensor(weight, [classes, width], on: device))
            let taught = try Tensor(
                Array(logits[places.lowerBound * classes..<places.upperBound * classes]), [places.count, classes],
                on: device)
            let weighed = part.batch.targets.map { $0 >= 0 ? 1 / Float(count) : 0 }
            let weights = try device.compute.view(weighed, [places.count])
            let loss = try term.loss(
                LanguageInput(
                    hidden: x, head: head, teachers: [.live(DenseLogits(taught))],
                    labels: device.compute.view(part.batch.targets, [places.count], .i32), targets: part.batch.targets,
                    weights: weights, shares: weighed, gradient: .held, rollout: part.signals, student: [:],
                    taught: [:], tokens: TokenBatch(part.batch), tokenWeights: weights, progress: progress))
            value += Double(try loss.item())
            try loss.backward()
            gradient += try leaf.gradientValues()
        }

        let beta = isGradual ? 1.25 : 1
        func reference(_ x: [Double]) -> Double {
            let shares = shares()
            var (chosen, rejected) = (0.0, 0.0)
            for place in targets.indices where targets[place] >= 0 {
                let (row, share) = (place / length, shares[place / length])
                let z = (0..<classes).map { k in
                    (0..<width).reduce(0) { $0 + x[place * width + $1] * Double(weight[k * width + $1]) }
                }
                let q = Float64Reference.softmax(z)
                let p = Float64Reference.softmax(logits[place * classes..<(place + 1) * classes].map(Double.init))
                if texts[row].isTeachers {
                    chosen += Float64Reference.divergence(p, zip(p, q).map { log(share * $0 + (1 - share) * $1) })
                } else {
                    rejected += Float64Reference.divergence(q, zip(p, q).map { log((1 - share) * $0 + share * $1) })
                }
            }
            let tokens = { (isTeachers: Bool) in
                Double(texts.filter { $0.isTeachers == isTeachers }.reduce(0) { $0 + $1.answer.count })
            }
            return 0.7 * ((2 - beta) * chosen / tokens(true) + beta * rejected / tokens(false))
        }
        let x = hidden.map(Double.init)
        #expect(abs(value - reference(x)) < 1e-5 * reference(x))
        expectClose(gradient, Float64Reference.gradient(x, reference), absolute: 2e-6)
    }
}
