import RetortModels
import RetortRuntime
import RetortSupport

/// A recipe whose student is a language model.
struct LanguageRecipe: Sendable {
    let name: String
    let node: RecipeNode
    let data: LanguageSource
    /// Empty where nobody teaches, or students teach themselves.
    let teachers: [LanguageTeacherSpec]
    let student: LanguageModelSpec
    /// What its weights are saved as.
    let savedType: SavedType
    let arms: [Arm]
    let seeds: [UInt64]
    let checkpoint: CheckpointSpec
    /// What is measured of the models' own texts; nil: nothing.
    let answers: AnswerSpec?

    /// What a teacher that is trained first minimises.
    var teacherTerms: [LanguageArmTerm] {
        [LanguageArmTerm(CrossEntropyObjective(smoothing: 0), at: data.isMasked ? .masked : .next)]
    }

    struct Arm: Sendable {
        let name: String
        let terms: [LanguageArmTerm]
        /// nil: it learns from the data's texts.
        let rollouts: RolloutSpec?
        let scheme: LanguageScheme
        let train: LanguageTrainSpec
        /// Those of the recipe's teachers that are asked while the student is trained, in the recipe's order.
        let teachers: [String]
        /// What it wants the data's answers for; nil: prompts are enough.
        let answerNeed: AnswerNeed?
        /// What rewards answers of its student; nil where no loss compares two.
        let preference: LanguageArmTerm?
        /// Where its losses stand.
        let location: RetortError.Location?
        /// What is minimised, on which texts and in which precision, a line each.
        var contract: [String] { contract(by: \.contract) }
        /// The same where a run knows more of it.
        /// - Parameter term: what a loss minimises, in words.
        func contract(by term: (LanguageArmTerm) -> String) -> [String] {
            let further = [scheme.contract].filter { !$0.isEmpty } + [train.precision].compactMap { $0 }
            return terms.map(term) + (rollouts.map { ["on " + $0.contract] } ?? []) + further
        }
    }

    /// Where paths may stand.
    private static let paths = [
        ["data", "path"], ["data", "test", "path"], ["data", "plain", "path"], ["data", "tokenizer"],
        ["student", "path"], ["student", "model", "path"], ["student", "from", "path"],
    ]
    /// Where they may stand in a teacher.
    private static let teacherPaths = [["path"], ["cache"], ["model", "path"]]

    /// - Parameter folder: relative paths in the recipe start here; where nothing is there, in the working directory.
    init(_ recipe: RecipeNode, name: String, folder: String) throws {
        let paths = RecipePaths(folder: folder)
        let data = try LanguageSource(recipe.required("data"), paths.resolve)
        let isMasked = data.isMasked
        let node = recipe.setting(
            "arms",
            to: try LanguagePreset.expand(
                recipe.required("arms"), isMasked ? .maskedArm : .languageArm,
                among: isMasked ? LanguagePreset.masked : LanguagePreset.all))
        self.name = name
        self.data = data
        // The stored recipe must mean the same from anywhere, so its paths are absolute.
        var resolved = node
        let teachers = [["teacher"]] + (node["teachers"]?.fields.map { ["teachers", $0.key] } ?? [])
        for place in Self.paths + teachers.flatMap({ teacher in Self.teacherPaths.map { teacher + $0 } }) {
            if let path = place.reduce(node, { $0?[$1] }), case .text(let text) = path.value {
                resolved = resolved.replacing(place, by: RecipePaths.absolute(paths.resolve(text)))
            }
        }
        self.node = resolved
        let train = node.required("train")
        self.teachers = try LanguageTeacherSpec.all(node, isMasked: isMasked, paths.resolve)
        let folders = self.teachers.compactMap { $0.spec?.directory }
        student = try LanguageModelSpec(
            node.required("student"), who: "student", isMasked: isMasked,
            teacher: folders.count == 1 ? folders[0] : nil, paths.resolve)
        savedType = SavedType(student: node.required("student"))
        seeds = node.required("seeds").list.map { UInt64($0.integer) }
        guard Set(seeds).count == seeds.count else {
            throw RetortError.recipe("a seed stands twice in seeds", at: node.required("seeds").location)
        }
        checkpoint = CheckpointSpec(node.required("checkpoint"))
        answers = try node["answers"].map { try AnswerSpec($0) }
        let (specs, hasPlain) = (self.teachers, data.hasPlain)
        arms = try node.required("arms").fields.map { name, arm in
            try Arm(name, arm, train: train, teachers: specs, hasPlain: hasPlain, isMasked: isMasked)
        }
    }
}

