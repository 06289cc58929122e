import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of logits that no golden covers, against float64 on the host.
@Suite("Response losses")
struct ResponseLossTests {
    private static let rows = 4
    private static let classes = 6
    private static let labels: [Int32] = [2, 0, 5, 3]

    private func numbers(_ purpose: String, _ spread: Float = 2) -> [Float] {
        Philox(seed: 5, stream: Philox.stream(purpose)).uniforms(Self.rows * Self.classes, -spread, spread)
    }

    /// The loss of a recipe for some teachers, and its gradient with respect to the student's logits.
    private func evaluate(_ recipe: String, teachers: [[Float]], _ backend: TestBackend) throws -> (
        loss: Float, gradient: [Float]
    ) {
        let device = try backend.device()
        let shape: Dimensions = [Self.rows, Self.classes]
        let (x, leaf) = try Tensor.variable(numbers("student"), shape, on: device)
        let input = ObjectiveInput(
            student: .init(logits: x), teachers: try teachers.map { .init(logits: try Tensor($0, shape, on: device)) },
            labels: try device.compute.view(Self.labels, [Self.rows], .i32))
        let objective = try #require(try Setting(recipe: recipe).make() as? any LogitObjective)
        let loss = try objective.loss(input)
        let value = try loss.item()
        try loss.backward()
        return (value, try leaf.gradientValues())
    }

    /// Compares with a mean over rows of a function of (row, logits of the student).
    private func compare(
        _ recipe: String, teachers: [[Float]], _ backend: TestBackend, _ reference: (Int, [Double]) -> Double
    ) throws {
        func total(_ z: [Double]) -> Double {
            Float64Reference.mean(Float64Reference.rows(z, Self.classes).enumerated().map(reference))
        }
        let student = numbers("student").map(Double.init)
        let (loss, gradient) = try evaluate(recipe, teachers: teachers, backend)
        expectClose([loss], [total(student)], absolute: 1e-6, relative: 2e-6, recipe)
        expectClose(gradient, Float64Reference.gradient(student, total), absolute: 1e-6, relative: 1e-5, recipe)
    }

    @Test("hard labels are the teacher's decisions", arguments: TestBackend.available)
    func hardLabel(_ backend: TestBackend) throws {
        let teacher = numbers("teacher")
        let decisions = Float64Reference.rows(teacher.map(Double.init), Self.classes).map { row in
            row.indices.max { row[$0] < row[$1] }!
        }
        try #require(decisions != Self.labels.map(Int.init), "the test would not tell decisions from labels")
        try compare("loss: hard-label, alpha: 0.7", teachers: [teacher], backend) { row, z in
            -0.7 * Float64Reference.logSoftmax(z)[decisions[row]]
        }
    }

    @Test("the virtual teacher", arguments: TestBackend.available)
    func teacherFree(_ backend: TestBackend) throws {
        try compare("loss: teacher-free, temperature: 3, correct: 0.9, alpha: 0.5", teachers: [], backend) { row, z in
            let virtual = (0..<Self.classes).map { $0 == Int(Self.labels[row]) ? 0.9 : 0.1 / Double(Self.classes - 1) }
            let u = Float64Reference.softmax(virtual, temperature: 3)
            return 0.5 * Float64Reference.divergence(u, Float64Reference.logSoftmax(z))
        }
    }

    @Test("teachers weighed by their entropy", arguments: TestBackend.available)
    func entropy(_ backend: TestBackend) throws {
        let teachers = [numbers("a", 1), numbers("b", 3), numbers("c", 6)]
        let logits = teachers.map { Float64Reference.rows($0.map(Double.init), Self.classes) }
        try compare("loss: ensemble, combine: entropy, temperature: 2", teachers: teachers, backend) { row, z in
            let logQ = Float64Reference.logSoftmax(z, temperature: 2)
            let entropies = logits.map { Float64Reference.entropy(Float64Reference.softmax($0[row])) }
            let weights = Float64Reference.softmax(entropies.map { -$0 })
            return 4
                * zip(weights, logits).reduce(0) {
                    $0 + $1.0 * Float64Reference.divergence(Float64Reference.softmax($1.1[row], temperature: 2), logQ)
                }
        }
    }

    @Test(
        "divergences of examples, of pairs of them, of pairs of classes", arguments: TestBackend.available,
        [[2.0, 3], [0, 0], [2, 0], [0, 3]])
    func multiLevel(_ backend: TestBackend, _ weights: [Double]) throws {
        let (student, teacher) = (numbers("student").map(Double.init), numbers("teacher").map(Double.init))
        func squares(_ a: [[Double]], _ b: [[Double]]) -> Double {
            func pairs(_ x: [[Double]]) -> [Double] {
                x.flatMap { row in x.map { zip(row, $0).reduce(0) { $0 + $1.0 * $1.1 } } }
            }
            return zip(pairs(a), pairs(b)).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / Double(a.count)
        }
        func columns(_ x: [[Double]]) -> [[Double]] { x[0].indices.map { column in x.map { $0[column] } } }
        func reference(_ z: [Double]) -> Double {
            [1.5, 4].reduce(0) { sum, t in
                let (z, y) = (Float64Reference.rows(z, Self.classes), Float64Reference.rows(teacher, Self.classes))
                let p = y.map { Float64Reference.softmax($0, temperature: t) }
                let q = z.map { Float64Reference.softmax($0, temperature: t) }
                let kl = zip(p, z).map {
                    Float64Reference.divergence($0, Float64Reference.logSoftmax($1, temperature: t))
                }
                return sum + 0.7 * t * t * Float64Reference.mean(kl) + weights[0] * squares(p, q)
                    + weights[1] * squares(columns(p), columns(q))
            }
        }
        let recipe =
            "loss: mlkd, alpha: 0.7, beta: \(weights[0]), gamma: \(weights[1]), temperatures: [1.5, 4]"
        let (loss, gradient) = try evaluate(recipe, teachers: [numbers("teacher")], backend)
        expectClose([loss], [reference(student)], absolute: 1e-6, relative: 2e-6)
        expectClose(gradient, Float64Reference.gradient(student, reference), absolute: 2e-6, relative: 1e-5)
    }

