import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// A language model of a recipe: a directory, or the sizes of a fresh one.
struct LanguageModelSpec: Sendable {
    private enum Source: Sendable {
        case directory(String)
        case config(String)
        case sizes(RecipeNode)
        case cut(StudentSource)
    }
    private let source: Source
    let location: RetortError.Location?
    /// Adapters, which are then all that is trained; nil: everything is.
    let adaptation: LowRankAdaptation?
    private let adaptationPlace: RetortError.Location?
    /// Whether it is an encoder that guesses masked tokens.
    private let isMasked: Bool

    /// A directory with weights; nil for a fresh model.
    var directory: String? { if case .directory(let path) = source { path } else { nil } }
    /// Where its weights come from, and perhaps a tokenizer: its directory, or that of the model it is cut out of.
    var origin: String? { if case .cut(let source) = source { source.folder } else { directory } }

    /// - Parameters:
    ///   - node: the section of the teacher or the student.
    ///   - isMasked: whether it is an encoder that guesses masked tokens.
    ///   - teacher: the directory of the recipe's teacher, where it has one with a directory.
    /// - Throws: `RetortError` 78 unless there is one of `model`, `path` and `from`; and for adapters of a fresh model.
    init(
        _ node: RecipeNode, who: String, isMasked: Bool = false, teacher: String? = nil, _ resolve: (String) -> String
    ) throws {
        location = node.location
        self.isMasked = isMasked
        adaptation = node["lora"].map(LowRankAdaptation.init)
        adaptationPlace = node["lora"]?.location
        if let lora = node["lora"], node["path"] == nil {
            throw RetortError.recipe(
                "lora adapts a trained model, and the \(who) is a fresh one", at: lora.location,
                help: "give the \(who) a path, or remove lora")
        }
        switch (node["model"], node["path"], node["from"]) {
        case (let model?, nil, nil):
            source =
                model.required("kind").text == "config" ? .config(resolve(model.required("path").text)) : .sizes(model)
        case (nil, let path?, nil): source = .directory(resolve(path.text))
        case (nil, nil, let from?): source = .cut(try StudentSource(from, teacher: teacher, resolve))
        default:
            let isCut = who == "student" && !isMasked
            throw RetortError.notOne(of: ["model", "path"] + (isCut ? ["from"] : []), "the \(who)", node)
        }
    }

    /// Fresh weights, or those of the directory. The arena holds what is trained.
    /// - Parameters:
    ///   - vocabulary: tokens of a model whose recipe names no number.
    ///   - settings: what config.json takes from another model: its special tokens.
    ///   - pad: of an encoder, what fills rows up.
    ///   - trains: false spares the memory of gradients.
    ///   - dtype: what matrices that are not trained are stored as, those beside adapters or all of a frozen model.
    /// - Throws: `RetortError` 65, 66 for files; 78 for sizes that contradict each other.
    func make(
        vocabulary: Int?, settings: JSON?, pad: Int32 = 0, seed: UInt64, trains: Bool = true,
        dtype: DType = .f32, on device: Device
    ) throws -> (model: any LanguageModel, arena: ParameterArena) {
        if isMasked { return try encoder(vocabulary: vocabulary, pad: pad, seed: seed, trains: trains, on: device) }
        switch source {
        case .directory(let path):
            let isTrained = trains && adaptation == nil
            let loaded = try LanguageModelDirectory.load(
                path, on: device, trains: isTrained, dtype: isTrained ? .f32 : dtype)
            return (loaded.model, try adapt(loaded.model, seed: seed, on: device) ?? loaded.arena)
        case .cut(let source): return try source.make(trains: trains, on: device)
        case .config(let path):
            let model = try LanguageModelRegistry.make(try JSONCursor.read(path))
            return (model, try model.materialize(on: device, seed: seed, trains: trains))
        case .sizes(let node):
            let config = try FreshConfiguration.json(node, vocabulary: vocabulary, settings: settings)
            let model = try FreshConfiguration.names(node.required("kind").text).inWords(of: node) {
                try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
            }
            return (model, try model.materialize(on: device, seed: seed, trains: trains))
        }
    }

    private func encoder(vocabulary: Int?, pad: Int32, seed: UInt64, trains: Bool, on device: Device) throws -> (
        model: any LanguageModel, arena: ParameterArena
    ) {
        let model: MaskedLanguageModel
        switch source {
        case .directory(let path):
            let loaded = try MaskedLanguageModel.load(path, seed: seed, on: device, trains: trains)
            return (loaded.model, loaded.arena)
        case .cut: throw RetortError.internalBug("an encoder is not cut out of a teacher")
        case .config(let path): model = try MaskedLanguageModel(try JSONCursor.read(path))
        case .sizes(let node):
            guard let vocabulary = node["vocabulary"]?.integer ?? vocabulary else {
                throw RetortError.internalBug("an encoder of no vocabulary")
            }
            let config = FreshEncoder.json(node, vocabulary: vocabulary, pad: Int(pad))
            model = try FreshEncoder.names(node.required("kind").text).inWords(of: node) {
                try MaskedLanguageModel(JSONCursor(config, file: "config.json"))
            }
        }
        return (model, try model.materialize(on: device, seed: seed, trains: trains))
    }

    /// A model from a directory, this one's or one that a run has written, that is not trained.
    /// - Parameters:
    ///   - teaches: whether what it says has to be worth something.
    ///   - dtype: what its matrices are stored as.
    /// - Throws: `RetortError` 65, 66 for files; 78 for a teacher that has no masked-language head where it needs one.
    func load(_ folder: String, on device: Device, teaches: Bool, dtype: DType = .f32) throws -> any LanguageModel {
        guard isMasked else {
            return try LanguageModelDirectory.load(folder, on: device, trains: false, dtype: dtype).model
        }
        // A head that begins anew would teach noise.
        if teaches, Folder.exists(folder), try EncoderDirectory.head(of: folder) != .maskedLanguage {
            throw RetortError.recipe(
                "the teacher has no masked-language head", at: location,
                help: "take a directory whose architectures are BertForMaskedLM or DistilBertForMaskedLM")
        }
        return try MaskedLanguageModel.load(folder, on: device, trains: false, dtype: dtype).model
    }

    private func adapt(_ model: any LanguageModel, seed: UInt64, on device: Device) throws -> ParameterArena? {
        do {
            return try adaptation?.attach(to: model, seed: seed, on: device)
        } catch let error as RetortError where error.exit == .usage {
            throw RetortError.recipe(error.what, at: adaptationPlace, why: error.why, help: error.help)
        }
    }

    /// Where a model is trained on or taught from.
    static let path = RecipeField(
        "path", .text, .optional, "a Hugging Face directory with config.json and safetensors")

    static var kinds: [String] { FreshConfiguration.sections.map(\.name) + ["config"] }

    /// What may stand under `model`.
    static let schema = RecipeType.variant(
        key: "kind",
        FreshConfiguration.sections + [
            RecipeSection(
                "config", "A fresh model as a config.json describes it.",
                [RecipeField("path", .text, .required, "the file")])
        ])
}