extension LanguageRecipe.Arm {
    /// - Throws: `RetortError` 78 for losses and texts that do not go together.
    init(
        _ name: String, _ node: RecipeNode, train: RecipeNode, teachers: [LanguageTeacherSpec], hasPlain: Bool,
        isMasked: Bool
    ) throws {
        self.name = name
        self.train = try LanguageTrainSpec(node["train"], fallback: train)
        let (names, scheme) = (teachers.map(\.name), LanguageScheme(node.required("scheme")))
        self.scheme = scheme
        let rollouts = try node["rollouts"].map { try RolloutSpec($0, teachers: names) }
        self.rollouts = rollouts
        let losses = node.required("objective").list
        location = node.required("objective").location ?? node.location
        let terms = try Self.placed(
            losses.map { try LanguageArmTerm($0, teachers: names, scheme, isMasked: isMasked) }, losses, rollouts)
        self.terms = terms
        try LossWeight.check(zip(losses, terms).map { (node: $0, objective: $1.objective) }, of: name)
        preference = terms.first { $0.objective.needs == .answers }
        answerNeed = AnswerNeed.of(rollouts, terms, losses, at: node)
        let asked = Set(terms.flatMap(\.teachers)).union([rollouts?.teacher].compactMap { $0 })
        self.teachers = names.filter(asked.contains)
        guard
            !names.isEmpty || scheme.bringsTeacher
                || !terms.contains(where: { $0.objective.needsTeacher && !$0.looksAtStart }),
            !names.isEmpty || !(rollouts?.needsTeacher ?? false)
        else {
            throw RetortError.recipe(
                "the arm \(name) needs a teacher, and the recipe has none", at: node.location,
                help: "add teacher: {path: DIRECTORY}" + (isMasked ? ", or {model: …}" : ", or {cache: DIRECTORY}"))
        }
        if case .bornAgain = scheme, self.teachers.count != 1 {
            throw RetortError.recipe(
                "the first generation of \(name) needs one teacher, and the arm has \(self.teachers.count)",
                at: node["scheme"]?.location ?? node.location, why: "later generations have one, the student before")
        }
        try checkCaches(teachers, at: node)
        for (loss, term) in zip(losses, terms) {
            let word = loss.required("loss").text
            if term.texts == .plain, !hasPlain {
                throw RetortError.recipe(
                    "the loss \(word) looks at plain text, and there is none", at: loss.location,
                    help: "add data.plain, or look at other texts")
            }
            let wanted: (texts: String, help: String)
            switch term.objective.needs {
            case .any: continue
            case .drawn:
                wanted = (
                    "tokens that the student drew", "add `rollouts: {kind: student, share: 1}` or `{kind: mixed}`"
                )
            case .pairs: wanted = ("two texts to each prompt", "add `rollouts: {kind: pairs}`")
            case .answers:
                // Of the data's it is not known yet how many answers they have.
                if rollouts == nil, term.texts != .plain { continue }
                wanted = (
                    "two answers to each prompt",
                    "let it look at data of preferences, or at `rollouts: {kind: pairs}`"
                )
            }
            guard let rollouts, rollouts.serves(term.objective.needs), term.texts == .step else {
                throw RetortError.recipe(
                    "the loss \(word) is about \(wanted.texts)", at: loss.location,
                    why: rollouts.map { "the arm \(name) has rollouts of kind \($0.name)" }
                        ?? "the arm \(name) learns from the data's texts", help: wanted.help)
            }
            guard rollouts.sampling.temperature > 0 || !term.objective.needs.wantsSignals else {
                throw RetortError.recipe(
                    "the loss \(word) is about tokens that were drawn, and none is at temperature 0",
                    at: rollouts.location, help: "say `temperature: 1`")
            }
            guard term.objective.needs != .drawn || rollouts.sampling.isPlain else {
                throw RetortError.recipe(
                    "the loss \(word) is about tokens drawn as models predict them, and they are drawn \(rollouts.sampling.words)",
                    at: rollouts.location,
                    why: "what a token counts is how likely the models find it over how likely it was to be drawn",
                    help: "say `temperature: 1`, and remove top-k, top-p, min-p and repetition-penalty")
            }
        }
        if let rollouts, let writes = rollouts.teacher,
            let (loss, term) = zip(losses, terms).first(where: { $0.1.objective.needs.wantsSignals }),
            term.teachers != [writes]
        {
            throw RetortError.recipe(
                "the loss \(loss.required("loss").text) rewards by another teacher than the one that writes",
                at: loss.location, why: "\(writes) writes", help: "let both have the same `from`")
        }
        if let second = zip(losses, terms).filter({ $0.1.objective.needs.wantsSignals }).dropFirst().first {
            throw RetortError.recipe(
                "a second loss of written texts in one arm", at: second.0.location, help: "keep one of them")
        }
    }
}

