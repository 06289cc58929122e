import RetortModels
import RetortRuntime

/// Lets models answer prompts.
struct RolloutWriter {
    /// Tokens of an answer at most.
    let count: Int
    /// Its seed is the training's.
    let sampling: TokenSampling
    /// Tokens that end an answer.
    let ends: Set<Int32>
    /// Prompts that are answered side by side.
    let rows: Int
    /// Tokens of a text at most, so that every model that reads it can.
    let longest: Int
    /// Tokens that are written: those that all who write or read have a row for, and the tokenizer a text.
    let vocabulary: Int?
    /// Over which of their classes models are asked how likely what was written is; nil: over all, which are the same for all.
    let measured: Int?

    /// - Parameters:
    ///   - models: those that will read the texts.
    ///   - speakers: those of them whose tokens the texts are written in.
    ///   - tokens: of the tokenizer; nil where there is none.
    init(
        count: Int, sampling: TokenSampling, ends: Set<Int32>, models: [any LanguageModel],
        speakers: [any LanguageModel], tokens: Int?, rows: Int
    ) {
        let sizes = Set(speakers.map(\.vocabulary))
        vocabulary = sizes.union([tokens].compactMap { $0 }).min()
        measured = sizes.count > 1 ? vocabulary : nil
        self.count = count
        self.sampling = sampling
        self.ends = ends
        self.rows = rows
        longest = models.map(\.maxPositions).min() ?? 0
    }

    /// Answers, none of them empty. Prompts that leave no room for one are cut at their beginning.
    /// - Parameters:
    ///   - numbers: of each prompt, what its draws go by.
    ///   - mixture: another model that has a say in every token.
    ///   - isTeachers: whether the model stands for the teacher.
    func answers(
        to prompts: [[Int32]], by model: any LanguageModel, numbers: [Int], mixture: WritingMixture? = nil,
        isTeachers: Bool = false
    ) throws -> [RolloutText] {
        let prompts = prompts.map { Array($0.suffix(max(1, longest - 1))) }
        let options = WritingOptions(count: count, sampling: sampling, ends: ends, vocabulary: vocabulary)
        var texts: [RolloutText] = []
        for start in stride(from: 0, to: prompts.count, by: rows) {
            let part = start..<min(prompts.count, start + rows)
            let written = try model.generate(
                Array(prompts[part]), options, texts: Array(numbers[part]), mixture: mixture)
            for (prompt, answer) in zip(prompts[part], written) {
                texts.append(
                    RolloutText(
                        prompt: prompt, answer: Array(answer.prefix(longest - prompt.count)), isTeachers: isTeachers))
            }
        }
        return texts
    }
}
