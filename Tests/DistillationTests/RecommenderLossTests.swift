import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Every loss of a recommender against its formula written once more in double, and its gradients — of both tables and of every parameter of its
/// projectors — against central differences of that.
@Suite("Recommender losses")
struct RecommenderLossTests {
    /// A loss as a recipe writes it, with its reference.
    struct Case: Sendable, CustomTestStringConvertible {
        let recipe: String
        let reference: @Sendable (Reference, [String: [Double]]) -> Double
        var epoch = 0
        var testDescription: String { recipe }
    }

    static let cases: [Case] = [
        Case(recipe: "loss: bpr", reference: { $0.bpr($1) }),
        Case(
            recipe: "loss: distillation-experts, alpha: 0.7, experts: 1", reference: { 0.7 * $0.hint($1, experts: 1) }),
        Case(
            recipe: "loss: distillation-experts, alpha: 1, experts: 3, final-temperature: 0.2",
            reference: { $0.hint($1, experts: 3) }, epoch: 2),
        Case(
            recipe: "loss: preference-consistent, alpha: 0.5, beta: 2, experts: 1, items: 3, top: 6, temperature: 0.5",
            reference: { 0.5 * ($0.hint($1, experts: 1) + 2 * $0.list($1, experts: 1, temperature: 0.5)) }),
        Case(
            recipe: "loss: preference-consistent, alpha: 0.5, beta: 2, experts: 1, items: 3, top: 6, regularizer: pair",
            reference: { 0.5 * ($0.hint($1, experts: 1) + 2 * $0.pair($1, experts: 1)) }, epoch: 1),
        Case(
            recipe:
                "loss: preference-consistent, alpha: 2, beta: 0.5, experts: 2, items: 3, top: 6, regularizer: both, rank-by: student",
            reference: {
                2
                    * ($0.hint($1, experts: 2) + 0.5
                        * ($0.list($1, experts: 2, temperature: 0.1) + $0.pair($1, experts: 2)))
            }, epoch: 1),
        Case(
            recipe: "loss: ranking-distillation, alpha: 3, top: 4, sharpness: 2, start: 5",
            reference: { 3 * $0.ranking($1, estimates: false) }),
        Case(
            recipe: "loss: ranking-distillation, alpha: 3, top: 4, sharpness: 2, mu: 0.3, samples: 25",
            reference: { 3 * $0.ranking($1, estimates: true) }, epoch: 1),
        Case(
            recipe:
                "loss: relaxed-ranking-distillation, alpha: 2, interesting: 3, uninteresting: 2, top: 4, sharpness: 3",
            reference: { 2 * $0.relaxed($1) }, epoch: 1),
    ]

    /// The numbers that all backends and the reference start from.
    struct Sample {
        static let (users, items, student, teacher) = (5, 12, 3, 4)
        let task: RecommenderTask
        let device: Device
        let term: any RecommenderTerm
        let progress: TrainingProgress
        /// Values by name: the student's tables and the projectors' parameters.
        let values: [String: [Float]]
        let pairs: (users: [Int32], positives: [Int32], negatives: [Int32])
        let reference: Reference

        init(_ test: Case, _ backend: TestBackend) throws {
            device = try backend.device()
            let random = Philox(seed: 11, stream: Philox.stream("recommender losses"))
            func numbers(_ first: UInt64, _ count: Int) -> [Float] {
                (0..<count).map { random.uniform(first + UInt64($0), -1.5, 1.5) }
            }
            let positives: [(user: Int32, item: Int32)] = [
                (0, 1), (0, 4), (1, 4), (1, 9), (2, 0), (2, 3), (2, 11), (3, 5), (4, 2), (4, 6),
            ]
            task = RecommenderTask(
                train: PositiveLists(positives, users: Self.users), items: Self.items, identity: "test")
            let teacher = EmbeddingTables(
                users: try Tensor(numbers(0, Self.users * Self.teacher), [Self.users, Self.teacher], on: device),
                items: try Tensor(numbers(100, Self.items * Self.teacher), [Self.items, Self.teacher], on: device))
            // Repeated users and items, within and between taken and not taken.
            pairs = ([0, 2, 0, 4, 2, 1], [1, 3, 4, 2, 3, 4], [7, 8, 7, 1, 5, 3])
            progress = TrainingProgress(epoch: test.epoch, epochs: 4, step: 6)
            let node = try RecipeReader.readValue(
                "{" + test.recipe + "}", .variant(key: "loss", RecommenderObjectiveRegistry.sections))
            term = try RecommenderObjectiveRegistry.make(node).term(
                RecommenderContext(
                    task: task, teacher: teacher, studentDimension: Self.student, name: "arm.0", seed: 21,
                    device: device))
            var values = [
                "users": numbers(300, Self.users * Self.student), "items": numbers(400, Self.items * Self.student),
            ]
            for module in term.modules {
                _ = try module.materialize(on: device, seed: 5)
                for parameter in module.parameters { values[parameter.name] = try parameter.values() }
            }
            self.values = values
            reference = Reference(
                task: task, pairs: pairs, progress: progress,
                teacher: (try teacher.users.values().map(Double.init), try teacher.items.values().map(Double.init)),
                constant: values.mapValues { $0.map(Double.init) })
        }

