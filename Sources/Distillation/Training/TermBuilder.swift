import RetortModels
import RetortRuntime
import RetortSupport

/// Makes the terms of a goal ready: asks each loss for the signals it wants, looks at their shapes in one forward pass over two
/// examples, and lets it build its projectors.
struct TermBuilder {
    /// The signals of all terms together.
    let request: SignalRequest
    private let goal: Trainer.Goal
    private let context: (String) -> TermContext

    /// - Throws: `RetortError` 78 when a loss asks for what the models cannot show.
    init(_ model: any Model, goal: Trainer.Goal, data: DeviceRows, seed: UInt64, on device: Device) throws {
        self.goal = goal
        // Peers are of the student's own architecture.
        let pair = ModelPair(
            student: model.signals, teacher: goal.teacher?.catalog ?? (goal.hasPeers ? model.signals : nil))
        var request = SignalRequest()
        for term in goal.terms {
            let wanted = try term.objective.signals(pair)
            request.student.formUnion(wanted.student)
            request.teacher.formUnion(wanted.teacher)
        }
        self.request = request
        var (student, teacher): ([String: [Int]], [String: [Int]]) = ([:], [:])
        if !request.student.isEmpty || !request.teacher.isEmpty {
            let x = try data.examples(0..<min(2, data.rows), on: device)
            model.setTraining(false)
            let output = try Autograd.withoutGradients { try model.forward(x, capturing: request.student) }
            student = try Self.shapes(output, request.student, who: "student", pair.student)
            let taught =
                goal.hasPeers && goal.teacher == nil
                ? try Autograd.withoutGradients { try model.forward(x, capturing: request.teacher) }
                : try goal.teacher?.answer(x, capturing: request.teacher).first
            if let taught { teacher = try Self.shapes(taught, request.teacher, who: "teacher", pair.teacher) }
        }
        context = { [student, teacher] name in
            TermContext(
                models: pair, student: student, teacher: teacher, classes: model.classes, examples: data.rows,
                labels: data.labels, teacherNorm: { goal.teacher?.batchNorm(before: $0) }, name: name, seed: seed,
                device: device)
        }
    }

    func build() throws -> [any ObjectiveTerm] {
        try goal.terms.enumerated().map { try $0.element.objective.term(context("\(goal.name).\($0.offset)")) }
    }

    private static func shapes(
        _ output: ModelOutput, _ paths: Set<String>, who: String, _ catalog: SignalCatalog?
    ) throws -> [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        for path in paths.sorted() {
            guard let signal = output.signals[path] else {
                let known = catalog?.paths ?? []
                throw RetortError.recipe(
                    "the \(who) shows no signal \(path.quoted())",
                    why: "it can show " + known.joined(separator: ", "),
                    help: EditDistance.suggestion(for: path, among: known))
            }
            shapes[path] = Array(signal.shape.dropFirst())
        }
        return shapes
    }
}
