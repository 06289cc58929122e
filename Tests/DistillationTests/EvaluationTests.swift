import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("Evaluation")
struct EvaluationTests {
    /// A model that hands its input through: the test chooses the logits.
    private func evaluation(_ logits: [Float], _ labels: [Int32], classes: Int = 3, on backend: TestBackend) throws
        -> Evaluation
    {
        let device = try backend.device()
        let model = MLP([classes, classes])
        _ = try model.materialize(on: device, seed: 0)
        try model.layers[0].weight.assign((0..<classes * classes).map { $0 % (classes + 1) == 0 ? 1 : 0 })
        try model.layers[0].bias?.assign([Float](repeating: 0, count: classes))
        let data = try TabularDataset(
            features: logits, labels: labels, columnNames: (0..<classes).map { "\($0)" }, classes: classes)
        let evaluation = try Evaluation(model, try DeviceRows(data, on: device), on: device)
        #expect(evaluation.logits == logits)
        return evaluation
    }

    /// Predictions 0 1 1 0 0 for labels 0 0 1 1 0; class 2 neither occurs nor is predicted.
    private static let logits: [Float] = [3, 1, 0, 0, 2, 1, -1, 5, 0, 2, 1, 1, 4, 0, 0]
    private static let labels: [Int32] = [0, 0, 1, 1, 0]

    @Test("accuracy, confusion and macro-F1 with an absent class", arguments: TestBackend.fast)
    func classification(_ backend: TestBackend) throws {
        let e = try evaluation(Self.logits, Self.labels, on: backend)
        #expect(e.predictions == [0, 1, 1, 0, 0])
        #expect(e.accuracy == 0.6)
        #expect(e.confusion == [[2, 1, 0], [1, 1, 0], [0, 0, 0]])
        // Class 0: precision 2/3, recall 2/3; class 1: 1/2, 1/2; class 2 counts 0.
        #expect(abs(e.macroF1 - (2.0 / 3 + 0.5) / 3) < 1e-15)
    }

    @Test("a class that occurs but is never predicted, and the other way round", arguments: TestBackend.fast)
    func neverPredicted(_ backend: TestBackend) throws {
        let e = try evaluation([1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0], [0, 2, 1, 0], on: backend)
        // Class 0: tp 1, fp 1, fn 1; class 1: tp 1, fp 1; class 2: fn 1.
        #expect(abs(e.macroF1 - (0.5 + 2.0 / 3 + 0) / 3) < 1e-15)
        #expect(e.confusion[2] == [1, 0, 0])
    }

    @Test("ties go to the first class", arguments: TestBackend.fast)
    func ties(_ backend: TestBackend) throws {
        #expect(try evaluation([1, 1, 1, 0, 2, 2], [0, 1], on: backend).predictions == [0, 1])
    }

    @Test("agreement and KL with the teacher", arguments: TestBackend.fast)
    func teacher(_ backend: TestBackend) throws {
        let student = try evaluation(Self.logits, Self.labels, on: backend)
        let teacher = try evaluation([3, 0, 0, 9, 2, 1, 0, 1, 0, 0, 1, 1, 1, 0, 0], Self.labels, on: backend)
        // The teacher says 0 0 1 1 0, the student 0 1 1 0 0.
        #expect(student.agreement(with: teacher) == 0.6)
        #expect(student.confusion(with: teacher) == [[2, 1, 0], [1, 1, 0], [0, 0, 0]])
        // A teacher that says 0 0 1 of three rows, and a student that says 1 of all.
        func says(_ classes: [Int]) -> Evaluation {
            let logits = classes.flatMap { said in (0..<2).map { $0 == said ? Float(1) : 0 } }
            return Evaluation(classes: 2, labels: [0, 0, 0], logits: logits)
        }
        #expect(says([1, 1, 1]).confusion(with: says([0, 0, 1])) == [[0, 2], [0, 1]])
        #expect(student.agreement(with: student) == 1)
        #expect(abs(student.divergence(from: student)) < 1e-15)
        var expected = 0.0
        for row in 0..<5 {
            func softmax(_ e: Evaluation) -> [Double] {
                let z = e.logits[(row * 3)..<(row * 3 + 3)].map { exp(Double($0)) }
                return z.map { $0 / z.reduce(0, +) }
            }
            expected += zip(softmax(teacher), softmax(student)).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) } / 5
        }
        #expect(abs(student.divergence(from: teacher) - expected) < 1e-12)
        #expect(expected > 0.1)
    }

    /// One row by hand: p = (1/2, 1/2), q = (3/4, 1/4): KL = ½ ln(2/3) + ½ ln 2 = ½ ln(4/3).
    @Test("KL of a row computed by hand", arguments: TestBackend.fast)
    func divergenceByHand(_ backend: TestBackend) throws {
        let p = try evaluation([0, 0], [0], classes: 2, on: backend)
        let q = try evaluation([Float(log(3.0)), 0], [0], classes: 2, on: backend)
        #expect(abs(q.divergence(from: p) - 0.5 * log(4.0 / 3)) < 1e-7)
        // Temperature 1, in this direction: the other one is another number.
        #expect(abs(p.divergence(from: q) - (0.75 * log(1.5) + 0.25 * log(0.5))) < 1e-7)
    }

    @Test("huge logits give no NaN", arguments: TestBackend.fast)
    func hugeLogits(_ backend: TestBackend) throws {
        let a = try evaluation([1e30, 0, -1e30], [0], on: backend)
        let b = try evaluation([900, 0, -900], [0], on: backend)
        #expect(b.divergence(from: a).isFinite && a.divergence(from: b).isFinite)
    }

    @Test("more rows than one batch", arguments: TestBackend.fast)
    func batches(_ backend: TestBackend) throws {
        let rows = 2 * 1024 + 3
        let oneHot: [[Float]] = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
        let logits = (0..<rows).flatMap { oneHot[$0 % 3] }
        let e = try evaluation(logits, (0..<rows).map { Int32($0 % 3) }, on: backend)
        #expect(e.rows == rows && e.accuracy == 1 && e.macroF1 == 1)
    }

    @Test("means and sample deviations over seeds")
    func spread() {
        #expect(Spread([4]) == Spread([4]) && Spread([4]).deviation == nil)
        let spread = Spread([2, 4, 6])
        #expect(spread.mean == 4 && spread.deviation == 2)
    }
}
