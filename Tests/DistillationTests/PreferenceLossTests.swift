import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of two answers to a prompt against their formulas in double, through whole models.
@Suite("Losses of two answers")
struct PreferenceLossTests {
    /// A student, another model, and pairs of answers of different lengths behind shared prompts.
    private struct Rig {
        let device: Device
        let student: any LanguageModel
        let teacher: LanguageTeacher
        let batch: LanguageBatch

        init(_ backend: TestBackend) throws {
            device = try backend.device()
            student = try LanguageTeacherTests.Rig.model(2, on: device).model
            teacher = LanguageTeacher(try LanguageTeacherTests.Rig.model(1, on: device).model, on: device)
            let lengths = [(4, 2), (1, 5), (3, 3), (2, 6), (5, 1)]
            let answers = lengths.enumerated().flatMap { number, lengths in
                [lengths.0, lengths.1].enumerated().map { side, length in
                    let prompt = (0..<(2 + number % 3)).map { Int32((number * 7 + $0 * 3) % 23) }
                    let answer = (0..<length).map { Int32((number * 5 + side * 11 + $0 * 2) % 23) }
                    return TokenizedExample(
                        tokens: prompt + answer, isTarget: prompt.map { _ in false } + answer.map { _ in true })
                }
            }
            let corpus = try TokenizedCorpus(answers, group: 2)
            batch = try LanguageBatches(corpus, batch: lengths.count, seed: nil).epoch(0).batch(0)
        }

        /// The batch with its pairs in this order.
        private func arranged(_ pairs: [Int]) -> LanguageBatch {
            let rows = pairs.flatMap { [batch.rows(2 * $0..<2 * $0 + 1), batch.rows(2 * $0 + 1..<2 * $0 + 2)] }
            return LanguageBatch(
                rows: rows.count, length: batch.length, tokens: rows.flatMap(\.tokens),
                targets: rows.flatMap(\.targets), valid: rows.flatMap { $0.valid ?? [] })
        }

        /// The losses of an arm: value and gradient of the batch in these parts.
        /// - Parameter order: of its pairs.
        func run(
            _ objectives: String, _ parts: [Range<Int>], order: [Int] = [0, 1, 2, 3, 4]
        ) throws -> (value: Double, gradient: [Float]) {
            let batch = arranged(order)
            let nodes = try RecipeReader.readValue(
                objectives, .list(of: .variant(key: "loss", LanguageObjectiveRegistry.sections), count: 1...3)
            ).list
            let terms = try nodes.map { node in
                let term = try LanguageArmTerm(node, teachers: ["teacher"])
                return nodes.count > 1 && term.objective.needs == .any ? term.at(.chosen) : term
            }
            let loss = try LanguageLoss(student, terms, teachers: [teacher], name: "a", on: device)
            student.setTraining(false)
            for parameter in student.parameters { parameter.clearGradient() }
            for term in loss.terms { _ = try term.loss.advantages(of: RolloutBatch(batch), TrainingProgress()) }
            student.setTraining(false)
            var value = 0.0
            for range in parts {
                let total = try loss(
                    RolloutBatch(batch.rows(range)), loss.terms, targets: batch.targetCount, of: batch.tokenCount,
                    pairs: PairedSize([batch]), TrainingProgress())
                value += Double(try total.item())
                try total.backward()
            }
            return (value, try student.parameters.flatMap { try $0.gradientValues() })
        }

        /// The mean of ln q/r of each answer behind the prompt of the pair before.
        func divergence() throws -> Double {
            let texts = (0..<batch.rows).map { row -> (prompt: [Int32], answer: [Int32]) in
                let places = row * batch.length..<(row + 1) * batch.length
                let known = places.filter { batch.valid?[$0] ?? true }.map { batch.tokens[$0] }
                let count = places.count { batch.targets[$0] >= 0 }
                return (known.dropLast(count), known.suffix(count))
            }
            var sum = 0.0
            for row in 0..<batch.rows {
                let (prompt, answer) = (texts[row].prompt, texts[(row + 2) % batch.rows].answer)
                let tokens = Array((prompt + answer).prefix(batch.length))
                let example = TokenizedExample(tokens: tokens, isTarget: tokens.indices.map { $0 >= prompt.count })
                let one = try LanguageBatches(TokenizedCorpus([example]), batch: 1, seed: nil).batch(of: [0])
                let q = try student.logProbabilities(one, chunk: .automatic, on: device)
                let r = try teacher.logProbabilities(one, chunk: .automatic)
                sum += zip(q, r).reduce(0) { $0 + Double($1.0) - Double($1.1) }
            }
            return sum / Double(batch.rows)
        }