        /// The loss and its gradients by name, with a factor behind it so that the gradient that arrives is not 1.
        func evaluate(factor: Float = 1.5) throws -> (loss: Float, gradients: [String: [Float]]) {
            let (users, ofUsers) = try Tensor.variable(values["users"]!, [Self.users, Self.student], on: device)
            let (items, ofItems) = try Tensor.variable(values["items"]!, [Self.items, Self.student], on: device)
            let tables = EmbeddingTables(users: users, items: items)
            let parameters = term.modules.flatMap(\.parameters)
            parameters.forEach { $0.clearGradient() }
            try term.beginEpoch(progress, student: tables.detached)
            let loss = try term.loss(
                RecommenderInput(
                    student: tables, users: pairs.users, positives: pairs.positives, negatives: pairs.negatives,
                    progress: progress))
            let value = try loss.item()
            try (loss * factor).backward()
            var gradients = ["users": try ofUsers.gradientValues(), "items": try ofItems.gradientValues()]
            for parameter in parameters { gradients[parameter.name] = try parameter.gradientValues() }
            return (value, gradients.mapValues { $0.map { $0 / factor } })
        }
    }

    @Test("values are the formula's", arguments: cases, TestBackend.available)
    func values(_ test: Case, _ backend: TestBackend) throws {
        let sample = try Sample(test, backend)
        let expected = test.reference(sample.reference, sample.reference.constant)
        expectClose([try sample.evaluate().loss], [expected], absolute: 0, relative: 2e-5)
        #expect(expected.isFinite && expected > 0.01)
    }

    @Test("gradients are the differences of the formula", arguments: cases, TestBackend.available)
    func gradients(_ test: Case, _ backend: TestBackend) throws {
        let sample = try Sample(test, backend)
        let gradients = try sample.evaluate().gradients
        #expect(Set(gradients.keys) == Set(sample.values.keys))
        var seen = 0.0
        for (name, values) in sample.reference.constant {
            let expected = Float64Reference.gradient(values) { moved in
                var all = sample.reference.constant
                all[name] = moved
                return test.reference(sample.reference, all)
            }
            expectClose(gradients[name]!, expected, absolute: 2e-5, relative: 2e-4, name)
            seen = max(seen, expected.map(abs).max() ?? 0)
        }
        #expect(seen > 0.05, "the check would not see a wrong gradient")
    }

    @Test("twice the same bits, and other draws in another epoch", arguments: cases, TestBackend.fast)
    func repeats(_ test: Case, _ backend: TestBackend) throws {
        let (one, two) = (try Sample(test, backend).evaluate(), try Sample(test, backend).evaluate())
        #expect(one.loss == two.loss && one.gradients == two.gradients)
    }

    @Test("losses that want more items than a user leaves are refused with their place")
    func tooMany() throws {
        for recipe in [
            "loss: ranking-distillation, top: 10",
            "loss: relaxed-ranking-distillation, interesting: 4, uninteresting: 4, top: 6",
            "loss: relaxed-ranking-distillation, interesting: 5, uninteresting: 1, top: 4",
            "loss: preference-consistent, items: 3, top: 13", "loss: preference-consistent, items: 5, top: 4",
        ] {
            let error = thrown(RetortError.self) {
                _ = try Sample(Case(recipe: recipe, reference: { _, _ in 0 }), .cpu)
            }
            #expect(error?.exit == .recipe && error?.location?.line == 1, "\(recipe): \(error?.description ?? "")")
        }
    }
}

