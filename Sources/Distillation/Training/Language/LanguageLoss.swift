import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// The losses of an arm, ready for one training run of a student.
final class LanguageLoss {
    /// A loss as the recipe has it, and made ready.
    struct Term {
        let spec: LanguageArmTerm
        let loss: any LanguageTerm
    }
    let terms: [Term]
    private let model: any LanguageModel
    private let teachers: [LanguageTeacher]
    /// By the teachers that losses compare token by token, where not all classes are compared as they are.
    private let classes: [[String]: ComparedClasses]
    private let chunk: ChunkSize
    private let device: Device

    /// - Parameters:
    ///   - teachers: those that losses look at by their names, and perhaps others.
    ///   - name: of the arm: what losses train beside the student is named after it.
    ///   - rows: of one forward pass where a loss looks at a whole batch before its parts; nil: all.
    ///   - chunk: how many tokens' logits a loss holds at a time, and what models are asked of texts.
    /// - Throws: `RetortError` 78 when a loss does not fit the models.
    init(
        _ model: any LanguageModel, _ terms: [LanguageArmTerm], teachers: [LanguageTeacher], name: String,
        rows: Int? = nil, chunk: ChunkSize = .automatic, on device: Device
    ) throws {
        self.model = model
        self.chunk = chunk
        self.teachers = teachers
        self.device = device
        classes = terms.reduce(into: [:]) { classes, term in
            guard Self.comparesClasses(term), classes[term.teachers] == nil else { return }
            classes[term.teachers] = ComparedClasses(
                teachers.filter { term.teachers.contains($0.name) }, beside: model.vocabulary)
        }
        self.terms = try terms.enumerated().map { index, term in
            let taught = teachers.first { $0.name == term.teachers.first }
            var context = LanguageTermContext(student: model, teacher: try taught?.layers(), name: "\(name).\(index)")
            context.likelihoods = .init(
                student: { try $0.inParts(of: rows) { try model.logProbabilities($0, chunk: chunk, on: device) } },
                teacher: taught.map { taught in
                    { try $0.inParts(of: rows) { try taught.logProbabilities($0, chunk: chunk) } }
                })
            return Term(spec: term, loss: try term.objective.term(context))
        }
    }

    /// What losses train beside the student.
    var modules: [any Module] { terms.flatMap(\.loss.modules) }

    /// The signals that losses ask of a teacher.
    /// - Parameter among: of which losses.
    func asked(of teacher: LanguageTeacher, among: (LanguageArmTerm) -> Bool = { _ in true }) -> Set<String> {
        terms.filter { $0.spec.teachers.contains(teacher.name) && among($0.spec) }.reduce(into: []) {
            $0.formUnion($1.loss.signals.teacher)
        }
    }

    /// - Throws: `RetortError` 78 for losses of what models hide beside a teacher that may read more or fewer tokens than the student.
    func checkPlaces(at place: RetortError.Location?) throws {
        for teacher in teachers {
            guard let renumbering = teacher.tokens.renumbering, !renumbering.isOneToOne,
                let path = asked(of: teacher).min()
            else { continue }
            throw RetortError.recipe(
                "the teacher does not know all of the student's tokens, and a loss compares \(path) token by token",
                at: place, why: "a token that it does not know it reads in several of its own",
                help: "compare predictions alone: forward-kl, jsd, hinton and others")
        }
    }

    /// - Throws: `RetortError` 78 for a signal that a cache does not keep.
    func checkCaches(at place: RetortError.Location?) throws {
        for teacher in teachers {
            guard let cache = teacher.cache else { continue }
            let missing = asked(of: teacher).subtracting(cache.identity.signals.paths)
            guard let path = missing.min() else { continue }
            throw RetortError.recipe(
                "the teacher's cache does not keep \(path)", at: place,
                why: "it keeps \(cache.identity.signals.words)",
                help: "`retort cache` with this recipe and another directory keeps what its losses ask for")
        }
    }

    /// Computes once, of a few tokens, the losses that look inside the models: what does not fit is found before anything is trained.
    /// - Throws: `RetortError` 78.
    func rehearse(_ batch: LanguageBatch) throws {
        let inner = terms.filter { !$0.loss.signals.student.isEmpty }
        guard !inner.isEmpty else { return }
        let projectors = ModuleList(inner.flatMap(\.loss.modules))
        if !projectors.children.isEmpty { _ = try projectors.materialize(on: device, seed: 0) }
        _ = try Autograd.withoutGradients {
            try self(RolloutBatch(batch), inner, targets: 1, of: 1, TrainingProgress())
        }
    }