    @Test("given weights count by their ratios", arguments: TestBackend.fast)
    func weights(_ backend: TestBackend) throws {
        let teachers = [numbers("a"), numbers("b")]
        let small = try evaluate("loss: ensemble, combine: weights, weights: [1, 3]", teachers: teachers, backend)
        let large = try evaluate("loss: ensemble, combine: weights, weights: [0.25, 0.75]", teachers: teachers, backend)
        #expect(small.loss == large.loss && small.gradient == large.gradient)
        let first = try evaluate("loss: ensemble, combine: weights, weights: [2, 0]", teachers: teachers, backend)
        let alone = try evaluate("loss: ensemble", teachers: [teachers[0]], backend)
        expectClose([first.loss], [Double(alone.loss)], absolute: 1e-6, relative: 1e-6)
    }

    @Test("weights for another number of teachers are refused", arguments: ["[1]", "[1, 1, 1]", "[0, 0]"])
    func wrongWeights(_ weights: String) throws {
        let teachers = [numbers("a"), numbers("b")]
        let error = thrown(RetortError.self) {
            _ = try evaluate("loss: ensemble, combine: weights, weights: \(weights)", teachers: teachers, .cpu)
        }
        let what = weights == "[0, 0]" ? "are all 0" : "2 teachers"
        #expect(error?.exit == .recipe && error?.what.contains(what) == true)
    }

    /// Value and gradient of one row, the share a constant.
    private func adaptive(_ z: [Double], _ y: [Double], head: Double) -> (value: Double, gradient: [Double]) {
        func softmax(_ x: [Double]) -> [Double] {
            let top = x.max() ?? 0
            let e = x.map { exp($0 - top) }
            return e.map { $0 / e.reduce(0, +) }
        }
        let (p, q) = (softmax(y), softmax(z))
        var (near, far, sum) = (0.0, 0.0, 0.0)
        for (rank, at) in p.indices.sorted(by: { p[$0] > p[$1] }).enumerated() {
            sum += p[at]
            if rank == 0 || sum <= head { near += abs(p[at] - q[at]) } else { far += abs(p[at] - q[at]) }
        }
        let share = near / (near + far)
        let forward = zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
        let reverse = zip(p, q).reduce(0) { $0 + $1.1 * log($1.1 / $1.0) }
        let gradient = zip(p, q).map { p, q in share * (q - p) + (1 - share) * q * (log(q / p) - reverse) }
        return (share * forward + (1 - share) * reverse, gradient)
    }

    @Test("adaptive KL: the published vector, and heads of every size", arguments: TestBackend.available)
    func adaptiveKL(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (one, leaf) = try Tensor.variable([1, 2, 3, -1], [1, 4], on: device)
        let loss = try one.adaptiveDivergence(teacher: Tensor([2, 1, 0.5, 0], [1, 4], on: device), head: 0.5)
        #expect(abs(try loss.item() - 0.94759107) < 2e-6)
        try loss.backward()
        expectClose(
            try leaf.gradientValues(), [-0.35449958, -0.09342757, 0.49590345, -0.04797630], absolute: 1e-6)

        let (rows, classes) = (7, 33)
        let z = Philox(seed: 2, stream: 1).normals(rows * classes, deviation: 2)
        let y = Philox(seed: 2, stream: 2).normals(rows * classes, deviation: 2)
        for head in [0.05, 0.3, 0.5, 0.8, 0.97] {
            let (x, leaf) = try Tensor.variable(z, [rows, classes], on: device)
            let loss = try x.adaptiveDivergence(teacher: Tensor(y, [rows, classes], on: device), head: Float(head))
            let references = (0..<rows).map { row in
                let part = row * classes..<(row + 1) * classes
                return adaptive(z[part].map(Double.init), y[part].map(Double.init), head: head)
            }
            let value = references.reduce(0) { $0 + $1.value } / Double(rows)
            #expect(abs(Double(try loss.item()) - value) < 1e-5 * value, "head \(head)")
            try loss.backward()
            let gradient = references.flatMap { $0.gradient.map { $0 / Double(rows) } }
            expectClose(try leaf.gradientValues(), gradient, absolute: 2e-6, relative: 1e-4, "head \(head)")
        }
    }
}
