import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// The reference's float64 run of eight epochs, step by step: Tests/Fixtures/golden/e2e/digits_exact (see golden/README.md).
/// Initial weights and the order of the rows are given, so nothing is left to chance; a float32 run of the reference itself drifts from
/// its float64 run by the amounts in `float32_drift`, and ours may drift three times as far.
@Suite("Digits, exact replay")
struct DigitsReplayTests {
    private struct Reference {
        let json: JSONCursor
        let tensors: SafeTensors
        let train: TabularDataset
        let test: TabularDataset
        let spec: TrainSpec
        let taught: any Objective

        init() throws {
            let path = Project.golden("e2e/digits_exact")
            json = JSONCursor(try JSON.read(path + ".json"), file: path + ".json")
            tensors = try SafeTensors(path: path + ".safetensors")
            let recipe = try Recipe.read(
                Project.recipe("digits-full.yaml"), overrides: ["train.epochs=8", "teacher.train.epochs=8"])
            guard case .csv(let label, let scale, let testEvery) = recipe.data.kind else {
                throw RetortError.badData("digits are no CSV")
            }
            let data = try TabularDataset.csv(recipe.data.path, label: label, scale: scale)
            (train, test) = try data.split(testEvery: testEvery)
            spec = recipe.train
            taught = recipe.arms[1].terms[0].objective
            // The fixture's own words, so that a changed recipe is noticed here and not as a drift.
            #expect(try json.member("batch_size").int() == spec.batch && json.member("epochs").int() == spec.epochs)
            #expect(try json.member("optimizer").member("lr").double() == spec.optimizer.learningRate)
            #expect(
                taught.contract == "0.9·T²·KL(p‖q) + 0.1·CE(labels, q at T=1), T=4, teacher entropy out, mean over rows"
            )
        }

        func losses(_ key: String) throws -> [Double] { try json.member(key).elements().map { try $0.double() } }
        /// Test rows that are classified right, from the accuracy in percent.
        func right(_ key: String) throws -> Int {
            Int((try json.member("test_accuracy").member(key).double() / 100 * Double(test.rows)).rounded())
        }
        func drift(_ key: String) throws -> Double { try json.member("float32_drift").member(key).double() }

        /// The order of the rows of one epoch; `order_teacher` and `order_student` are int32 `[epochs, rows]`.
        func order(_ net: String, _ epoch: Int) throws -> [Int32] {
            let bytes = try tensors.read("order_" + net)
            let rows = train.rows
            return bytes.withUnsafeBytes { raw in
                (0..<rows).map { raw.loadUnaligned(fromByteOffset: 4 * (epoch * rows + $0), as: Int32.self) }
            }
        }

        /// `layers.1.weight` of our model is `<net>.1.weight` of the fixture.
        func name(_ parameter: Parameter, _ net: String) -> String { parameter.name.replacing("layers", with: net) }
    }

    /// Trains one net as the fixture says and compares each step's loss.
    private func replay(
        _ reference: Reference, widths: [Int], initial: String, order: String, losses key: String, drift: Double,
        goal: Trainer.Goal, on device: Device
    ) throws -> (model: MLP, evaluation: Evaluation) {
        let model = MLP(widths)
        let arena = try model.materialize(on: device, seed: 0)
        for parameter in model.parameters {
            try parameter.assign(try reference.tensors.floats(reference.name(parameter, initial)))
        }
        let rows = reference.train
        let data = try DeviceRows(rows, on: device)
        let trainer = try Trainer(model, arena, goal: goal, data: data, spec: reference.spec, seed: 0, on: device)
        var losses: [Float] = []
        for epoch in 0..<reference.spec.epochs {
            losses += try trainer.epoch(epoch, order: try reference.order(order, epoch))
        }
        let expected = try reference.losses(key)
        #expect(losses.count == 184 && expected.count == 184)
        let worst = zip(losses, expected).map { abs(Double($0) - $1) }.max() ?? .infinity
        print("replay \(key) on \(device): largest drift of a loss \(worst), allowed \(3 * drift)")
        expectClose(losses, expected, absolute: 3 * drift, key)
        let test = reference.test
        let testRows = try DeviceRows(test, on: device)
        return (model, try Evaluation(model, testRows, on: device))
    }

    private func right(_ evaluation: Evaluation) -> Int {
        Int((evaluation.accuracy * Double(evaluation.rows)).rounded())
    }

    @Test("teacher, distilled student, hard student", arguments: TestBackend.fast)
    func replay(_ backend: TestBackend) throws {
        let device = try backend.device()
        let reference = try Reference()
        let hard = CrossEntropyObjective(smoothing: 0)
        let (teacher, teacherResult) = try replay(
            reference, widths: [64, 256, 256, 10], initial: "teacher_init", order: "teacher",
            losses: "teacher_loss_per_step",
            drift: reference.drift("teacher_loss_max_abs"), goal: .init([hard], teacher: nil), on: device)
        #expect(right(teacherResult) == (try reference.right("teacher")))
        teacher.freeze()

        let (student, studentResult) = try replay(
            reference, widths: [64, 16, 10], initial: "student_init", order: "student",
            losses: "student_kd_loss_per_step",
            drift: reference.drift("student_kd_loss_max_abs"), goal: .init([reference.taught], teacher: teacher),
            on: device)
        #expect(right(studentResult) == (try reference.right("student_kd")))
        let drift = try reference.drift("student_after_kd_max_abs")
        for parameter in student.parameters {
            let expected = try reference.tensors.floats(reference.name(parameter, "student_after_kd")).map(Double.init)
            expectClose(try parameter.values(), expected, absolute: 3 * drift, parameter.name)
        }
        let logits = try reference.tensors.floats("student_test_logits").map(Double.init)
        // A logit adds up 16 products of weights that drift and hidden values below 10.
        expectClose(studentResult.logits, logits, absolute: 0.1, "logits of the test rows")

        // Its losses have no drift of their own in the fixture; they are of the teacher's size.
        let (_, hardResult) = try replay(
            reference, widths: [64, 16, 10], initial: "student_init", order: "student",
            losses: "student_hard_loss_per_step",
            drift: reference.drift("teacher_loss_max_abs"), goal: .init([hard], teacher: nil), on: device)
        #expect(right(hardResult) == (try reference.right("student_hard")))
    }
}
