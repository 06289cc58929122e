import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of vectors of texts against their formulas written once more in double, and their gradients — of the vectors and of a learned
/// projection — against central differences of those.
@Suite("Embedding losses")
struct EmbeddingLossTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let recipe: String
        let teacher: Int
        /// Of rows of student and teacher, as wide as each other.
        let reference: @Sendable ([[Double]], [[Double]]) -> Double
        var testDescription: String { "\(recipe), \(teacher) wide" }
    }

    private static let rows = 5
    private static let width = 3

    static let cases: [Case] = [3, 4].flatMap { width in
        [
            Case(
                recipe: "loss: embedding-mse, alpha: 0.7", teacher: width,
                reference: { s, t in
                    0.7
                        * Float64Reference.mean(
                            zip(s.joined(), t.joined()).map { ($0 - $1) * ($0 - $1) })
                }),
            Case(
                recipe: "loss: embedding-cosine, alpha: 2", teacher: width,
                reference: { s, t in
                    2
                        * Float64Reference.mean(
                            zip(s, t).map { a, b in
                                let dot = zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
                                let lengths = [a, b].map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
                                return 1 - dot / (lengths[0] * lengths[1])
                            })
                }),
        ]
    }

    private func term(_ test: Case, _ device: Device) throws -> any ObjectiveTerm {
        let node = try RecipeReader.readValue(
            "{" + test.recipe + "}", .variant(key: "loss", SentenceTask.losses))
        let catalog = SignalCatalog(stages: [], embedding: AnsweringEncoder.embedding)
        return try #require(try EncoderArmTerm(node, SentenceTask.self).objective).term(
            TermContext(
                models: ModelPair(student: catalog, teacher: catalog),
                student: [AnsweringEncoder.embedding: [Self.width]],
                teacher: [AnsweringEncoder.embedding: [test.teacher]], classes: Self.width, examples: 9, name: "arm.0",
                seed: 1, device: device))
    }

    @Test("values and gradients are the formula's", arguments: cases, TestBackend.available)
    func formula(_ test: Case, _ backend: TestBackend) throws {
        let device = try backend.device()
        let random = Philox(seed: 7, stream: Philox.stream("embedding losses"))
        func numbers(_ first: UInt64, _ count: Int) -> [Float] {
            (0..<count).map { random.uniform(first + UInt64($0), -1.5, 1.5) }
        }
        let own = numbers(0, Self.rows * Self.width)
        let theirs = numbers(100, Self.rows * test.teacher)
        let term = try term(test, device)
        #expect(term.modules.isEmpty == (test.teacher == Self.width))
        for module in term.modules { _ = try module.materialize(on: device, seed: 5) }
        let projection = term.modules.first?.parameters.first
        let weight = try projection?.values() ?? []

        let (student, leaf) = try Tensor.variable(own, [Self.rows, Self.width], on: device)
        let teacher = try Tensor(theirs, [Self.rows, test.teacher], on: device)
        let path = AnsweringEncoder.embedding
        let input = ObjectiveInput(
            student: ModelOutput(logits: student, signals: [path: student]),
            teachers: [ModelOutput(logits: teacher, signals: [path: teacher])],
            labels: try device.compute.view([Int32](repeating: 0, count: Self.rows), [Self.rows], .i32))
        let loss = try term.loss(input)
        let value = try loss.item()
        try (loss * 1.5).backward()

        let t = Float64Reference.rows(theirs.map(Double.init), test.teacher)
        func reference(_ s: [Double], _ w: [Double]) -> Double {
            let rows = Float64Reference.rows(s, Self.width)
            guard !w.isEmpty else { return test.reference(rows, t) }
            let matrix = Float64Reference.rows(w, Self.width)
            return test.reference(rows.map { row in matrix.map { zip($0, row).reduce(0) { $0 + $1.0 * $1.1 } } }, t)
        }
        let (s, w) = (own.map(Double.init), weight.map(Double.init))
        expectClose([value], [reference(s, w)], absolute: 0, relative: 2e-6)
        let expected = Float64Reference.gradient(s) { reference($0, w) }
        expectClose(try leaf.gradientValues().map { $0 / 1.5 }, expected, absolute: 2e-6, relative: 2e-5)
        #expect((expected.map(abs).max() ?? 0) > 0.01)
        if let projection {
            let expected = Float64Reference.gradient(w) { reference(s, $0) }
            expectClose(try projection.gradientValues().map { $0 / 1.5 }, expected, absolute: 2e-6, relative: 2e-5)
            #expect((expected.map(abs).max() ?? 0) > 0.01)
        }
        // What is equal costs nothing.
        if term.modules.isEmpty {
            let same = ObjectiveInput(
                student: ModelOutput(logits: teacher, signals: [path: teacher]),
                teachers: [ModelOutput(logits: teacher, signals: [path: teacher])], labels: input.labels)
            #expect(abs(try term.loss(same).item()) < 1e-6)
        }
    }

    @Test("principal components: eigenvectors of the covariance, most varied first", arguments: [1, 2, 7, 31])
    func components(_ width: Int) throws {
        let random = Philox(seed: 3, stream: Philox.stream("components"))
        let count = 2 * width + 3
        // Columns of different spread that lean on each other.
        let rows = (0..<count).flatMap { row -> [Float] in
            let shared = random.uniform(UInt64(100_000 + row), -1, 1)
            return (0..<width).map { column in
                random.uniform(UInt64(row * width + column), -1, 1) * Float(column + 1) + shared * 3
            }
        }
        let all = PrincipalComponents(rows, width: width, count: width)
        func product(_ a: [Double], _ b: [Double]) -> Double { zip(a, b).reduce(0.0) { $0 + $1.0 * $1.1 } }
        let x = Float64Reference.rows(rows.map(Double.init), width)
        let columns = (0..<width).map { column -> [Double] in
            let values = x.map { $0[column] }
            let mean = Float64Reference.mean(values)
            return values.map { $0 - mean }
        }
        let covariance = columns.map { a in columns.map { product(a, $0) } }
        let trace = (0..<width).reduce(0.0) { $0 + covariance[$1][$1] }
        var last = Double.infinity
        let vectors = Float64Reference.rows(all.components.map(Double.init), width)
        for (index, vector) in vectors.enumerated() {
            let moved = covariance.map { product($0, vector) }
            let value = product(moved, vector)
            for (a, b) in zip(moved, vector) { #expect(abs(a - value * b) < 1e-5 * trace) }
            #expect(value < last + 1e-6 * trace)
            last = value
            for other in vectors[..<index] { #expect(abs(product(other, vector)) < 1e-5) }
            #expect(abs(product(vector, vector) - 1) < 1e-5)
        }
        #expect(abs(all.kept - 1) < 1e-9)
        let few = PrincipalComponents(rows, width: width, count: (width + 1) / 2)
        #expect(few.components == Array(all.components.prefix(few.components.count)))
        #expect(width == 1 || few.kept < 1 && few.kept > 0.5)
    }
}