extension LanguageRecipe.Arm {
    /// The losses where they belong: beside one that compares two answers a cross entropy is of the better one.
    /// - Throws: `RetortError` 78 for another loss beside one that compares answers.
    fileprivate static func placed(
        _ terms: [LanguageArmTerm], _ nodes: [RecipeNode], _ rollouts: RolloutSpec?
    ) throws -> [LanguageArmTerm] {
        guard terms.contains(where: { $0.objective.needs == .answers }) else { return terms }
        return try zip(terms, nodes).map { term, node in
            let isOfPairs = term.texts == .step || term.texts == .data && rollouts == nil
            guard isOfPairs, term.objective.needs != .answers else { return term }
            guard term.objective is CrossEntropyObjective else {
                throw RetortError.recipe(
                    "the loss \(node.required("loss").text) learns from one answer to a prompt, beside a loss that compares two",
                    at: node.location,
                    help: "beside such a loss there may be others and cross-entropy, of the chosen answers")
            }
            return term.at(.chosen)
        }
    }

    /// - Throws: `RetortError` 78 for what a cache of a teacher's predictions cannot give.
    fileprivate func checkCaches(_ teachers: [LanguageTeacherSpec], at node: RecipeNode) throws {
        let cached = Set(teachers.filter { $0.cache != nil }.map(\.name))
        let help = "give the teacher a `path` without a `cache`"
        if let rollouts, cached.contains(where: self.teachers.contains) {
            throw RetortError.recipe(
                "the teacher's cache knows the data's texts, and the arm \(name) learns from others",
                at: rollouts.location ?? node.location, help: help)
        }
        if case .bornAgain = scheme, let teacher = self.teachers.first, cached.contains(teacher) {
            throw RetortError.recipe(
                "a cache teaches the first generation of \(name) only", at: node["scheme"]?.location ?? node.location,
                help: help)
        }
        for (loss, term) in zip(node.required("objective").list, terms) where !cached.isDisjoint(with: term.teachers) {
            let word = loss.required("loss").text
            guard term.objective.takesCachedTeacher else {
                throw RetortError.recipe(
                    "the loss \(word) asks for more of the teacher than a cache keeps", at: loss.location,
                    why: "it keeps the likeliest tokens, the mass of the others, and hidden states", help: help)
            }
            guard term.texts != .plain else {
                throw RetortError.recipe(
                    "the teacher's cache knows the data's texts, and the loss \(word) looks at others",
                    at: loss.location, help: help)
            }
        }
    }
}

extension RecipeSection {
    static let languageArm = RecipeSection(
        "arm", "One way to train the student.",
        [
            LanguagePreset.field,
            RecipeField(
                "objective", .list(of: .variant(key: "loss", LanguageObjectiveRegistry.sections), count: 1...16),
                .optional, "the losses that are added up; needed unless a preset has them"),
            RolloutSpec.field,
            LanguageScheme.field,
            RecipeField("train", .section(ownLanguageTrain), .optional, "what differs from `train` for this arm"),
        ])

    /// The recipe of a language model.
    static var language: RecipeSection {
        let student = RecipeSection(
            "student", "A language model: its sizes, or the directory to start from.",
            [
                LanguageModelSpec.path, RecipeField("model", LanguageModelSpec.schema, .optional, "a fresh student"),
                StudentSource.field,
                RecipeField(
                    "lora", .section(LowRankAdaptation.section), .optional,
                    "train adapters beside the frozen weights of path"),
                SavedType.field,
            ])
        let own: [String: RecipeType] = [
            "data": .variant(key: "kind", LanguageSource.sections), "teacher": .section(LanguageTeacherSpec.section),
            "teachers": .named(.section(LanguageTeacherSpec.section)), "student": .section(student),
            "arms": .named(.section(languageArm)), "train": .section(languageTrain),
        ]
        let shared = RecipeSection.recipe
        return RecipeSection(
            shared.name, shared.summary,
            shared.fields.map { RecipeField($0.key, own[$0.key] ?? $0.type, $0.presence, $0.summary) }
                + [AnswerSpec.field])
    }
}
