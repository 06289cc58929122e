import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Models that see a part of each example.
@Suite("What models see")
struct InputViewTests {
    private func view(_ text: String) throws -> InputView {
        try InputView(try RecipeReader.readValue("{\(text)}", InputView.field.type))
    }

    @Test("regions of tables and images, and their shapes", arguments: TestBackend.fast)
    func regions(_ backend: TestBackend) throws {
        let device = try backend.device()
        let table = try Tensor((0..<12).map(Float.init), [2, 6], on: device)
        #expect(try view("columns: [1, 3]")(table).values() == [1, 2, 3, 7, 8, 9])
        #expect(try view("columns: [1, 3]").shape(of: [6]) == [3])
        let images = try Tensor((0..<48).map(Float.init), [2, 2, 3, 4], on: device)
        let part = try view("channels: [1, 1], rows: [0, 1], columns: [2, 3]")
        #expect(try part(images).values() == [14, 15, 18, 19, 38, 39, 42, 43])
        #expect(try part(images).shape == [2, 1, 2, 2] && part.shape(of: [2, 3, 4]) == [1, 2, 2])
        #expect(InputView.whole.isWhole)
        #expect(try view("rows: [0, 2]").contract == "rows 0 to 2")
    }

    @Test("parts that examples do not have")
    func errors() throws {
        let cases: [(String, [Int], String)] = [
            ("columns: [0, 6]", [6], "have 6 columns"), ("rows: [0, 1]", [6], "is for images"),
            ("channels: [1, 1]", [1, 8, 8], "have 1 channels"), ("rows: [3, 8]", [1, 8, 8], "have 8 rows"),
        ]
        for (text, sample, what) in cases {
            let error = try #require(thrown(RetortError.self) { _ = try view(text).shape(of: sample) })
            #expect(error.exit == .recipe && error.what.contains(what) && error.location != nil, "\(error.what)")
        }
        let backwards = try #require(thrown(RetortError.self) { _ = try view("columns: [4, 2]") })
        #expect(backwards.exit == .recipe && backwards.what.contains("before it begins"))
    }

    // MARK: In training

    private static let rows = 30

    private func numbers(_ columns: Range<Int>) -> [Float] {
        let all = Philox(seed: 2, stream: Philox.stream("halves")).uniforms(Self.rows * 6, -1, 1)
        return (0..<Self.rows).flatMap { Array(all[($0 * 6 + columns.lowerBound)..<($0 * 6 + columns.upperBound)]) }
    }

    private func data(_ columns: Range<Int>, on device: Device) throws -> DeviceRows {
        try DeviceRows(
            try TabularDataset(
                features: numbers(columns), labels: (0..<Self.rows).map { Int32($0 % 3) },
                columnNames: columns.map { "x\($0)" }, classes: 3), on: device)
    }

    private func trained(
        _ objective: String, teacher: InputView, student: InputView, _ columns: Range<Int>, on device: Device
    ) throws -> (parameters: [Float], trainer: Trainer) {
        let recipe = try Recipe.parse(
            """
            data: {kind: csv, path: none.csv, label: none, test: {every: 5}}
            teacher: {model: {kind: mlp, layers: [4, 9, 3]}}
            student: {model: {kind: mlp, layers: [2, 5, 3]}}
            arms: {student: {objective: \(objective)}}
            train: {epochs: 2, batch: 8, optimizer: {kind: sgd, lr: 0.1}}
            """, name: "views")
        let expert = MLP([4, 9, 3])
        _ = try expert.materialize(on: device, seed: 1)
        let pupil = MLP([2, 5, 3])
        let arena = try pupil.materialize(on: device, seed: 2)
        let trainer = try Trainer(
            pupil, arena,
            goal: .init(recipe.arms[0].terms, teacher: LocalTeacher(expert, seeing: teacher), view: student),
            data: data(columns, on: device), spec: recipe.train, seed: 5, on: device)
        for epoch in 0..<2 { _ = try trainer.epoch(epoch, order: nil) }
        return (try pupil.parameters.flatMap { try $0.values() }, trainer)
    }

    @Test("a student of some columns learns as from a table of those columns", arguments: TestBackend.fast)
    func studentSide(_ backend: TestBackend) throws {
        let device = try backend.device()
        let alone = "[{loss: cross-entropy}]"
        let part = try trained(alone, teacher: .whole, student: view("columns: [4, 5]"), 0..<6, on: device)
        let own = try trained(alone, teacher: .whole, student: .whole, 4..<6, on: device)
        #expect(part.parameters == own.parameters)
    }

    @Test("teacher and student see their own sides", arguments: TestBackend.fast)
    func bothSides(_ backend: TestBackend) throws {
        let device = try backend.device()
        let objective = "[{loss: hinton, temperature: 2}]"
        let apart = try trained(
            objective, teacher: view("columns: [0, 3]"), student: view("columns: [4, 5]"), 0..<6, on: device)
        let other = try trained(
            objective, teacher: view("columns: [2, 5]"), student: view("columns: [4, 5]"), 0..<6, on: device)
        #expect(apart.parameters != other.parameters)
        // By hand: the teacher's answers to its own columns are the targets of the first step.
        let left = try data(0..<4, on: device)
        let expert = MLP([4, 9, 3])
        _ = try expert.materialize(on: device, seed: 1)
        let whole = try data(0..<6, on: device)
        let x = try whole.examples(0..<8, on: device)
        #expect(
            try LocalTeacher(expert, seeing: view("columns: [0, 3]")).answer(x, capturing: [])[0].logits.values()
                == (try expert(left.examples(0..<8, on: device)).values()))
    }

    @Test("retrieval counts the rows whose own teacher's embedding is nearest", arguments: TestBackend.fast)
    func retrieval(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (teacher, student) = (try view("columns: [0, 3]"), try view("columns: [4, 5]"))
        let trainer = try trained(
            "[{loss: contrastive, width: 7}]", teacher: teacher, student: student, 0..<6, on: device
        ).trainer
        let whole = try data(0..<6, on: device)
        let share = try #require(try trainer.retrieval(whole))
        let (x, labels) = try whole.batch(Array(0..<Int32(Self.rows)), on: device)
        let pair = try #require(try trainer.embeddings(x, labels: labels))
        let s = Float64Reference.rows(try pair.student.values().map(Double.init), 7)
        let t = Float64Reference.rows(try pair.teacher.values().map(Double.init), 7)
        for row in s + t { #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5) }
        let hits = s.indices.count { i in
            let cosines = t.map { zip(s[i], $0).reduce(0) { $0 + $1.0 * $1.1 } }
            return cosines[i] == cosines.max()
        }
        #expect(share == Double(hits) / Double(Self.rows))
        let plain = try trained("[{loss: hinton}]", teacher: teacher, student: student, 0..<6, on: device).trainer
        #expect(try plain.retrieval(whole) == nil)
    }
}
