import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// What holds for every loss that looks inside the models. A new one is covered without a line here.
@Suite("Signal losses")
struct SignalLossTests {
    /// The loss on shapes that differ, where it takes such.
    private func sample(_ setting: Setting, _ backend: TestBackend, _ shapes: SignalSample.Shapes) throws
        -> SignalSample?
    {
        do {
            return try SignalSample(try setting.make(), shapes, on: try backend.device())
        } catch let error as RetortError where shapes == .different {
            // Refused with both signals and shapes named.
            #expect(error.exit == .recipe && error.what.contains("[") && error.what.contains("teacher's"))
            return nil
        }
    }

    @Test("there are some, and all take models of one shape")
    func some() throws {
        let settings = Setting.signalLosses(alpha: nil)
        #expect(settings.count >= 19)
        for setting in settings { _ = try #require(try sample(setting, .cpu, .alike)) }
    }

    @Test("zero when student and teacher agree", arguments: Setting.signalLosses(alpha: nil), TestBackend.fast)
    func zeroAtEquality(_ setting: Setting, _ backend: TestBackend) throws {
        guard try setting.make().laws.contains(.zeroAtEquality), let sample = try sample(setting, backend, .alike)
        else {
            return
        }
        let values = try sample.start()
        let own = try sample.evaluate(values, teachers: try sample.teachers(agreeingWith: values))
        let other = try sample.evaluate(values, teachers: try sample.teachers())
        #expect(abs(own.loss) < 1e-4 * abs(other.loss), "\(own.loss) beside \(other.loss)")
    }

    @Test("never negative", arguments: Setting.signalLosses(alpha: nil), TestBackend.fast)
    func nonNegative(_ setting: Setting, _ backend: TestBackend) throws {
        guard try setting.make().laws.contains(.nonNegative) else { return }
        for shapes in SignalSample.Shapes.allCases {
            guard let sample = try sample(setting, backend, shapes) else { continue }
            for spread: Float in [0.01, 1, 30] {
                let loss = try sample.evaluate(
                    sample.start(spread: spread), teachers: try sample.teachers(spread: spread)
                ).loss
                #expect(loss.isFinite && loss >= 0, "\(shapes), spread \(spread): \(loss)")
            }
        }
    }

    /// Directional derivatives of the loss by a factor that brings it near 1, so that the gradient that arrives is not 1, for each signal and each projector's parameter.
    @Test("gradients by finite differences", arguments: Setting.signalLosses(alpha: "1000"), TestBackend.fast)
    func finiteDifferences(_ setting: Setting, _ backend: TestBackend) throws {
        let different = try sample(setting, backend, .different)
        let sample = try #require(try different ?? sample(setting, backend, .alike))
        let values = try sample.start()
        let teachers = try sample.teachers()
        // Constants of the first batch (CRD's Z) are set before anything is compared.
        let size = try sample.evaluate(values, teachers: teachers).loss
        let then: (Tensor) throws -> Tensor = { try $0 * (1 / (1 + abs(size))) }
        let gradients = try [0, 5].map {
            try sample.evaluate(values, teachers: teachers, epoch: $0, then: then).gradients
        }
        #expect(Set(gradients.flatMap(\.keys)) == Set(values.keys))
        // A long step sees past the loss's rounding, a short one past the kinks of projectors (ReLU): a right gradient agrees with one.
        let steps: [Float] = [0.02, 0.002]
        var seen = 0
        let constants = Self.alsoConstants[String(setting.recipe.split(separator: ",")[0])] ?? []
        for (name, value) in values.sorted(by: { $0.key < $1.key }) where !constants.contains(name) {
            // FT's paraphraser learns at the start, and is frozen where the translator has to give its code.
            let epoch = name.contains("paraphraser") ? 0 : 5
            for number in 0..<2 {
                var direction = SignalSample.random("direction\(number)" + name, value.count, 1)
                let length = direction.reduce(0) { $0 + $1 * $1 }.squareRoot()
                direction = direction.map { $0 / length }
                func at(_ offset: Float) throws -> Double {
                    var moved = values
                    moved[name] = zip(value, direction).map { $0 + offset * $1 }
                    return Double(try sample.evaluate(moved, teachers: teachers, epoch: epoch, then: then).loss)
                }
                let numerics = try steps.map { step in
                    try (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * Double(step))
                }
                let analytic = zip(gradients[epoch == 0 ? 0 : 1][name]!, direction).reduce(0.0) {
                    $0 + Double($1.0) * Double($1.1)
                }
                #expect(
                    numerics.contains { abs(analytic - $0) <= 5e-4 + 0.01 * abs($0) },
                    "\(name): \(analytic), expected \(numerics)")
                if abs(numerics[0]) > 2e-3 { seen += 1 }
            }
        }
        #expect(seen > 0, "the check would not see a wrong gradient")
    }

    /// Of the student's own answers: what a loss also compares others with, as a constant. A reference of its own looks at their gradient.
    private static let alsoConstants: [String: Set<String>] = ["loss: be-your-own-teacher": ["logits", "e"]]