    private final class ModuleList: Module {
        let children: [any Module]
        var isTraining = true
        init(_ children: [any Module]) { self.children = children }
    }

    /// A part's share of the loss of a batch with so many targets and tokens: a scalar on the tape.
    /// - Parameters:
    ///   - pairs: of the batch, where its rows are pairs of answers; nil: it is the part.
    ///   - sequences: of the batch; nil: it is the part.
    func callAsFunction(
        _ part: RolloutBatch, _ terms: [Term], targets: Int, of size: Int, pairs: PairedSize? = nil,
        sequences: SequenceCount? = nil, _ progress: TrainingProgress
    ) throws -> Tensor {
        let batch = part.batch
        let pairs = pairs ?? PairedSize([batch])
        let sequences = sequences ?? SequenceCount([batch])
        let tokens = try TokenBatch(batch)
        let (share, count) = (1 / Float(max(1, size)), batch.targets.count)
        let tokenWeights = try device.compute.view(
            batch.valid.map { $0.map { $0 ? share : 0 } } ?? [Float](repeating: share, count: count), [count])
        let counting = terms.map { ($0, Float($0.spec.ramp.factor(progress))) }.filter { $0.1 != 0 }
        let asked = counting.reduce(into: SignalRequest()) { $0.add($1.0.loss.signals) }
        let states = try model.hidden(tokens, capturing: asked.student)
        // Losses of signals are made of operations on fp32.
        let signals = try states.signals.mapValues { try $0.stored(as: .f32) }
        let head = try model.head()
        let lessons = try lessons(for: counting.map(\.0), batch, tokens)
        var placed: [Weighing: PlacedRows] = [:]
        var compared: [Comparison: ComparedRows] = [:]
        let losses = try counting.map { term, factor in
            let taught = term.spec.teachers.compactMap { lessons[subject($0, of: term.spec)] }
            let classes = classes(of: term.spec)
            let weighing = Weighing(
                places: term.spec.places, reduction: term.spec.reduction,
                classes: term.spec.reduction == .elementMean ? classes?.ids.count ?? head.classes : 1)
            let rows =
                try placed[weighing]
                ?? PlacedRows(
                    PredictedPlaces(
                        weighing.places, of: batch, learned: weighing.places == .chosen ? pairs.tokens : targets,
                        size: size, reduction: weighing.reduction, sequences: sequences[weighing.places],
                        classes: weighing.classes), states.last, device)
            placed[weighing] = rows
            let comparison = Comparison(rows: weighing, teachers: classes == nil ? [] : term.spec.teachers)
            let own =
                try compared[comparison]
                ?? ComparedRows(rows, head, classes, isRead: [Bool].inAll(taught.map(\.isRead)), device)
            compared[comparison] = own
            let reference =
                term.spec.objective.needs == .answers ? try taught.first?.logProbabilities(batch.targets) : nil
            // The gradient goes where it belongs at once, unless the loss is still to be multiplied.
            let loss = try term.loss.loss(
                LanguageInput(
                    hidden: rows.hidden, head: own.head,
                    teachers: taught.map { try $0.predictions(at: rows.known.places) }, labels: own.labels,
                    targets: own.targets, weights: own.weights, shares: rows.known.weights, labelled: own.labelled,
                    gradient: factor == 1 ? .added : .held, chunk: chunk, rollout: part.signals, student: signals,
                    taught: taught.first?.signals ?? [:], tokens: tokens, tokenWeights: tokenWeights,
                    progress: progress, isCausal: model.isCausal, reference: reference, pairs: pairs))
            return factor == 1 ? loss : try loss * factor
        }
        return losses.isEmpty ? try Tensor([0], [], on: device) : try Tensor.total(losses)
    }

    /// What a loss looks at of the places that it is about.
    private struct PlacedRows {
        let known: PredictedPlaces
        /// What the head sees there.
        let hidden: Tensor
        let labels: View
        let weights: View

        init(_ known: PredictedPlaces, _ states: Tensor, _ device: Device) throws {
            self.known = known
            hidden = try states.rows(at: known.places)
            labels = try device.compute.view(known.targets, [known.targets.count], .i32)
            weights = try device.compute.view(known.weights, [known.weights.count])
        }
    }

