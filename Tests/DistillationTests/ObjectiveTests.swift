import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A loss of the registry under some settings, e.g. `{loss: jsd, beta: 0.1}`.
struct Setting: Sendable, CustomTestStringConvertible {
    let recipe: String
    var testDescription: String { recipe }

    func make() throws -> any Objective { try ObjectiveRegistry.parse("{\(recipe)}") }

    /// Every loss with its defaults; those that have a temperature also without hard labels, hot, and without T²; those that have a
    /// mixture also at both ends. A new loss is covered without a line here.
    static let all: [Setting] = ObjectiveRegistry.all.filter { $0 is any LogitObjective.Type }.flatMap {
        type -> [Setting] in
        let name = type.section.name
        let keys = Set(type.section.fields.map(\.key))
        var settings = ["loss: \(name)"]
        if keys.contains("temperature") {
            settings += [
                "loss: \(name), alpha: 1", "loss: \(name), alpha: 1, temperature: 3",
                "loss: \(name), alpha: 0.4, temperature: 3",
            ]
        }
        if keys.contains("t-squared") { settings.append("loss: \(name), alpha: 1, temperature: 3, t-squared: false") }
        if ["hinton", "forward-kl", "skew-kl"].contains(name) {
            settings.append("loss: \(name), alpha: 1, temperature: 3, teacher-entropy: true")
        }
        for mix in ["beta", "lambda"] where keys.contains(mix) {
            settings += ["0", "0.1", "0.9", "1"].map { "loss: \(name), \(mix): \($0)" }
        }
        if keys.contains("label-smoothing") { settings.append("loss: \(name), label-smoothing: 0.2") }
        return settings.map(Setting.init)
    }
}

@Suite("Objectives")
struct ObjectiveTests {
    private static let rows = 5
    private static let classes = 7

    private func numbers(_ purpose: String, _ count: Int, _ spread: Float = 3) -> [Float] {
        let random = Philox(seed: 11, stream: Philox.stream(purpose))
        return (0..<UInt64(count)).map { random.uniform($0, -spread, spread) }
    }

