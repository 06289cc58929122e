import RetortModels
import RetortRuntime
import RetortSupport

/// Two signals that a loss compares, by path.
struct SignalPair: Sendable, Equatable {
    let student: String
    let teacher: String
}

/// Which signals a loss compares: those the recipe names, else the authors' layers among what the models show.
struct SignalChoice: Sendable {
    /// The authors' layers.
    enum Layers: Sendable {
        /// Every stage with its counterpart.
        case stages
        /// The same before the activation.
        case preactivations
        case lastStage
        /// Every stage but the deepest.
        case allButLastStage
        /// The second stage, "layer 2" of mdistiller, which counts the stem as 0; the only one of a model with one.
        case hint
        case embedding
        /// The last two stages, or the only one, and the embedding.
        case lastTwoStagesAndEmbedding
        /// The stem where a model shows one, and every stage.
        case stemAndStages
        /// Every stage and then the embedding; the teacher's stages before their activation where it shows them (ReviewKD).
        case reviewed
        /// The class activation maps.
        case activationMaps

        fileprivate var phrase: String {
            switch self {
            case .stages: "every stage"
            case .preactivations: "every stage before its activation"
            case .lastStage: "the last stage"
            case .allButLastStage: "every stage but the last"
            case .hint: "the second stage"
            case .embedding: "what the classifier sees"
            case .lastTwoStagesAndEmbedding: "the last two stages and what the classifier sees"
            case .stemAndStages: "the stem and every stage"
            case .reviewed: "every stage and what the classifier sees"
            case .activationMaps: "class activation maps"
            }
        }

        fileprivate func paths(_ catalog: SignalCatalog, isTeacher: Bool) -> [String] {
            let embedding = catalog.embedding.map { [$0] } ?? []
            switch self {
            case .stages: return catalog.stages
            case .preactivations: return catalog.preactivations
            case .lastStage: return Array(catalog.stages.suffix(1))
            case .allButLastStage: return Array(catalog.stages.dropLast())
            case .hint: return Array(catalog.stages.prefix(2).suffix(1))
            case .embedding: return embedding
            case .lastTwoStagesAndEmbedding:
                return catalog.stages.filter { !embedding.contains($0) }.suffix(2) + embedding
            case .stemAndStages: return catalog.others.filter { $0 == SignalCatalog.stem } + catalog.stages
            case .reviewed:
                let stages = isTeacher && !catalog.preactivations.isEmpty ? catalog.preactivations : catalog.stages
                return stages.isEmpty ? [] : stages + embedding
            case .activationMaps: return catalog.others.filter { $0 == SignalCatalog.activationMaps }
            }
        }
    }

    /// The loss, for messages.
    let loss: String
    let layers: Layers
    private let student: Named?
    private let teacher: Named?

    private struct Named: Sendable {
        let paths: [String]
        let location: RetortError.Location?
    }

    /// Of the student alone, under a key of the loss's own.
    init(_ loss: String, _ layers: Layers, _ recipe: RecipeNode, studentKey: String) {
        self.loss = loss
        self.layers = layers
        student = recipe[studentKey].map { Named(paths: $0.list.map(\.text), location: $0.location) }
        teacher = nil
    }

    init(_ loss: String, _ layers: Layers, _ recipe: RecipeNode) {
        func named(_ key: String) -> Named? {
            recipe[key].map { Named(paths: $0.list.map(\.text), location: $0.location) }
        }
        self.loss = loss
        self.layers = layers
        student = named("student")
        teacher = named("teacher")
    }

    /// The keys `student` and `teacher`.
    static func fields(_ layers: Layers) -> [RecipeField] {
        [("student", "student"), ("teacher", "teacher")].map { key, who in
            RecipeField(
                key, .list(of: .text, count: 1...256), .optional,
                "signals of the \(who), by path; \(layers.phrase) when absent")
        }
    }

    /// For contracts: "at every stage", "at layers.0.hidden, layers.2.hidden".
    var contract: String {
        guard student != nil || teacher != nil else { return "at \(layers.phrase)" }
        func text(_ named: Named?) -> String { named.map { $0.paths.joined(separator: ", ") } ?? layers.phrase }
        return text(student) == text(teacher)
            ? "at \(text(student))" : "at student's \(text(student)) and teacher's \(text(teacher))"
    }

    /// The student's side alone, for contracts.
    var studentContract: String { "at \(student?.paths.joined(separator: ", ") ?? layers.phrase)" }

    /// The student's side alone.
    /// - Throws: `RetortError` 78 when it has no such layer.
    func studentPaths(_ models: ModelPair) throws -> [String] {
        try paths(student, of: models.student, who: "student")
    }