/// The formulas in double. `x` holds the student's tables and the projectors' parameters by name; `constant` the same where the loss does not
/// differentiate.
struct Reference: Sendable {
    let task: RecommenderTask
    let pairs: (users: [Int32], positives: [Int32], negatives: [Int32])
    let progress: TrainingProgress
    let teacher: (users: [Double], items: [Double])
    let constant: [String: [Double]]
    private typealias S = RecommenderLossTests.Sample
    private let seed: UInt64 = 21

    init(
        task: RecommenderTask, pairs: (users: [Int32], positives: [Int32], negatives: [Int32]),
        progress: TrainingProgress, teacher: (users: [Double], items: [Double]), constant: [String: [Double]]
    ) {
        (self.task, self.pairs, self.progress, self.teacher, self.constant) = (task, pairs, progress, teacher, constant)
    }

    private func row(_ x: [Double], _ row: Int32, _ columns: Int) -> [Double] {
        Array(x[(Int(row) * columns)..<((Int(row) + 1) * columns)])
    }
    private func dot(_ a: [Double], _ b: [Double]) -> Double {
        var sum = 0.0
        for i in a.indices { sum += a[i] * b[i] }
        return sum
    }
    private func softplus(_ x: Double) -> Double { max(x, 0) + log1p(exp(-abs(x))) }
    private var count: Double { Double(pairs.users.count) }

    private func score(_ x: [String: [Double]], _ user: Int32, _ item: Int32) -> Double {
        dot(row(x["users"]!, user, S.student), row(x["items"]!, item, S.student))
    }

    func bpr(_ x: [String: [Double]]) -> Double {
        var sum = 0.0
        for (n, user) in pairs.users.enumerated() {
            let margin: Double = score(x, user, pairs.positives[n]) - score(x, user, pairs.negatives[n])
            sum += softplus(-margin)
        }
        return sum / count
    }

    // MARK: Projectors

    private func linear(_ x: [String: [Double]], _ name: String, _ input: [Double]) -> [Double] {
        let weight = x[name + ".weight"]!
        var output = x[name + ".bias"]!
        for o in output.indices { output[o] += dot(row(weight, Int32(o), input.count), input) }
        return output
    }

    /// `part` users or items; `student` where the embedding comes from.
    private func project(
        _ x: [String: [Double]], _ part: String, _ id: Int32, from student: [String: [Double]], experts: Int
    ) -> [Double] {
        let name = "arm.0.\(part)"
        let s = row(student[part]!, id, S.student)
        var outputs: [[Double]] = []
        for i in 0..<experts {
            let inner = linear(x, "\(name).experts.\(i).0", s).map { max($0, 0) }
            outputs.append(linear(x, "\(name).experts.\(i).2", inner))
        }
        guard experts > 1 else { return outputs[0] }
        let t = row(part == "users" ? teacher.users : teacher.items, id, S.teacher)
        let random = Philox(seed: seed, stream: Philox.stream("\(name)/\(progress.step)"))
        var logits = Float64Reference.logSoftmax(linear(x, "\(name).selection", t))
        for i in 0..<experts { logits[i] += random.gumbel(UInt64(id) * UInt64(experts) + UInt64(i)) }
        let final = experts == 3 ? 0.2 : 1e-4
        let weights = Float64Reference.softmax(logits, temperature: pow(final, Double(progress.epoch) / 4))
        var mixed = [Double](repeating: 0, count: S.teacher)
        for i in 0..<experts {
            for d in 0..<S.teacher { mixed[d] += weights[i] * outputs[i][d] }
        }
        return mixed
    }

    func hint(_ x: [String: [Double]], experts: Int) -> Double {
        func sum(_ ids: [Int32], _ part: String) -> Double {
            var total = 0.0
            for id in Set(ids) {
                let t = row(part == "users" ? teacher.users : teacher.items, id, S.teacher)
                let p = project(x, part, id, from: x, experts: experts)
                for d in t.indices { total += (p[d] - t[d]) * (p[d] - t[d]) }
            }
            return total
        }
        let users = sum(pairs.users, "users")
        let items = sum(pairs.positives, "items") + sum(pairs.negatives, "items")
        return (users + 0.5 * items) / count
    }

    // MARK: Preference consistency