        /// ln of each answer, sum or mean over its tokens.
        func answers(_ model: any LanguageModel, mean: Bool) throws -> [Double] {
            let logs = try model.logProbabilities(batch, chunk: .automatic, on: device)
            return (0..<batch.rows).map { row in
                let places = (row * batch.length..<(row + 1) * batch.length).filter { batch.targets[$0] >= 0 }
                let sum = places.reduce(0) { $0 + Double(logs[$1]) }
                return mean ? sum / Double(places.count) : sum
            }
        }
    }

    private static func logSigmoid(_ x: Double) -> Double { -log1p(exp(-x)) }

    /// What a loss is of each pair.
    /// - Parameters:
    ///   - c, r: ln q of the two answers.
    ///   - h: their margin over the reference's; u, v: ln q/r of the two.
    ///   - tokens: mean learned tokens of a better answer.
    ///   - z: how far the student is from the reference.
    private struct Pair {
        let c, r, h, u, v, tokens, z: Double
    }

    private static let formulas: [(String, mean: Bool, @Sendable (Pair) -> Double)] = [
        ("{loss: dpo}", false, { -logSigmoid(0.1 * $0.h) }),
        (
            "{loss: dpo, beta: 0.4, label-smoothing: 0.2, weight: 0.5}", false,
            { 0.5 * (-0.8 * logSigmoid(0.4 * $0.h) - 0.2 * logSigmoid(-0.4 * $0.h)) }
        ),
        ("{loss: dpo, form: ipo, beta: 0.5}", true, { pow($0.h - 1, 2) }),
        ("{loss: dpo, form: hinge, beta: 0.2}", false, { max(0, 1 - 0.2 * $0.h) }),
        (
            "{loss: dpo, form: apo-zero, beta: 0.2}", false,
            { 1 - exp(logSigmoid(0.2 * $0.u)) + exp(logSigmoid(0.2 * $0.v)) }
        ),
        ("{loss: simpo}", true, { -logSigmoid(2 * ($0.c - $0.r) - 1) }),
        (
            "{loss: orpo, beta: 0.3}", true,
            { -$0.c - 0.3 * logSigmoid(($0.c - $0.r) - (log(1 - exp($0.c)) - log(1 - exp($0.r)))) }
        ),
        ("{loss: cpo, beta: 0.3}", false, { -logSigmoid(0.3 * ($0.c - $0.r)) - $0.c / $0.tokens }),
        (
            "{loss: kto, beta: 0.3, desirable: 1.5}", false,
            { 0.75 * exp(logSigmoid(0.3 * ($0.z - $0.u))) + 0.5 * exp(logSigmoid(0.3 * ($0.v - $0.z))) }
        ),
        ("{loss: cpo, form: hinge, nll: 0}", false, { max(0, 1 - 0.1 * ($0.c - $0.r)) }),
    ]

