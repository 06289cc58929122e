import RetortModels
import RetortRuntime
import RetortSupport

extension LanguageRun {
    /// The texts of an arm that learns from what models write: the examples it goes through, and what gives its steps others.
    /// - Parameter asked: of the data, what it goes through.
    func texts(
        _ rollouts: RolloutSpec, to asked: TokenizedCorpus, _ role: String, _ training: LanguageTrainSpec,
        _ terms: [LanguageArmTerm],
        seed: UInt64, student: any LanguageModel, teachers: [LanguageTeacher]
    ) throws -> (data: LanguageBatches, source: RolloutSource?) {
        // Who writes, or rewards what is written.
        let name = rollouts.teacher ?? terms.first { $0.objective.needs.wantsSignals }?.teachers.first
        let teacher = teachers.first { $0.name == name }
        let models = [student] + teachers.filter { !$0.isForeign }.compactMap(\.model)
        let speakers = [student] + teachers.filter(\.readsStudents).compactMap(\.model)
        let ends = try speakers.reduce(into: Set([tokenizer?.special("eos")?.id].compactMap { $0 })) {
            $0.formUnion(try EndTokens.named(in: $1.config))
        }
        func writer(seed: UInt64) -> RolloutWriter {
            var sampling = rollouts.sampling
            sampling.seed = seed
            return RolloutWriter(
                count: rollouts.count, sampling: sampling, ends: ends, models: models, speakers: speakers,
                tokens: tokenizer?.idLimit,
                rows: training.microBatch ?? training.batch)
        }
        func batches(_ corpus: TokenizedCorpus) throws -> LanguageBatches {
            try data.training(corpus, batch: training.batch, seed: seed)
        }
        switch rollouts.kind {
        case .teacher(let spec):
            guard let model = teacher?.model else {
                throw RetortError.internalBug("texts of a teacher that is not there")
            }
            return (try batches(teacherTexts(rollouts, spec, to: asked, role, writer, seed: seed, teacher: model)), nil)
        case .replay(let spec):
            let (learned, heldOut) = try asked.parted(every: spec.heldOut)
            let all = try batches(learned)
            return (
                all,
                RolloutSource(
                    rollouts, writer(seed: seed), student: student, teacher: teacher, data: all,
                    heldOut: try LanguageBatches(measuring: heldOut, pad: data.pad), batch: training.batch,
                    chunk: training.chunk, wantsSignals: false, on: device)
            )
        case .student, .mixed, .pairs:
            let all = try batches(asked)
            return (
                all,
                RolloutSource(
                    rollouts, writer(seed: seed), student: student, teacher: teacher, data: all, heldOut: nil,
                    batch: training.batch, chunk: training.chunk,
                    wantsSignals: terms.contains { $0.objective.needs.wantsSignals }, on: device)
            )
        }
    }

    /// What the teacher wrote, or writes now. A teacher that is the same for all seeds writes once.
    private func teacherTexts(
        _ rollouts: RolloutSpec, _ spec: TeacherTextSpec, to asked: TokenizedCorpus, _ role: String,
        _ writer: (UInt64) -> RolloutWriter, seed: UInt64, teacher: any LanguageModel
    ) throws -> TokenizedCorpus {
        let isLoaded = recipe.teachers.first { $0.name == rollouts.teacher }?.live?.directory != nil
        let (folder, writerSeed) =
            !isLoaded ? (directory.folder(role, seed), seed) : ("\(directory.path)/\(role)", 0)
        try Folder.createWithParents(folder)
        let texts = TeacherTexts(writer(writerSeed), rollouts, spec, teacher: teacher, tokenizer: tokenizer)
        let total = asked.count * spec.samples
        let result = try texts.write(asked, to: folder + "/texts.jsonl") {
            progress.status("\(role) seed \(seed)  the teacher writes  \($0)/\(total)")
        }
        let grouped = NumberFormat.grouped
        try say(
            "\(role) seed \(seed): the teacher wrote \(grouped(result.written)) texts, \(grouped(result.ended)) of them to "
                + "their end; \(grouped(result.kept)) are kept: \(result.corpus.summary.words)")
        return result.corpus
    }
}
