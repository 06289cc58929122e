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
    }
    private let source: Source
    let location: RetortError.Location?
    /// Adapters, which are then all that is trained; nil: everything is.
    let adaptation: LowRankAdaptation?
    private let adaptationPlace: RetortError.Location?

    /// A directory with weights; nil for a fresh model.
    var directory: String? { if case .directory(let path) = source { path } else { nil } }

    /// - Parameter node: the section of the teacher or the student.
    /// - Throws: `RetortError` 78 unless there is either `model` or `path`; and for adapters of a fresh model.
    init(_ node: RecipeNode, who: String, _ resolve: (String) -> String) throws {
        location = node.location
        adaptation = node["lora"].map(LowRankAdaptation.init)
        adaptationPlace = node["lora"]?.location
        if let lora = node["lora"], node["path"] == nil {
            throw RetortError.recipe(
                "lora adapts a trained model, and the \(who) is a fresh one", at: lora.location,
                help: "give the \(who) a path, or remove lora")
        }
        switch (node["model"], node["path"]) {
        case (let model?, nil):
            source =
                model.required("kind").text == "config" ? .config(resolve(model.required("path").text)) : .sizes(model)
        case (nil, let path?): source = .directory(resolve(path.text))
        default: throw RetortError.recipe("the \(who) needs either model or path", at: node.location)
        }
    }

    /// Fresh weights, or those of the directory. The arena holds what is trained.
    /// - Parameters:
    ///   - vocabulary: tokens of a model whose recipe names no number.
    ///   - settings: what config.json takes from another model: its special tokens.
    ///   - trains: false spares the memory of gradients.
    ///   - dtype: what matrices that are not trained are stored as, those beside adapters or all of a frozen model.
    /// - Throws: `RetortError` 65, 66 for files; 78 for sizes that contradict each other.
    func make(
        vocabulary: Int?, settings: JSON?, seed: UInt64, trains: Bool = true, dtype: DType = .f32, on device: Device
    ) throws -> (model: any LanguageModel, arena: ParameterArena) {
        switch source {
        case .directory(let path):
            let isTrained = trains && adaptation == nil
            let loaded = try LanguageModelDirectory.load(
                path, on: device, trains: isTrained, dtype: isTrained ? .f32 : dtype)
            return (loaded.model, try adapt(loaded.model, seed: seed, on: device) ?? loaded.arena)
        case .config(let path):
            let model = try LanguageModelRegistry.make(try JSONCursor.read(path))
            return (model, try model.materialize(on: device, seed: seed, trains: trains))
        case .sizes(let node):
            let config = try FreshConfiguration.json(node, vocabulary: vocabulary, settings: settings)
            do {
                let model = try LanguageModelRegistry.make(JSONCursor(config, file: "config.json"))
                return (model, try model.materialize(on: device, seed: seed, trains: trains))
            } catch let error as RetortError where error.exit == .badData {
                throw RetortError.recipe(error.what, at: node.location ?? location, why: error.why, help: error.help)
            }
        }
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