    @Test("the value is the formula's, a mean over pairs; in parts as in one", arguments: TestBackend.fast)
    func formula(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let z = try rig.divergence()
        #expect(z > 0.1, "the teacher is not chosen well: \(z)")
        for (recipe, mean, formula) in Self.formulas {
            let own = try rig.answers(rig.student, mean: mean)
            let theirs = try rig.answers(#require(rig.teacher.model), mean: mean)
            let count = rig.batch.rows / 2
            let expected = (0..<count).reduce(0.0) { sum, pair in
                let (u, v) = (own[2 * pair] - theirs[2 * pair], own[2 * pair + 1] - theirs[2 * pair + 1])
                return sum
                    + formula(Pair(c: own[2 * pair], r: own[2 * pair + 1], h: u - v, u: u, v: v, tokens: 3, z: z))
                    / Double(count)
            }
            let whole = try rig.run("[\(recipe)]", [0..<rig.batch.rows])
            #expect(abs(whole.value - expected) < 2e-6 * max(1, abs(expected)), "\(recipe) \(whole.value) \(expected)")
            #expect(whole.gradient.contains { abs($0) > 1e-3 }, "\(recipe)")
            let parts = try rig.run("[\(recipe)]", [0..<2, 2..<8, 8..<10])
            #expect(abs(parts.value - whole.value) < 2e-6 * max(1, abs(whole.value)), "\(recipe)")
            let largest = whole.gradient.map { Double(abs($0)) }.max() ?? 0
            expectClose(parts.gradient, whole.gradient.map(Double.init), absolute: 2e-6 * max(1, largest))
        }
    }

    @Test("which pair stands where in a batch counts for nothing", arguments: TestBackend.fast)
    func order(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        // KTO gives each prompt the answers of the pair behind it: its z is of the order.
        for (recipe, _, _) in Self.formulas where !recipe.contains("kto") {
            let straight = try rig.run("[\(recipe)]", [0..<10])
            let moved = try rig.run("[\(recipe)]", [0..<4, 4..<10], order: [3, 0, 4, 2, 1])
            #expect(abs(moved.value - straight.value) < 2e-6 * max(1, abs(straight.value)), "\(recipe)")
            let largest = straight.gradient.map { Double(abs($0)) }.max() ?? 0
            expectClose(moved.gradient, straight.gradient.map(Double.init), absolute: 2e-6 * max(1, largest), recipe)
        }
    }

    @Test("a cross entropy beside it is of the chosen answers, a mean over their tokens", arguments: TestBackend.fast)
    func besides(_ backend: TestBackend) throws {
        let rig = try Rig(backend)
        let whole = try rig.run("[{loss: dpo}, {loss: cross-entropy, weight: 0.5}]", [0..<10])
        let alone = try rig.run("[{loss: dpo}]", [0..<10])
        let chosen = stride(from: 0, to: 10, by: 2).map { row in try! rig.answers(rig.student, mean: false)[row] }
        #expect(abs(whole.value - alone.value + 0.5 * chosen.reduce(0, +) / 15) < 5e-6)
        let parts = try rig.run("[{loss: dpo}, {loss: cross-entropy, weight: 0.5}]", [0..<6, 6..<10])
        #expect(abs(parts.value - whole.value) < 2e-6)
        expectClose(parts.gradient, whole.gradient.map(Double.init), absolute: 4e-6)
    }

    @Test("a student that is its reference: ln 2 whatever the answers, and exchanging them exchanges the sign")
    func laws() throws {
        let rig = try Rig(.cpu)
        let start = LanguageTeacher(rig.student, Role.start, on: rig.device)
        func value(_ recipe: String, swapped: Bool = false) throws -> Double {
            let node = try RecipeReader.readValue(
                recipe, .variant(key: "loss", LanguageObjectiveRegistry.sections))
            let term = try LanguageArmTerm(node, teachers: [])
            #expect(term.looksAtStart == recipe.contains("dpo"))
            let loss = try LanguageLoss(rig.student, [term], teachers: [start], name: "a", on: rig.device)
            var rows = (0..<rig.batch.rows).map { rig.batch.rows($0..<$0 + 1) }
            if swapped { rows = stride(from: 0, to: rows.count, by: 2).flatMap { [rows[$0 + 1], rows[$0]] } }
            let batch = LanguageBatch(
                rows: rows.count, length: rig.batch.length, tokens: rows.flatMap(\.tokens),
                targets: rows.flatMap(\.targets), valid: rows.flatMap { $0.valid ?? [] })
            return Double(try loss(RolloutBatch(batch), loss.terms, targets: 1, of: 1, TrainingProgress()).item())
        }
        #expect(abs(try value("{loss: dpo, beta: 3}") - log(2)) < 1e-6)
        #expect(abs(try value("{loss: dpo, form: ipo}") - 25) < 1e-4)
        #expect(try value("{loss: dpo, form: hinge}") == 1 && value("{loss: dpo, form: apo-zero}") == 1)
        // −ln σ(x) + ln σ(−x) = −x: of a mean of x over pairs the sign.
        let (one, other) = (try value("{loss: simpo, gamma: 0}"), try value("{loss: simpo, gamma: 0}", swapped: true))
        let means = try rig.answers(rig.student, mean: true)
        var margin = 0.0
        for pair in 0..<5 { margin += (means[2 * pair] - means[2 * pair + 1]) / 5 }
        #expect(abs(one - other + 2 * margin) < 1e-5 && abs(margin) > 1e-3)
    }

    @Test("odds of an answer that is nearly certain are finite, and so is their gradient", arguments: TestBackend.fast)
    func certain(_ backend: TestBackend) throws {
        let device = try backend.device()
        let logs: [Float] = [-1e-3, -1e-5, 0, -30, -0.7]
        let (chosen, leaf) = try Tensor.variable(logs, [5], on: device)
        let pairs = AnswerPairs(chosen: chosen, rejected: try Tensor.full(-1, [5], on: device.compute))
        let odds = try pairs.logOdds()
        let other = -1 - log(1 - exp(-1.0))
        for (found, x) in zip(try odds.values(), logs) where x < 0 {
            let expected = Double(x) - log(-expm1(Double(x))) - other
            #expect(abs(Double(found) - expected) < 2e-6 * max(1, abs(expected)), "\(x): \(found) \(expected)")
        }
        try odds.map(.logSigmoid).sum().backward()
        #expect(try odds.values().allSatisfy(\.isFinite) && leaf.gradientValues().allSatisfy(\.isFinite))
    }
}