    /// - Throws: `RetortError` 78 when a model has no such layer, or the two have different numbers of them.
    func pairs(_ models: ModelPair) throws -> [SignalPair] {
        let of = (try paths(student, of: models.student, who: "student"), try teacherPaths(models))
        guard of.0.count == of.1.count else {
            throw RetortError.recipe(
                "the loss \(loss) compares signals in pairs, but there are \(of.0.count) of the student and "
                    + "\(of.1.count) of the teacher",
                at: student?.location ?? teacher?.location,
                why: "student: \(of.0.joined(separator: ", ")); teacher: \(of.1.joined(separator: ", "))",
                help: "name as many under `student` as under `teacher`")
        }
        return zip(of.0, of.1).map { SignalPair(student: $0, teacher: $1) }
    }

    func request(_ models: ModelPair) throws -> SignalRequest {
        let pairs = try pairs(models)
        return SignalRequest(student: pairs.map(\.student), teacher: pairs.map(\.teacher))
    }

    private func teacherPaths(_ models: ModelPair) throws -> [String] {
        guard let catalog = models.teacher else {
            throw RetortError.internalBug("the loss \(loss) without a teacher")
        }
        return try paths(teacher, of: catalog, who: "teacher")
    }

    private func paths(_ named: Named?, of catalog: SignalCatalog, who: String) throws -> [String] {
        if let named {
            if let wrong = named.paths.first(where: { !catalog.paths.contains($0) }) {
                throw RetortError.recipe(
                    "the \(who) shows no signal \(wrong.quoted())", at: named.location,
                    why: "it can show " + catalog.paths.joined(separator: ", "),
                    help: EditDistance.suggestion(for: wrong, among: catalog.paths))
            }
            return named.paths
        }
        let paths = layers.paths(catalog, isTeacher: who == "teacher")
        guard !paths.isEmpty else { throw showsNone(layers.phrase, catalog, who) }
        return paths
    }

    /// An error about a student without what the loss looks at.
    func showsNone(_ phrase: String, _ models: ModelPair) -> RetortError {
        showsNone(phrase, models.student, "student")
    }

    private func showsNone(_ phrase: String, _ catalog: SignalCatalog, _ who: String) -> RetortError {
        .recipe(
            "the loss \(loss) looks at \(phrase), and the \(who) shows none",
            why: catalog.paths.isEmpty
                ? "it shows no signals at all" : "it can show " + catalog.paths.joined(separator: ", "),
            help: catalog.paths.isEmpty ? "use another \(who)" : "name signals in the recipe")
    }
}

extension TermContext {
    /// Shapes of a pair without the rows.
    func shapes(_ pair: SignalPair) throws -> (student: [Int], teacher: [Int]) {
        guard let s = student[pair.student], let t = teacher[pair.teacher] else {
            throw RetortError.internalBug("no shape of the signals \(pair.student) and \(pair.teacher)")
        }
        return (s, t)
    }

    /// The shapes of two maps, `[channels, height, width]`.
    /// - Throws: `RetortError` 78 for anything else.
    func maps(_ pair: SignalPair, _ loss: String) throws -> (student: MapShape, teacher: MapShape) {
        let (s, t) = try shapes(pair)
        guard let student = MapShape(s), let teacher = MapShape(t) else {
            throw misfit(pair, loss, "it takes maps [channels, height, width]")
        }
        return (student, teacher)
    }

    /// An error about shapes that a loss cannot compare.
    func misfit(_ pair: SignalPair, _ loss: String, _ why: String) -> RetortError {
        let shapes = (student[pair.student] ?? [], teacher[pair.teacher] ?? [])
        return .recipe(
            "the loss \(loss) cannot compare the student's \(pair.student) \(shapes.0) with the teacher's "
                + "\(pair.teacher) \(shapes.1)",
            why: why, help: "name other signals under `student` and `teacher`, or use another loss")
    }
}

/// The shape of one example's feature map.
struct MapShape: Sendable, Equatable {
    let channels: Int
    let height: Int
    let width: Int

    init?(_ shape: [Int]) {
        guard shape.count == 3 else { return nil }
        (channels, height, width) = (shape[0], shape[1], shape[2])
    }

    var size: [Int] { [height, width] }
}

extension ObjectiveInput {
    /// The two signals of a pair, the teacher's as a constant.
    func signals(_ pair: SignalPair) throws -> (student: Tensor, teacher: Tensor) {
        let teacher = try teacher()
        guard let s = student.signals[pair.student], let t = teacher.signals[pair.teacher] else {
            throw RetortError.internalBug("the signals \(pair.student) and \(pair.teacher) were not kept")
        }
        return (s, t.detached)
    }
}

extension Tensor {
    /// `[rows, …]` → `[rows, everything else]`.
    func flattenedRows() throws -> Tensor {
        rank == 2 ? self : try reshaped([shape[0], count / Swift.max(1, shape[0])])
    }
}
