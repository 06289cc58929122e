import RetortModels
import RetortSupport

extension LanguageRecipe {
    /// Where a tokenizer may be, when the recipe names none: with the student, else with the teacher. Not each has to be there: of a cached
    /// teacher nothing has.
    var tokenizers: [String] { ([student.origin] + teachers.map { $0.spec?.directory }).compactMap { $0 } }
}

extension LanguageExamples {
    /// What a cache calls the tokenizer.
    func tokenizerDigest() throws -> String {
        try tokenizer.map { try LanguageModelDirectory.tokenizerDigest($0.folder) } ?? "none"
    }

    /// Refuses rows that are cut at places that depend on their order: what a teacher predicts depends on where its text begins.
    /// - Throws: `RetortError` 78.
    func checkWholeTexts() throws {
        guard masking == nil else {
            throw RetortError.recipe(
                "tokens are masked anew in each epoch, and a cache is of texts as they are",
                help: "let the teacher read beside its student: give it a `path`")
        }
        guard packing == .split else { return }
        throw RetortError.recipe(
            "data.packing: split cuts texts anew in each epoch, and a cache is of whole texts",
            help: "Say `packing: examples` or `packing: none`.")
    }
}

extension LanguageTeacherSpec {
    /// The cache that teaches, if one does; every text of the training data is in it.
    /// - Throws: `RetortError` 66 where there is none; 65 for a damaged one, one of another tokenizer, or of another teacher than that of `path`
    ///   where it is there, and for a text that is not in it; 78 for data that are not whole texts.
    /// - Parameter readingTeacher: whether to ask if the weights of `path` are those that were read; it takes a while.
    func openCache(for data: LanguageExamples, readingTeacher: Bool = true) throws -> TeacherCache? {
        guard let folder = cache else { return nil }
        try data.checkWholeTexts()
        let cache = try TeacherCache(folder)
        let place = RetortError.Location(file: TeacherCache.description(in: folder))
        guard cache.identity.tokenizer == (try data.tokenizerDigest()) else {
            throw RetortError.badData(
                "the teacher's cache is of another tokenizer", at: place, why: "the same text has other tokens there",
                help: "Make the cache again with `retort cache --output` and another directory.")
        }
        if readingTeacher, let path = spec?.directory, Folder.exists(path),
            cache.identity.teacher != (try LanguageModelDirectory.digest(path, dtype: dtype))
        {
            throw RetortError.badData(
                "the cache is of another teacher than \(path.quoted(limit: 200))", at: place,
                why: "config.json, weights or their dtype have changed since it was made",
                help: "Make the cache again with `retort cache --output` and another directory.")
        }
        if let answered = data.train.answered { try cache.check(answered, "training data") }
        return cache
    }
}

extension TeacherCache {
    /// What a run with these data depends on.
    /// - Parameter digest: of what else it depends on.
    func identity(with digest: String) -> String {
        ContentHash.hexadecimal(of: Array(digest.utf8) + identity.digest)
    }

    /// What students are measured by.
    var measuringWords: String {
        "agreement: with the class that the cached teacher found likeliest; divergences from it (kl_to_teacher): over "
            + "\(identity.kept.words) and all others as one outcome, at most what they are over all "
            + "\(NumberFormat.grouped(vocabulary)) classes"
    }

    /// - Parameter count: texts that are held out.
    func lackWords(_ count: Int) -> String {
        "not all of the \(NumberFormat.grouped(count)) texts to measure on are in \(folder.displayable): agreement and divergence are not "
            + "measured; `retort cache` with this recipe adds them"
    }

    var words: [String] {
        [
            "teacher: \(NumberFormat.grouped(count)) texts in \(folder.displayable), \(NumberFormat.bytes(bytes)); of each token "
                + identity.kept.words
                + (identity.signals.signals.isEmpty ? "" : ", and \(identity.signals.words)"),
            "soft losses compare those and all other classes as one: never above the loss over all classes; no teacher is in memory",
        ]
    }
}