    /// Which places a loss looks at, and what each counts.
    private struct Weighing: Hashable {
        let places: TermPlaces
        let reduction: TokenReduction
        /// That a mean is taken over too; else 1.
        let classes: Int
    }

    /// What is compared with whom.
    private struct Comparison: Hashable {
        let rows: Weighing
        /// Empty where all classes are compared.
        let teachers: [String]
    }

    /// The rows of a loss as far as teachers can say something of them: what follows is a token that they know, and they have read what
    /// stands before.
    private struct ComparedRows {
        let head: OutputHead
        /// Classes of the head.
        let labels: View
        let targets: [Int32]
        let weights: View
        let labelled: LabelledRows?

        init(
            _ rows: PlacedRows, _ head: OutputHead, _ classes: ComparedClasses?, isRead: [Bool]?, _ device: Device
        ) throws {
            guard let classes else {
                (self.head, labels, targets, weights) = (head, rows.labels, rows.known.targets, rows.weights)
                labelled = nil
                return
            }
            self.head = try head.restricted(to: classes.ids)
            let ignored = LanguageBatch.ignored
            targets = rows.known.targets.enumerated().map { number, label in
                let place = rows.known.places.map { Int($0[number]) } ?? number
                return isRead?[place] ?? true ? classes.place(of: label) ?? ignored : ignored
            }
            let isAll = zip(targets, rows.known.targets).allSatisfy { ($0 == ignored) == ($1 == ignored) }
            labels = try device.compute.view(targets, [targets.count], .i32)
            weights =
                isAll
                ? rows.weights
                : try device.compute.view(
                    zip(targets, rows.known.weights).map { $0 == ignored ? 0 : $1 }, [targets.count])
            labelled =
                classes.isWhole && isAll ? nil : LabelledRows(head: head, labels: rows.labels, weights: rows.weights)
        }
    }

    /// Who is asked, and how it reads.
    private struct Subject: Hashable {
        let teacher: String
        let reading: TokenAlignment?
        /// Those with whom it shares the classes that are compared; empty: all classes are.
        let others: [String]
    }

    private func subject(_ teacher: String, of term: LanguageArmTerm) -> Subject {
        Subject(
            teacher: teacher, reading: term.objective.reading,
            others: classes(of: term) == nil ? [] : term.teachers)
    }

    /// Whether a loss compares predictions class by class; what models say of whole answers is made of all their own classes.
    private static func comparesClasses(_ term: LanguageArmTerm) -> Bool {
        term.objective.reading == nil && term.objective.needs != .answers
    }

    /// nil for a loss that compares all classes as they are, or in another way.
    private func classes(of term: LanguageArmTerm) -> ComparedClasses? {
        Self.comparesClasses(term) ? classes[term.teachers] : nil
    }

    /// What each teacher that a loss looks at has to say: it reads the batch once in each way that is asked for.
    private func lessons(
        for terms: [Term], _ batch: LanguageBatch, _ tokens: TokenBatch
    ) throws -> [Subject: LanguageTeacher.Lesson] {
        var lessons: [Subject: LanguageTeacher.Lesson] = [:]
        for teacher in teachers {
            let own = terms.filter { $0.spec.teachers.contains(teacher.name) }
            let paths = own.reduce(into: SignalRequest()) { $0.add($1.loss.signals) }.teacher
            for term in own {
                let subject = subject(teacher.name, of: term.spec)
                guard lessons[subject] == nil else { continue }
                lessons[subject] = try teacher.lesson(
                    batch, tokens, subject.reading, classes: classes(of: term.spec), capturing: paths, chunk: chunk,
                    on: device)
            }
        }
        return lessons
    }
}

extension LanguageBatch {
    /// What is said of so many rows at a time, one behind the other.
    fileprivate func inParts(of count: Int?, _ body: (LanguageBatch) throws -> [Float]) rethrows -> [Float] {
        try stride(from: 0, to: rows, by: count ?? max(1, rows)).flatMap {
            try body(rows($0..<min(rows, $0 + (count ?? rows))))
        }
    }
}

extension Tensor {
    /// Of `[..., hidden]` the rows with these numbers, `[places, hidden]`; itself for nil.
    func rows(at places: [Int32]?) throws -> Tensor {
        guard let places else { return self }
        let width = shape[rank - 1]
        return try reshaped([count / width, width]).gatherRows(places, shape: [places.count])
    }
}