    /// Scores of the drawn items before and after the projectors, for each pair; the student is a constant.
    private func preferences(_ x: [String: [Double]], experts: Int) -> [(before: [Double], after: [Double])] {
        let byStudent = experts == 2
        var ranking: [[Int32]] = []
        for user in 0..<Int32(S.users) {
            let scores = (0..<Int32(S.items)).map { byStudent ? score(constant, user, $0) : teacherScore(user, $0) }
            let sorted = (0..<Int32(S.items)).sorted { scores[Int($0)] > scores[Int($1)] }
            ranking.append(Array(sorted.prefix(6)))
        }
        let sampler = RankSampler(ranking, sharpness: 10, seed: seed, purpose: "arm.0/preferences")
        sampler.begin(epoch: progress.epoch)
        return pairs.users.map { user in
            let items = sampler.draw(user, 3)
            let projected = project(x, "users", user, from: constant, experts: experts)
            let before = items.map { score(constant, user, $0) }
            let after = items.map { dot(projected, project(x, "items", $0, from: constant, experts: experts)) }
            return (before, after)
        }
    }

    private func teacherScore(_ user: Int32, _ item: Int32) -> Double {
        dot(row(teacher.users, user, S.teacher), row(teacher.items, item, S.teacher))
    }

    func list(_ x: [String: [Double]], experts: Int, temperature: Double) -> Double {
        var sum = 0.0
        for (before, after) in preferences(x, experts: experts) {
            sum -= dot(
                Float64Reference.softmax(before, temperature: temperature),
                Float64Reference.logSoftmax(after, temperature: temperature))
        }
        return sum / count
    }

    func pair(_ x: [String: [Double]], experts: Int) -> Double {
        var sum = 0.0
        for (before, after) in preferences(x, experts: experts) {
            let product: Double = (after[0] - after[1]) * (before[0] - before[1])
            sum += softplus(-product)
        }
        return sum / count
    }

    // MARK: Rankings

    /// What the user has not taken, best first by the teacher.
    private func untaken(_ user: Int32, _ count: Int) -> [Int32] {
        Array(
            (0..<Int32(S.items)).filter { !task.train[Int(user)].contains($0) }
                .sorted { teacherScore(user, $0) > teacherScore(user, $1) }.prefix(count))
    }

    func ranking(_ x: [String: [Double]], estimates: Bool) -> Double {
        let unobserved = UnobservedItems(task.train, items: S.items, seed: seed, purpose: "arm.0/samples")
        var total = 0.0
        for user in pairs.users {
            let top = untaken(user, 4)
            var weights = (1...4).map { exp(-Double($0) / 2) }
            if estimates {
                let first: UInt64 = UInt64(progress.epoch) << 32 + UInt64(user) * 25
                let samples = (0..<25).map { unobserved.draw(user, number: first + UInt64($0)) }
                for (place, item) in top.enumerated() {
                    let own = score(constant, user, item)
                    let above = samples.count { score(constant, user, $0) > own }
                    let rank: Double = Double(above) / 25 * Double(S.items - 1) + 1
                    weights[place] *= tanh(max(0.3 * (rank - Double(place + 1)), 0))
                }
            }
            let sum = max(weights.reduce(0, +), 1e-12)
            for (weight, item) in zip(weights, top) { total += weight / sum * softplus(-score(x, user, item)) }
        }
        return total / count
    }

    func relaxed(_ x: [String: [Double]]) -> Double {
        let rankings = (0..<Int32(S.users)).map { untaken($0, 4) }
        let sampler = RankSampler(rankings, sharpness: 3, seed: seed, purpose: "arm.0/interesting")
        sampler.begin(epoch: progress.epoch)
        let random = Philox(seed: seed, stream: Philox.stream("arm.0/uninteresting/\(progress.epoch)"))
        var total = 0.0
        for user in Set(pairs.users) {
            let excluded = Set(rankings[Int(user)] + task.train[Int(user)])
            let others = (0..<Int32(S.items)).filter { !excluded.contains($0) }
            var below = 0.0
            for rank in random.subset(2, below: others.count, block: UInt64(user)) {
                below += exp(score(x, user, others[rank]))
            }
            // From the worst of the interesting items up.
            for item in sampler.ranked(user, 3).reversed() {
                let own = score(x, user, item)
                below += exp(own)
                total += log(below) - own
            }
        }
        return total / count
    }
}