    /// The loss and its gradient with respect to the student's logits.
    private func evaluate(
        _ objective: any Objective, student: [Float], teacher: [Float], classes: Int, labels: [Int32],
        on device: Device,
        then: (Tensor) throws -> Tensor = { $0 }
    ) throws -> (loss: Float, gradient: [Float]) {
        let shape: Dimensions = [labels.count, classes]
        let (x, leaf) = try Tensor.variable(student, shape, on: device)
        let input = ObjectiveInput(
            student: x, teacher: objective.needsTeacher ? try Tensor(teacher, shape, on: device) : nil,
            labels: try device.compute.view(labels, [labels.count], .i32))
        let loss = try then(try #require(objective as? any LogitObjective).loss(input))
        let value = try loss.item()
        try loss.backward()
        return (value, try leaf.gradientValues())
    }

    private static let labels: [Int32] = [0, 3, 6, 1, 1]
    private var student: [Float] { numbers("student", Self.rows * Self.classes) }
    private var teacher: [Float] { numbers("teacher", Self.rows * Self.classes) }

    private func evaluate(_ setting: Setting, _ backend: TestBackend, student: [Float]? = nil, teacher: [Float]? = nil)
        throws
        -> (loss: Float, gradient: [Float])
    {
        try evaluate(
            try setting.make(), student: student ?? self.student, teacher: teacher ?? self.teacher,
            classes: Self.classes,
            labels: Self.labels, on: try backend.device())
    }

    // MARK: Laws

    @Test("zero when student and teacher agree", arguments: Setting.all, TestBackend.fast)
    func zeroAtEquality(_ setting: Setting, _ backend: TestBackend) throws {
        guard try setting.make().laws.contains(.zeroAtEquality) else { return }
        let (loss, gradient) = try evaluate(setting, backend, student: teacher)
        // T² · a few rounding errors of terms of size 1.
        #expect(abs(loss) < 2e-5)
        // |p − q| has a corner at equality: any subgradient in its range is right, and every other loss is flat.
        if !setting.recipe.contains("tvd") { #expect(gradient.allSatisfy { abs($0) < 1e-5 }) }
    }

    @Test("never negative", arguments: Setting.all, TestBackend.fast)
    func nonNegative(_ setting: Setting, _ backend: TestBackend) throws {
        guard try setting.make().laws.contains(.nonNegative) else { return }
        for spread: Float in [0.01, 1, 30] {
            let loss = try evaluate(
                setting, backend, student: numbers("s\(spread)", Self.rows * Self.classes, spread),
                teacher: numbers("t\(spread)", Self.rows * Self.classes, spread)
            ).loss
            #expect(loss >= -1e-6 && loss.isFinite, "spread \(spread)")
        }
    }

    @Test("unchanged when a row's logits move together", arguments: Setting.all, TestBackend.fast)
    func shiftInvariant(_ setting: Setting, _ backend: TestBackend) throws {
        guard try setting.make().laws.contains(.shiftInvariant) else { return }
        func moved(_ values: [Float], by step: Float) -> [Float] {
            values.enumerated().map { $0.element + step * Float($0.offset / Self.classes - 2) }
        }
        let plain = try evaluate(setting, backend)
        let shifted = try evaluate(setting, backend, student: moved(student, by: 8), teacher: moved(teacher, by: -4))
        expectClose([shifted.loss], [Double(plain.loss)], absolute: 1e-5, relative: 1e-5)
        expectClose(shifted.gradient, plain.gradient.map(Double.init), absolute: 1e-5)
    }

    @Test("classes that both exclude change nothing", arguments: Setting.all, TestBackend.fast)
    func paddingInvariant(_ setting: Setting, _ backend: TestBackend) throws {
        let objective = try setting.make()
        guard objective.laws.contains(.paddingInvariant) else { return }
        let extra = 4
        func padded(_ values: [Float]) -> [Float] {
            (0..<Self.rows).flatMap {
                Array(values[($0 * Self.classes)..<(($0 + 1) * Self.classes)])
                    + [Float](repeating: -.infinity, count: extra)
            }
        }
        let plain = try evaluate(setting, backend)
        let wide = try evaluate(
            objective, student: padded(student), teacher: padded(teacher), classes: Self.classes + extra,
            labels: Self.labels,
            on: try backend.device())
        expectClose([wide.loss], [Double(plain.loss)], absolute: 1e-6, relative: 1e-6)
        var expected: [Double] = []
        for row in 0..<Self.rows {
            expected += plain.gradient[(row * Self.classes)..<((row + 1) * Self.classes)].map(Double.init)
            expected += [Double](repeating: 0, count: extra)
        }
        expectClose(wide.gradient, expected, absolute: 1e-6)
    }

    @Test("every law is claimed by some loss, and every pure divergence claims all")
    func lawsAreClaimed() throws {
        for law in ObjectiveLaw.allCases {
            #expect(try Setting.all.contains { try $0.make().laws.contains(law) }, "\(law)")
        }
        for type in ObjectiveRegistry.all where type is any DivergenceObjective.Type {
            let laws = try Setting(recipe: "loss: \(type.section.name), alpha: 1").make().laws
            #expect(laws == Set(ObjectiveLaw.allCases), "\(type.section.name)")
        }
    }

    // MARK: Gradients

    /// Fourth-order central differences of loss² + 2 · loss, so that the gradient that arrives at the loss is not 1.
    /// The share of akl is a constant to its gradient, which is no derivative then: ResponseLossTests compares it.
    @Test(
        "gradients by finite differences", arguments: Setting.all.filter { !$0.recipe.hasPrefix("loss: akl") },
        TestBackend.fast)
    func finiteDifferences(_ setting: Setting, _ backend: TestBackend) throws {
        let objective = try setting.make()
        let device = try backend.device()
        func value(_ student: [Float]) throws -> (loss: Float, gradient: [Float]) {
            try evaluate(
                objective, student: student, teacher: teacher, classes: Self.classes, labels: Self.labels, on: device,
                then: { try $0.squared() + $0.scaled(2) })
        }
        let (loss, gradient) = try value(student)
        let step: Float = 0.05
        var numeric: [Double] = []
        let places = Array(stride(from: 0, to: student.count, by: 3))
        for place in places {
            func at(_ offset: Float) throws -> Double {
                var moved = student
                moved[place] += offset
                return Double(try value(moved).loss)
            }
            let difference = try 8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))
            numeric.append(difference / (12 * Double(step)))
        }
        // Rounding of a sum near `loss`, divided by the step, and the method's own error of order step⁴.
        let tolerance = 1e-5 + 1e-5 * Double(abs(loss))
        expectClose(places.map { gradient[$0] }, numeric, absolute: tolerance, relative: 1e-3, setting.recipe)
        // Only a mixture that is all teacher, or all student, has nothing to learn.
        let isFlat = setting.recipe.contains("lambda: 1")
        #expect(
            isFlat || numeric.contains { abs($0) > 10 * tolerance },
            "the check would not see a wrong gradient: \(numeric)")
    }

    // MARK: Goldens

    /// kd-formulas.md (the project's reference notes), section 2.16: z student, y teacher, value, gradient with respect to z.
    struct Golden: Sendable, CustomTestStringConvertible {
        let recipe: String
        let value: Double
        let gradient: [Double]?
        var testDescription: String { recipe }

        static let student: [Float] = [1, 2, 3, -1]
        static let teacher: [Float] = [2, 1, 0.5, 0]
        static let q = [0.08894682, 0.24178252, 0.65723302, 0.01203764]
        static let forwardGradient = [-0.49031171, 0.02868521, 0.52798297, -0.06635647]
        static let hotGradient = [-0.46865897, 0.07920062, 0.56186835, -0.17241000]
        static let reverseGradient = [-0.24761732, -0.18952863, 0.47065731, -0.03351136]
        static let jsdGradient = [-0.06858316, -0.01904687, 0.09691175, -0.00928172]

        // 0.9 · T² · KL + 0.1 · CE at label 1, put together from the same table.
        static let crossEntropy = -log(q[1])
        static let crossEntropyGradient = [q[0], q[1] - 1, q[2], q[3]]
        static let mixedGradient: [Double] = zip(hotGradient, crossEntropyGradient).map { 0.9 * $0 + 0.1 * $1 }
        static let mixed: Double = 0.9 * 1.06422768 + 0.1 * crossEntropy

        static let all: [Golden] = [
            Golden(recipe: "loss: forward-kl", value: 0.99514048, gradient: forwardGradient),
            Golden(recipe: "loss: forward-kl, temperature: 2", value: 1.06422768, gradient: hotGradient),
            Golden(
                recipe: "loss: forward-kl, temperature: 2, t-squared: false", value: 0.26605692,
                gradient: hotGradient.map { 0.25 * $0 }),
            Golden(recipe: "loss: hinton, temperature: 2, alpha: 1", value: 1.06422768, gradient: hotGradient),
            Golden(recipe: "loss: hinton, temperature: 2, alpha: 0.9", value: mixed, gradient: mixedGradient),
            Golden(recipe: "loss: cross-entropy", value: crossEntropy, gradient: crossEntropyGradient),
            Golden(recipe: "loss: reverse-kl", value: 0.91017036, gradient: reverseGradient),
            Golden(recipe: "loss: jsd, beta: 0.1", value: 0.08420523, gradient: nil),
            Golden(recipe: "loss: jsd, beta: 0.5", value: 0.21145951, gradient: jsdGradient),
            Golden(recipe: "loss: jsd, beta: 0.9", value: 0.07901491, gradient: nil),
            Golden(recipe: "loss: jsd, beta: 0", value: 0.99514048, gradient: forwardGradient),
            Golden(recipe: "loss: jsd, beta: 1", value: 0.91017036, gradient: reverseGradient),
            // Halfway both forms are one.
            Golden(recipe: "loss: jsd-continuous, beta: 0.5", value: 0.21145951, gradient: jsdGradient),
            Golden(
                recipe: "loss: skew-kl, lambda: 0.1", value: 0.71976180,
                gradient: [-0.27362193, -0.02432661, 0.33497925, -0.03703070]),
            Golden(
                recipe: "loss: skew-reverse-kl, lambda: 0.1", value: 0.69075109,
                gradient: [-0.19806286, -0.10245513, 0.32732288, -0.02680489]),
            // The same with the teacher's entropy in the value.
            Golden(
                recipe: "loss: forward-kl, teacher-entropy: true", value: 2.10490748, gradient: forwardGradient),
            Golden(
                recipe: "loss: skew-kl, lambda: 0.1, teacher-entropy: true", value: 1.82952880,
                gradient: [-0.27362193, -0.02432661, 0.33497925, -0.03703070]),
            Golden(
                recipe: "loss: tvd", value: 0.55666819, gradient: [-0.07996457, 0.02441628, 0.06637032, -0.01082203]),
        ]
    }

    @Test("the reference's golden vector", arguments: Golden.all, TestBackend.available)
    func golden(_ golden: Golden, _ backend: TestBackend) throws {
        let objective = try Setting(recipe: golden.recipe).make()
        // Three equal rows: the mean over rows is the row's own value, each row's gradient a third.
        let (loss, gradient) = try evaluate(
            objective, student: Golden.student + Golden.student + Golden.student,
            teacher: Golden.teacher + Golden.teacher + Golden.teacher, classes: 4, labels: [1, 1, 1],
            on: try backend.device())
        expectClose([loss], [golden.value], absolute: 5e-7, relative: 2e-6, "value")
        if let expected = golden.gradient {
            let third = expected.map { $0 / 3 }
            expectClose(gradient, third + third + third, absolute: 3e-7, relative: 2e-6, "gradient")
        }
    }

    /// Where the reference results of the other losses are: a committed suite, or a float64 reference in a test.
    static let references: [String: String] = [
        "logit-mse": "losses/logit_variants", "soft-cross-entropy": "losses/logit_variants",
        "logit-standardization": "losses/logit_variants", "dist": "losses/logit_variants", "dkd": "losses/dkd",
        "ensemble": "losses/multi_teacher", "rkd": "losses/rkd", "sp": "losses/relational",
        "pkt": "losses/relational", "cc": "losses/relational", "hard-label": "ResponseLossTests",
        "teacher-free": "ResponseLossTests", "irg": "SignalReferenceTests", "fitnet": "losses/fitnet",
        "at": "losses/at", "fsp": "losses/fsp", "cat-kd": "losses/cat_kd", "vid": "losses/relational",
        "nst": "losses/relational", "ofd": "losses/review_ofd", "reviewkd": "losses/review_ofd", "crd": "losses/crd",
        "ab": "SignalReferenceTests", "ft": "SignalReferenceTests", "masked-feature": "SignalReferenceTests",
        "masked-image": "MaskedImageTests",
        "be-your-own-teacher": "SignalReferenceTests", "learned-ensemble": "SignalReferenceTests",
        "contrastive": "SignalReferenceTests", "akl": "ResponseLossTests", "mlkd": "ResponseLossTests",
    ]

    @Test("every loss of the registry but the continuous form's ends has a golden or a float64 reference")
    func goldensCover() {
        let covered = Set(Golden.all.map { $0.recipe.split(separator: ",")[0].dropFirst("loss: ".count) })
        for type in ObjectiveRegistry.all {
            let name = type.section.name
            if covered.contains(name[...]) { continue }
            guard let place = Self.references[name] else {
                Issue.record("\(name) has no reference")
                continue
            }
            let file =
                place.contains("/") ? "/Tests/Fixtures/golden/\(place).json" : "/Tests/DistillationTests/\(place).swift"
            #expect(FileManager.default.fileExists(atPath: Project.root + file), "\(name): \(file)")
        }
    }

    /// Independent of the kernels: both sums in double.
    @Test("the continuous JSD at other mixtures", arguments: [0.1, 0.25, 0.9], TestBackend.available)
    func continuousJSD(_ beta: Double, _ backend: TestBackend) throws {
        func softmax(_ z: [Float]) -> [Double] {
            let e = z.map { exp(Double($0)) }
            return e.map { $0 / e.reduce(0, +) }
        }
        let (p, q) = (softmax(Golden.teacher), softmax(Golden.student))
        let m = zip(p, q).map { beta * $0 + (1 - beta) * $1 }
        func divergence(_ a: [Double]) -> Double { zip(a, m).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) } }
        let expected = (1 - beta) * divergence(p) + beta * divergence(q)
        let loss = try evaluate(
            try Setting(recipe: "loss: jsd-continuous, beta: \(beta)").make(), student: Golden.student,
            teacher: Golden.teacher,
            classes: 4, labels: [0], on: try backend.device()
        ).loss
        expectClose([loss], [expected], absolute: 5e-7, relative: 2e-6)
    }

    // MARK: Contracts

    @Test("contracts name direction, T², weights and reduction")
    func contracts() throws {
        func contract(_ recipe: String) throws -> String { try Setting(recipe: recipe).make().contract }
        #expect(
            try contract("loss: hinton")
                == "0.9·T²·KL(p‖q) + 0.1·CE(labels, q at T=1), T=4, teacher entropy out, mean over rows")
        #expect(
            try contract("loss: hinton, alpha: 1, t-squared: false, teacher-entropy: true")
                == "1·(−Σ p ln(q)), T=4, no T², teacher entropy in, mean over rows")
        #expect(try contract("loss: reverse-kl, t-squared: false").contains("1·KL(q‖p), T=1, no T²"))
        #expect(try contract("loss: jsd, beta: 0.3").contains("beta = 0.3"))
        for beta in ["0.05", "0.1", "0.95"] {
            #expect(try contract("loss: jsd, beta: \(beta)").contains("shrink with beta"), "\(beta)")
        }
        for beta in ["0", "0.2", "1"] {
            #expect(try !contract("loss: jsd, beta: \(beta)").contains("shrink with beta"), "\(beta)")
        }
        #expect(try contract("loss: cross-entropy, label-smoothing: 0.1").contains("smoothing 0.1"))
        // Losses that differ must not read alike; hinton is forward-kl with other defaults.
        var owner: [String: String] = [:]
        for setting in Setting.all where !setting.recipe.hasPrefix("loss: hinton") {
            let name = String(setting.recipe.split(separator: ",")[0])
            if let other = owner.updateValue(name, forKey: try setting.make().contract) { #expect(other == name) }
        }
    }

    @Test("a divergence without a teacher is a bug, not a crash")
    func noTeacher() throws {
        let device = try TestBackend.cpu.device()
        let objective = try #require(try Setting(recipe: "loss: hinton").make() as? any LogitObjective)
        let input = ObjectiveInput(
            student: try Tensor([1, 2], [1, 2], on: device), teacher: nil,
            labels: try device.compute.view([Int32(0)], [1], .i32))
        #expect(thrown(RetortError.self) { _ = try objective.loss(input) }?.exit == .internalBug)
    }
}
