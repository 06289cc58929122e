import ArgumentParser
import RetortDistillation
import RetortModels
import RetortRuntime
import RetortSupport

struct Eval: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure a saved model on data.",
        discussion: """
            PICTURES AND TABLES. The data is what a recipe's data can be: a CSV file, a folder of IDX files (MNIST's format), of CIFAR
            binaries, or of images in class folders. How images are normalised and features scaled is read from the model's directory
            (preprocessor_config.json), where a run wrote what it trained with; so is the part of each example that a model sees.
            LANGUAGE MODELS. The data is text as a recipe reads it (JSON lines, a JSON array, plain text; .gz and .zst too), or a
            .safetensors file with rows of token ids: perplexity and token accuracy; with --teacher agreement and divergences, also by
            the teacher's entropy. With --generate the model answers the file's prompts: ROUGE-L, exact match, token F1.
            ENCODERS. Texts with classes (fields text, label) or pairs with scores (sentence1, sentence2, score) in JSON, CSV or TSV:
            accuracy, macro-F1 and confusion of a classifier; Spearman's and Pearson's correlation of an encoder of sentences. With --masked
            texts alone (field text, or --format lines): accuracy, cross entropy and pseudo-perplexity at masked tokens, always the same ones.
            With --retrieval queries with passages (query, passages, labels): recall, NDCG and MRR at 10 of an encoder of vectors.
            RECOMMENDERS. The data is the recipe that the model was trained with, e.g. RUN/recipe.resolved.yaml: what was learned and what
            is to be predicted is a matter of its data section. Recall and NDCG at 10 and 20.
            """)

    @Argument(help: "A model directory, e.g. RUN/student/seed-0/final.", completion: .directory)
    var model: String
    @Argument(help: "Recommenders: values that replace the recipe's: data.path=ratings.csv.")
    var overrides: [String] = []
    @Option(help: "The file or the folder; of a recommender its recipe.", completion: .file())
    var data: String
    @Option(help: "Also compare with this teacher's directory.", completion: .directory)
    var teacher: String?
    @OptionGroup var options: EvalDataOptions
    @OptionGroup var text: EvalTextOptions
    @OptionGroup var answers: EvalAnswerOptions
    @OptionGroup var weights: WeightOptions
    @OptionGroup var masks: EvalMaskOptions
    @OptionGroup var retrieval: EvalRetrievalOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        let report = try report(ModelFamily(of: model), on: try common.open())
        if !common.quiet { for line in report.notes { TextOutput.standardError.writeLine(line) } }
        TextOutput.standardOutput.write(common.json ? report.json.text() + "\n" : report.table)
    }

    private func report(_ family: ModelFamily, on device: Device) throws -> EvaluationReport {
        if family != .language {
            try refuse(answers.generate ? ["--generate"] : [], for: "language models")
        }
        if family != .language, family != .encoder { try refuse(weights.given, for: "models of text") }
        if family != .encoder {
            try refuse(masks.masked ? ["--masked"] : [], for: "encoders")
            try refuse(retrieval.retrieval ? ["--retrieval"] : [], for: "encoders")
        }
        if family != .recommender { try refuse(Array(overrides.prefix(1)), for: "recommenders") }
        switch family {
        case .classifier:
            try refuse(text.given, for: "texts")
            return EvaluationReport(try evaluate(model: model, teacher: teacher, on: options.of(data), device: device))
        case .language: return try languageReport(on: device)
        case .encoder: return try encoderReport(on: device)
        case .recommender:
            if let flag = (options.given + text.given).first {
                throw RetortError.usage(
                    "\(flag) is not for recommenders: their recipe says all of it", help: "leave it out")
            }
            return try evaluate(
                recommender: model, teacher: teacher, recipe: data, overrides: overrides, device: device)
        }
    }

    private func languageReport(on device: Device) throws -> EvaluationReport {
        try refuse(options.given.filter { $0 != "--test-every" }, for: "classifiers")
        let data = text.of(data, every: options.testEvery)
        guard answers.generate else {
            return try evaluate(
                languageModel: model, teacher: teacher, on: data, dtype: weights.dtype.dtype, device: device)
        }
        try text.checkForWriting()
        return try evaluateAnswers(
            languageModel: model, teacher: teacher, on: data, try answers.of(), dtype: weights.dtype.dtype,
            device: device, progress: Progress(quiet: common.quiet))
    }

    private func encoderReport(on device: Device) throws -> EvaluationReport {
        guard masks.masked || retrieval.retrieval else {
            try refuse(
                options.given.filter { !["--label", "--test-every"].contains($0) },
                for: "pictures, tables and language models")
            try refuse(text.givenForLanguage, for: "language models")
            return try evaluate(
                encoder: model, teacher: teacher,
                on: text.encoder(data, label: options.label, every: options.testEvery),
                dtype: weights.dtype.dtype, device: device)
        }
        guard masks.masked != retrieval.retrieval else {
            throw RetortError.usage("--masked and --retrieval measure different things", help: "give one of them")
        }
        try refuse(options.given.filter { $0 != "--test-every" }, for: "pictures, tables and classes of texts")
        if masks.masked {
            try refuse(text.givenForNextToken, for: "language models that predict the next token")
            return try evaluate(
                masked: model, teacher: teacher, on: masks.of(data, text, every: options.testEvery),
                dtype: weights.dtype.dtype, device: device)
        }
        try refuse(text.givenForLanguage, for: "language models")
        return try evaluate(
            retriever: model, teacher: teacher, on: retrieval.of(data, text, every: options.testEvery),
            dtype: weights.dtype.dtype, device: device)
    }

    /// Refuses flags that this kind of model has no use for: they would be passed over in silence.
    private func refuse(_ flags: [String], for whom: String) throws {
        guard let flag = flags.first else { return }
        throw RetortError.usage("\(flag) is for \(whom), and \(model.quoted(limit: 200)) is none", help: "leave it out")
    }
}
