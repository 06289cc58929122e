import RetortModels
import RetortRuntime
import RetortSupport

extension LanguageRun {
    /// Builds every model once: what does not fit is refused before anything is trained, and leaves no directory behind.
    static func rehearse(
        _ recipe: LanguageRecipe, _ data: LanguageExamples, _ loaded: [LanguageTeacher?], on device: Device
    ) throws {
        let teachers = try zip(recipe.teachers, loaded).map { spec, teacher in
            if let teacher { return teacher }
            guard let live = spec.live else { throw RetortError.internalBug("a teacher that nothing stands for") }
            let model = try live.make(
                vocabulary: data.tokenizer?.tokens, settings: nil, pad: data.pad, seed: 0, trains: false, on: device
            ).model
            return LanguageTeacher(model, spec.name, tokens: TeacherTokens(count: data.tokenizer?.tokens), on: device)
        }
        let known = teachers.first(where: \.readsStudents)
        let student = try recipe.student.make(
            vocabulary: known?.vocabulary ?? data.tokenizer?.tokens, settings: known?.settings, pad: data.pad, seed: 0,
            on: device
        ).model
        try student.checkReach(
            longest: data.longest, largest: data.largestToken, as: "student", at: recipe.student.location)
        for (spec, teacher) in zip(recipe.teachers, teachers) {
            if let model = teacher.model, teacher.readsStudents {
                try model.checkReach(
                    longest: data.longest, largest: data.largestToken, as: "teacher", at: spec.location)
            }
            if teacher.tokens.renumbering != nil { try checkTokens(teacher, student, at: spec.location) }
        }
        for train in recipe.arms.map(\.train) + recipe.teachers.compactMap(\.train) {
            _ = try data.training(data.train.asked, batch: train.batch, seed: 0)
            _ = try data.plain?.batches(train.batch, pad: data.pad, seed: 0)
            guard !train.drawsWithReplacement || data.packing == .none else {
                throw RetortError.recipe(
                    "train.replacement draws examples, and data.packing packs them", help: "remove one of the two")
            }
        }
        if let arm = recipe.arms.first(where: { $0.rollouts != nil }), data.packing != .none {
            throw RetortError.recipe(
                "the arm \(arm.name) lets a model answer prompts, and data.packing packs them",
                at: arm.rollouts?.location,
                help: "remove one of the two")
        }
        for arm in recipe.arms {
            for teacher in teachers where arm.teachers.contains(teacher.name) {
                try check(arm, teacher, student, data, at: recipe.student.location)
            }
        }
        student.setDropout(.init(seed: 0, step: 0))
        for arm in recipe.arms where arm.terms.contains(where: { $0.objective.needsTeacher }) || arm.preference != nil {
            let own =
                (arm.scheme.bringsTeacher ? [Role.ownTeacher] : [])
                + (arm.terms.contains(where: \.looksAtStart) ? [Role.start] : [])
            let asked =
                teachers.filter { arm.teachers.contains($0.name) }
                + own.map { LanguageTeacher(student, $0, on: device) }
            let loss = try LanguageLoss(student, arm.terms, teachers: asked, name: arm.name, on: device)
            try loss.checkPlaces(at: recipe.student.location)
            try loss.checkCaches(at: recipe.teachers.first { $0.cache != nil }?.location)
            // A cache knows whole texts, those of the training data.
            let text =
                asked.contains { $0.cache != nil }
                ? try data.train(arm.answerNeed).example(0) : data.test.asked.example(0).repeated(to: 2).beginning(8)
            try loss.rehearse(LanguageBatches(TokenizedCorpus([text]), batch: 1, seed: nil).batch(of: [0]))
        }
    }

    /// - Throws: `RetortError` 78 for a teacher whose tokens an arm cannot compare with the student's; 65 where none of the text can be.
    private static func check(
        _ arm: LanguageRecipe.Arm, _ teacher: LanguageTeacher, _ student: any LanguageModel, _ data: LanguageExamples,
        at place: RetortError.Location?
    ) throws {
        let looking = arm.terms.filter { $0.teachers.contains(teacher.name) }
        let readers = looking.filter { $0.objective.reading != nil }
        let across = "across tokenizers there are the losses uld and gold"
        if !teacher.readsStudents, arm.rollouts?.teacher == teacher.name {
            throw RetortError.recipe(
                "the teacher writes in other tokens than the student's", at: arm.rollouts?.location,
                help: "let it write texts with `retort generate`, and train on them")
        }
        if looking.count > readers.count, teacher.isForeign {
            throw RetortError.recipe(
                "teacher and student have different tokenizers", at: place,
                why: "their predictions cannot be compared token by token: " + teacher.tokens.finding,
                help: across)
        }
        if !teacher.readsStudents, looking.contains(where: { $0.objective.needs != .any }) {
            throw RetortError.recipe(
                "the teacher counts its tokens otherwise, and the arm \(arm.name) rewards tokens by what it says of them",
                at: place,
                help: "compare predictions: forward-kl, reverse-kl, jsd and others, on the student's texts too")
        }
        if teacher.readsStudents, teacher.vocabulary != student.vocabulary {
            try checkSizes(arm, teacher, student, at: place)
        }
        guard !readers.isEmpty, let bridge = teacher.tokens.bridge else { return }
        try checkTokens(teacher, student, at: place)
        guard try ReadingCoverage(bridge, data.train.asked).compared > 0 else {
            throw RetortError.badData(
                "the teacher's tokenizer writes no text as it reads it", at: place,
                why: "no token of the training data could be compared",
                help: "take a teacher with a tokenizer that keeps the text")
        }
    }

    /// - Throws: `RetortError` 65 for a head that has no row for some token.
    private static func checkTokens(
        _ teacher: LanguageTeacher, _ student: any LanguageModel, at place: RetortError.Location?
    ) throws {
        guard let limits = teacher.tokens.bridge?.limits else { return }
        for (who, tokens, rows) in [
            ("student", limits.source, student.vocabulary), ("teacher", limits.target, teacher.vocabulary),
        ] where tokens > rows {
            throw RetortError.badData(
                "the \(who)'s tokenizer has \(tokens) tokens, its model a vocabulary of \(rows)", at: place)
        }
    }

    /// Heads of different length are compared over the tokens of the tokenizer that both have.
    private static func checkSizes(
        _ arm: LanguageRecipe.Arm, _ teacher: LanguageTeacher, _ student: any LanguageModel,
        at place: RetortError.Location?
    ) throws {
        let sizes = "the teacher has a vocabulary of \(teacher.vocabulary), the student one of \(student.vocabulary)"
        guard let tokens = teacher.tokens.count, tokens <= min(teacher.vocabulary, student.vocabulary) else {
            throw RetortError.recipe(
                sizes, at: place,
                why: "nothing says which of their tokens are the same, so they cannot be compared token by token",
                help: "data of kind text have a tokenizer that does")
        }
        guard teacher.model != nil || tokens == teacher.vocabulary else {
            throw RetortError.recipe(
                sizes, at: place,
                why: "the teacher's cache is of all rows of its head, and the tokenizer has \(tokens) tokens",
                help: "make it again: `retort cache` keeps the tokenizer's tokens alone")
        }
    }
}
