import RetortModels
import RetortRuntime
import RetortSupport

/// A loss made ready, and the teacher it looks at.
struct PreparedTerm {
    let term: any ObjectiveTerm
    /// nil: all together, or none.
    let teacher: Int?

    func loss(_ input: ObjectiveInput) throws -> Tensor { try term.loss(seen(input)) }
    func afterStep() throws { try term.afterStep() }

    /// nil for a loss without an embedding space.
    func embeddings(_ input: ObjectiveInput) throws -> (student: Tensor, teacher: Tensor)? {
        try (term as? any EmbeddingTerm)?.embeddings(seen(input))
    }

    private func seen(_ input: ObjectiveInput) -> ObjectiveInput {
        guard let teacher, input.teachers.count > 1 else { return input }
        return input.with(teacher: input.teachers[teacher])
    }
}

/// Makes the losses of a goal ready: asks each for the signals it wants, looks at their shapes in one forward pass over two examples,
/// and lets it build its projectors.
struct TermBuilder {
    /// The signals to keep of the student.
    let studentSignals: Set<String>
    /// The same of each of the teacher's models, or of each peer.
    let teacherSignals: [Set<String>]
    private let goal: Trainer.Goal
    private let context: (_ term: Int, _ teacher: Int?) -> TermContext

    /// - Throws: `RetortError` 78 when a loss asks for what the models cannot show.
    init(_ model: any Model, goal: Trainer.Goal, data: DeviceRows, seed: UInt64, on device: Device) throws {
        self.goal = goal
        let hiding = goal.terms.compactMap(\.objective.hiding)
        guard hiding.allSatisfy({ $0 == hiding[0] }) else {
            throw RetortError.recipe(
                "two losses of the arm \(goal.name) hide different parts of the same pictures",
                help: "give both the same `mask` and `patch`")
        }
        guard hiding.isEmpty || goal.peers.isEmpty || goal.teacher != nil else {
            throw RetortError.recipe(
                "the arm \(goal.name) hides parts of pictures from peers that teach each other with them",
                why: "whoever teaches is to see all of a picture", help: "use a teacher, or a `refresh` above 1")
        }
        // Also what cannot be hidden is refused before anything is trained.
        if let mask = hiding.first {
            let x = try goal.view(data.examples(0..<min(1, data.rows), on: device))
            try RetortError.placed(at: goal.terms.first { $0.objective.hiding != nil }?.location) {
                _ = try mask.draw(for: x, firstRow: 0, seed: seed, step: 0, on: device)
            }
        }
        let catalogs = goal.teacher?.catalogs ?? goal.peers.map(\.signals)
        func pair(_ teacher: Int?) -> ModelPair {
            ModelPair(
                student: model.signals, teacher: catalogs.isEmpty ? nil : catalogs[teacher ?? 0],
                teacherCount: max(1, catalogs.count))
        }
        var own = Set<String>()
        var taught = catalogs.map { _ in Set<String>() }
        for term in goal.terms {
            for teacher in Self.teachers(of: term, goal) {
                let request = try RetortError.placed(at: term.location) {
                    try term.objective.signals(pair(teacher))
                }
                own.formUnion(request.student)
                if !taught.isEmpty { taught[teacher ?? 0].formUnion(request.teacher) }
            }
        }
        (studentSignals, teacherSignals) = (own, taught)

        var student: [String: [Int]] = [:]
        var teachers = catalogs.map { _ in [String: [Int]]() }
        if !own.isEmpty || taught.contains(where: { !$0.isEmpty }) {
            let x = try data.examples(0..<min(2, data.rows), on: device)
            func answer(_ model: any Model, _ paths: Set<String>) throws -> ModelOutput {
                model.setTraining(false)
                return try Autograd.withoutGradients { try model.forward(goal.view(x), capturing: paths) }
            }
            student = try Self.shapes(answer(model, own), own, who: "student", model.signals)
            let answers = try goal.teacher?.answer(x, capturing: taught) ?? zip(goal.peers, taught).map(answer)
            for (index, answer) in answers.enumerated() {
                teachers[index] = try Self.shapes(answer, taught[index], who: "teacher", catalogs[index])
            }
        }
        context = { [student, teachers] term, teacher in
            TermContext(
                models: pair(teacher), student: student, teacher: teachers.isEmpty ? [:] : teachers[teacher ?? 0],
                classes: model.classes, examples: data.rows, labels: data.labels,
                teacherNorm: { goal.teacher?.batchNorm(before: $0, ofModel: teacher ?? 0) },
                name: "\(goal.name).\(term)" + (goal.peers.count > 1 ? teacher.map { ".peer\($0)" } ?? "" : ""),
                seed: seed,
                device: device)
        }
    }

    /// For each loss of the goal: what is made ready, one for each peer where it takes one teacher.
    func build() throws -> [[PreparedTerm]] {
        try goal.terms.enumerated().map { index, term in
            try Self.teachers(of: term, goal).map { teacher in
                try RetortError.placed(at: term.location) {
                    PreparedTerm(term: try term.objective.term(context(index, teacher)), teacher: teacher)
                }
            }
        }
    }

    /// Whom a loss looks at, one after the other.
    private static func teachers(of term: ArmTerm, _ goal: Trainer.Goal) -> [Int?] {
        guard term.objective.needsTeacher, !term.objective.takesAllTeachers else { return [nil] }
        return goal.peers.isEmpty ? [term.teacher ?? 0] : Array(goal.peers.indices)
    }

    private static func shapes(
        _ output: ModelOutput, _ paths: Set<String>, who: String, _ catalog: SignalCatalog
    ) throws -> [String: [Int]] {
        var shapes: [String: [Int]] = [:]
        for path in paths.sorted() {
            guard let signal = output.signals[path] else {
                let known = catalog.paths
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