    @Test("two evaluations give the same bits", arguments: Setting.signalLosses(alpha: nil), TestBackend.fast)
    func repeats(_ setting: Setting, _ backend: TestBackend) throws {
        let sample = try #require(try sample(setting, backend, .alike))
        let values = try sample.start()
        let teachers = try sample.teachers()
        _ = try sample.evaluate(values, teachers: teachers)
        let (a, b) = (try sample.evaluate(values, teachers: teachers), try sample.evaluate(values, teachers: teachers))
        #expect(a.loss == b.loss && a.gradients == b.gradients)
    }

    // MARK: Which signals

    private func request(_ recipe: String, student: SignalCatalog, teacher: SignalCatalog) throws -> SignalRequest {
        try Setting(recipe: recipe).make().signals(ModelPair(student: student, teacher: teacher))
    }

    @Test("signals named by the recipe, else the authors'")
    func choice() throws {
        let catalog = SignalSample.catalog
        let deeper = SignalCatalog(stages: ["a", "b", "c", "d"], embedding: "z")
        let cases: [(String, SignalRequest)] = [
            ("loss: at", SignalRequest(student: ["s1", "s2", "s3"], teacher: ["s1", "s2", "s3"])),
            ("loss: fitnet", SignalRequest(student: ["s2"], teacher: ["s2"])),
            ("loss: sp", SignalRequest(student: ["s3"], teacher: ["s3"])),
            ("loss: rkd", SignalRequest(student: ["e"], teacher: ["e"])),
            ("loss: ofd", SignalRequest(student: ["p1", "p2", "p3"], teacher: ["p1", "p2", "p3"])),
            ("loss: cat-kd", SignalRequest(student: ["cam"], teacher: ["cam"])),
            ("loss: reviewkd", SignalRequest(student: ["s1", "s2", "s3", "e"], teacher: ["p1", "p2", "p3", "e"])),
            (
                "loss: at, student: [s1, s3], teacher: [s2, s3]",
                SignalRequest(student: ["s1", "s3"], teacher: ["s2", "s3"])
            ),
        ]
        for (recipe, expected) in cases {
            #expect(try request(recipe, student: catalog, teacher: catalog) == expected, "\(recipe)")
        }
        #expect(
            try request("loss: fitnet", student: catalog, teacher: deeper)
                == SignalRequest(student: ["s2"], teacher: ["b"]))
    }

    @Test("what models cannot show is an error that says what they can")
    func missing() throws {
        let catalog = SignalSample.catalog
        let bare = SignalCatalog(stages: [])
        let deeper = SignalCatalog(stages: ["a", "b", "c", "d"])
        func error(_ recipe: String, student: SignalCatalog, teacher: SignalCatalog) throws -> RetortError {
            try #require(thrown(RetortError.self) { _ = try request(recipe, student: student, teacher: teacher) })
        }
        let none = try error("loss: at", student: bare, teacher: catalog)
        #expect(none.exit == .recipe && none.what.contains("the student shows none"))
        let noTeacher = try error("loss: cat-kd", student: catalog, teacher: deeper)
        #expect(noTeacher.exit == .recipe && noTeacher.what.contains("the teacher shows none"))
        #expect(noTeacher.why.contains("a, b, c, d"))
        let counts = try error("loss: at", student: catalog, teacher: deeper)
        #expect(counts.exit == .recipe && counts.what.contains("3 of the student and 4 of the teacher"))
        let misspelt = try error("loss: at, student: [s9]", student: catalog, teacher: catalog)
        #expect(misspelt.exit == .recipe && misspelt.what.contains("'s9'") && misspelt.location != nil)
        #expect(!misspelt.help.isEmpty)
    }

    @Test(
        "shapes that cannot be compared are refused, with both",
        arguments: [
            "loss: fsp", "loss: at, student: [e], teacher: [e]", "loss: fitnet, student: [s3], teacher: [s1]",
            "loss: masked-feature, student: [s1], teacher: [s2]", "loss: ofd, student: [p1], teacher: [p2]",
            "loss: vid, student: [e], teacher: [s1]", "loss: cat-kd, pool: 9", "loss: ab, student: [s3], teacher: [s1]",
        ])
    func misfit(_ recipe: String) throws {
        let error = try #require(
            thrown(RetortError.self) {
                _ = try SignalSample(Setting(recipe: recipe).make(), .different, on: try TestBackend.cpu.device())
            })
        #expect(error.exit == .recipe)
        #expect(error.what.contains("the student's") && error.what.contains("the teacher's"), "\(error.what)")
        #expect(error.what.filter { $0 == "[" }.count == 2, "\(error.what)")
    }

    // MARK: Contracts

    @Test("losses that differ do not read alike, and say where they look")
    func contracts() throws {
        let contracts = try Setting.signalLosses(alpha: nil).map { try $0.make().contract }
        #expect(Set(contracts).count == contracts.count)
        for contract in contracts {
            #expect(contract.contains(" at ") && (contract.contains("mean") || contract.contains("sum")), "\(contract)")
        }
        #expect(
            try Setting(recipe: "loss: at, student: [a], teacher: [b]").make().contract.contains(
                "at student's a and teacher's b"))
    }
}
