import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of a query's candidates against their formulas written once more in double, and their gradients against central differences of
/// those.
@Suite("Ranking losses")
struct RankingLossTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let recipe: String
        /// Of scores `[queries][candidates]` of student and teacher, and of which candidate is relevant.
        let reference: @Sendable ([[Double]], [[Double]], [Int]) -> Double
        var testDescription: String { recipe }
    }

    private static let queries = 4
    private static let candidates = 5

    static let cases: [Case] = [
        Case(
            recipe: "loss: info-nce, temperature: 0.5, weight: 2",
            reference: { s, _, label in
                2
                    * Float64Reference.mean(
                        zip(s, label).map { -Float64Reference.logSoftmax($0, temperature: 0.5)[$1] })
            }),
        Case(
            recipe: "loss: listwise-kl, temperature: 0.5, alpha: 1",
            reference: { s, t, _ in
                0.25
                    * Float64Reference.mean(
                        zip(s, t).map {
                            Float64Reference.divergence(
                                Float64Reference.softmax($1, temperature: 0.5),
                                Float64Reference.logSoftmax($0, temperature: 0.5))
                        })
            }),
        Case(
            recipe: "loss: margin-mse, alpha: 0.3",
            reference: { s, t, label in
                let errors = s.indices.flatMap { row -> [Double] in
                    s[row].indices.filter { $0 != label[row] }.map { other in
                        let own = s[row][label[row]] - s[row][other]
                        let theirs = t[row][label[row]] - t[row][other]
                        return (own - theirs) * (own - theirs)
                    }
                }
                return 0.3 * Float64Reference.mean(errors)
            }),
        Case(
            recipe: "loss: ranknet, alpha: 2, scale: 3",
            reference: { s, t, _ in
                let pairs = s.indices.flatMap { row in
                    s[row].indices.flatMap { i in
                        s[row].indices.filter { t[row][i] > t[row][$0] }.map { j in
                            log(1 + exp(-3 * (s[row][i] - s[row][j])))
                        }
                    }
                }
                return 2 * Float64Reference.mean(pairs)
            }),
    ]

    private func objective(_ recipe: String) throws -> any Objective {
        let node = try RecipeReader.readValue("{" + recipe + "}", .variant(key: "loss", RetrievalTask.losses))
        return try #require(try EncoderArmTerm(node, RetrievalTask.self).objective)
    }

    /// The objective's value and gradient, with a factor behind it so that the gradient that arrives is not 1.
    /// - Parameter counted: 0 for false negatives; nil: there are none.
    private func evaluate(
        _ recipe: String, _ s: [Float], _ t: [Float], _ label: [Int], counted: [Float]? = nil, _ device: Device
    ) throws -> (value: Float, gradient: [Float]) {
        let shape: Dimensions = [label.count, s.count / label.count]
        let (student, leaf) = try Tensor.variable(s, shape, on: device)
        var relevant = [Float](repeating: 0, count: s.count)
        for (row, label) in label.enumerated() { relevant[row * shape[1] + label] = 1 }
        let catalog = SignalCatalog(stages: [])
        let term = try objective(recipe).term(
            TermContext(
                models: ModelPair(student: catalog, teacher: catalog), student: [:], teacher: [:], classes: shape[1],
                examples: 1, name: "a", seed: 0, device: device))
        let mask = try counted.map { try Tensor($0, shape, on: device) }
        func seen(_ scores: Tensor) throws -> Tensor {
            try mask.map { try RankingSignals.excluding(scores, $0) } ?? scores
        }
        var signals = [RankingSignals.relevant: try Tensor(relevant, shape, on: device)]
        signals[RankingSignals.counted] = mask
        let loss = try term.loss(
            ObjectiveInput(
                student: ModelOutput(logits: seen(student), signals: signals),
                teachers: [ModelOutput(logits: seen(Tensor(t, shape, on: device)))],
                labels: try device.compute.view(label.map(Int32.init), [label.count], .i32)))
        let value = try loss.item()
        if loss.needsGradient { try (loss * 1.5).backward() }
        return (value, try leaf.gradientValues().map { $0 / 1.5 })
    }

    private func numbers(_ first: UInt64, _ count: Int) -> [Float] {
        let random = Philox(seed: 17, stream: Philox.stream("ranking losses"))
        return (0..<count).map { random.uniform(first + UInt64($0), -1.5, 1.5) }
    }

    @Test("values and gradients are the formula's", arguments: cases, TestBackend.available)
    func formula(_ test: Case, _ backend: TestBackend) throws {
        let device = try backend.device()
        let count = Self.queries * Self.candidates
        let (own, label) = (numbers(0, count), [0, 3, 4, 1])
        var theirs = numbers(100, count)
        // A pair that the teacher does not tell apart.
        theirs[6] = theirs[8]
        let t = Float64Reference.rows(theirs.map(Double.init), Self.candidates)
        func reference(_ s: [Double]) -> Double {
            test.reference(Float64Reference.rows(s, Self.candidates), t, label)
        }
        let result = try evaluate(test.recipe, own, theirs, label, device)
        let s = own.map(Double.init)
        expectClose([result.value], [reference(s)], absolute: 0, relative: 3e-6)
        let expected = Float64Reference.gradient(s, reference)
        expectClose(result.gradient, expected, absolute: 2e-6, relative: 3e-5)
        #expect((expected.map(abs).max() ?? 0) > 0.05)
    }

    /// Losses of other tasks that look at scores too.
    static let others: [Case] = [
        Case(
            recipe: "loss: reverse-kl, temperature: 2, alpha: 1, t-squared: false",
            reference: { s, t, _ in
                Float64Reference.mean(
                    zip(s, t).map {
                        Float64Reference.divergence(
                            Float64Reference.softmax($0, temperature: 2),
                            Float64Reference.logSoftmax($1, temperature: 2))
                    })
            }),
        Case(
            recipe: "loss: jsd, beta: 0.3, temperature: 0.4, alpha: 1, t-squared: false",
            reference: { s, t, _ in
                Float64Reference.mean(
                    zip(s, t).map {
                        let q = Float64Reference.softmax($0, temperature: 0.4)
                        let p = Float64Reference.softmax($1, temperature: 0.4)
                        let m = zip(p, q).map { 0.3 * $0 + 0.7 * $1 }.map { log($0) }
                        return 0.3 * Float64Reference.divergence(p, m) + 0.7 * Float64Reference.divergence(q, m)
                    })
            }),
        Case(
            recipe: "loss: logit-mse, alpha: 2, temperature: 1.5",
            reference: { s, t, _ in
                2 / 2.25
                    * Float64Reference.mean(zip(s.joined(), t.joined()).map { ($0 - $1) * ($0 - $1) })
            }),
    ]

    @Test(
        "false negatives are not among the candidates: the loss of the others, no gradient of them",
        arguments: cases + others, TestBackend.available)
    func falseNegatives(_ test: Case, _ backend: TestBackend) throws {
        let device = try backend.device()
        let count = Self.queries * Self.candidates
        let (own, theirs, label) = (numbers(0, count), numbers(100, count), [0, 3, 4, 1])
        // One is left out, none, all but one and the passage itself, two; also such that the student and the teacher find best.
        let counted: [Float] = [
            1, 1, 0, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 1, 0, 1,
        ]
        func kept(_ x: [Double]) -> [[Double]] {
            (0..<Self.queries).map { row in
                (0..<Self.candidates).map { row * Self.candidates + $0 }.filter { counted[$0] == 1 }.map { x[$0] }
            }
        }
        let places = label.enumerated().map { row, place in
            Int(counted[(row * Self.candidates)..<(row * Self.candidates + place)].reduce(0, +))
        }
        let t = kept(theirs.map(Double.init))
        func reference(_ s: [Double]) -> Double { test.reference(kept(s), t, places) }
        let result = try evaluate(test.recipe, own, theirs, label, counted: counted, device)
        let s = own.map(Double.init)
        expectClose([result.value], [reference(s)], absolute: 0, relative: 1e-5)
        let expected = Float64Reference.gradient(s, reference)
        expectClose(result.gradient, expected, absolute: 3e-6, relative: 1e-4)
        #expect((expected.map(abs).max() ?? 0) > 0.02)
        for (place, mark) in counted.enumerated() where mark == 0 { #expect(result.gradient[place] == 0) }
        let all = try evaluate(test.recipe, own, theirs, label, device).value
        #expect(abs(all - result.value) > 1e-3, "they would have counted")
    }

    @Test("a row with its passage alone teaches nothing and spoils nothing")
    func alone() throws {
        let device = try TestBackend.cpu.device()
        for test in Self.cases {
            let result = try evaluate(
                test.recipe, [0.3, 0.9, -0.2], [0.1, 2, 0.4], [0], counted: [1, 0, 0], device)
            expectClose([result.value] + result.gradient, [0, 0, 0, 0], absolute: 1e-6)
        }
    }

    @Test("candidates that the teacher finds as good as the passage are left out", arguments: TestBackend.available)
    func margin(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (own, label) = (numbers(0, 12), [1, 0, 2])
        // Above, equal, within the margin, below; far below; all above.
        let theirs: [Float] = [0.9, 0.5, 0.5, 0.45, 0.8, 0.1, 0.2, 0.3, 0.6, 0.7, 0.4, 0.5]
        for (margin, kept) in [("0", [[1, 2, 3], [0, 1, 2, 3], [2]]), ("0.1", [[1], [0, 1, 2, 3], [2]])] {
            func reference(_ s: [Double]) -> Double {
                Float64Reference.mean(
                    kept.enumerated().map { row, places in
                        let logs = Float64Reference.logSoftmax(places.map { s[row * 4 + $0] }, temperature: 0.5)
                        return -logs[places.firstIndex(of: label[row])!]
                    })
            }
            let result = try evaluate(
                "loss: info-nce, temperature: 0.5, false-negative-margin: \(margin)", own, theirs, label, device)
            expectClose([result.value], [reference(own.map(Double.init))], absolute: 1e-6, relative: 3e-6)
            expectClose(
                result.gradient, Float64Reference.gradient(own.map(Double.init), reference), absolute: 2e-6,
                relative: 3e-5)
        }
        #expect(try objective("loss: info-nce, false-negative-margin: 0.1").needsTeacher)
        #expect(try objective("loss: info-nce, false-negative-margin: 0.1").contract.contains("t⁺ − 0.1"))
        #expect(try !objective("loss: info-nce").needsTeacher)
    }

    @Test("laws: zero at equality, never negative, the same for scores that all move by one number", arguments: cases)
    func laws(_ test: Case) throws {
        let device = try TestBackend.cpu.device()
        let count = Self.queries * Self.candidates
        let (s, t, label) = (numbers(0, count), numbers(100, count), [2, 0, 1, 4])
        let laws = try objective(test.recipe).laws
        let value = try evaluate(test.recipe, s, t, label, device).value
        #expect(laws.contains(.nonNegative) && value >= 0)
        if laws.contains(.zeroAtEquality) {
            #expect(abs(try evaluate(test.recipe, t, t, label, device).value) < 1e-6)
        }
        #expect(laws.contains(.shiftInvariant))
        let moved = s.enumerated().map { $1 + Float($0 / Self.candidates) }
        #expect(abs(try evaluate(test.recipe, moved, t, label, device).value - value) < 1e-5 * max(1, value))
    }

    @Test("a teacher who tells no candidates apart orders nothing")
    func ties() throws {
        let device = try TestBackend.cpu.device()
        let result = try evaluate("loss: ranknet", [1, 2, 3], [5, 5, 5], [0], device)
        #expect(result.value == 0 && result.gradient == [0, 0, 0])
    }

    @Test("scores are the products of vectors, of a query's own passages or of all", arguments: TestBackend.fast)
    func scores(_ backend: TestBackend) throws {
        let device = try backend.device()
        // Two queries, then two passages of each.
        let rows: [[Float]] = [[1, 2], [3, -1], [1, 1], [0, 2], [2, 0], [-1, 1]]
        let (vectors, leaf) = try Tensor.variable(rows.flatMap { $0 }, [6, 2], on: device)
        let own = try RetrievalLesson.scores(vectors, 2, .own)
        #expect(own.shape == [2, 2])
        expectClose(try own.values(), [3, 4, 6, -4], absolute: 1e-6)
        let all = try RetrievalLesson.scores(vectors, 2, .batch)
        #expect(all.shape == [2, 4])
        expectClose(try all.values(), [3, 4, 2, 1, 2, -2, 6, -4], absolute: 1e-6)
        try (own.sum() + all.sum() * 2).backward()
        // Of each query the sum of its passages and twice that of all; of each passage its query and twice both.
        let expected: [Double] = [
            1 + 4, 3 + 8, 1 + 4, 1 + 8, 1 + 8, 2 + 2, 1 + 8, 2 + 2, 3 + 8, -1 + 2, 3 + 8, -1 + 2,
        ]
        expectClose(try leaf.gradientValues(), expected, absolute: 1e-5)
    }
}
