import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// An encoder of a recipe: a directory, or the sizes of a fresh one; and how it reads texts.
struct EncoderSpec: Sendable {
    private enum Source: Sendable {
        case directory(String)
        case config(String)
        case sizes(RecipeNode)
    }
    private let source: Source
    private let ownTokenizer: String?
    private let tokenizerPlace: RetortError.Location?
    private let pooling: TokenPooling?
    private let normalizes: Bool?
    private let length: Int?
    let location: RetortError.Location?

    /// A directory with weights; nil for a fresh model.
    var directory: String? { if case .directory(let path) = source { path } else { nil } }

    /// - Parameter node: the section of the teacher or the student.
    /// - Throws: `RetortError` 78 unless there is either `model` or `path`.
    init(_ node: RecipeNode, who: String, _ resolve: (String) -> String) throws {
        location = node.location
        switch (node["model"], node["path"]) {
        case (let model?, nil):
            source =
                model.required("kind").text == "config" ? .config(resolve(model.required("path").text)) : .sizes(model)
        case (nil, let path?): source = .directory(resolve(path.text))
        default: throw RetortError.notOne(of: ["model", "path"], "the \(who)", node)
        }
        ownTokenizer = node["tokenizer"].map { resolve($0.text) }
        tokenizerPlace = node["tokenizer"]?.location
        pooling = node["pooling"].flatMap { TokenPooling(rawValue: $0.text) }
        normalizes = node["normalize"]?.flag
        length = node["max-length"]?.integer
    }

    /// Where its tokens come from: its own tokenizer, the one in its directory, or another model's.
    /// - Throws: `RetortError` 78 when there is none.
    func tokenizer(else other: EncoderSpec?) throws -> String {
        guard let folder = knownTokenizer ?? other?.knownTokenizer else {
            throw RetortError.recipe(
                "nothing says how text becomes tokens", at: location, help: "add tokenizer, the directory of one")
        }
        return folder
    }

    private var knownTokenizer: String? {
        ownTokenizer ?? directory.flatMap { LanguageModelDirectory.hasTokenizer($0) ? $0 : nil }
    }

    /// What the recipe says, else its directory, else another model's.
    /// - Throws: `RetortError` 65 for the directory's files.
    func settings(else other: SentenceSettings?) throws -> SentenceSettings {
        // A directory that says nothing of it, as one that was cut out of a teacher, is like a fresh model.
        let own = directory.flatMap { SentenceSettings.areIn($0) ? $0 : nil }
        var settings = try own.map { try SentenceSettings(in: $0) } ?? other ?? SentenceSettings()
        settings.pooling = pooling ?? settings.pooling
        settings.normalizes = normalizes ?? settings.normalizes
        settings.length = length ?? settings.length
        return settings
    }

    /// Fresh weights, or those of the directory.
    /// - Parameters:
    ///   - head: what shall stand on it; begins anew where the directory has another.
    ///   - trains: false freezes it and spares the memory of gradients.
    ///   - dtype: what the matrices of a frozen one are stored as.
    /// - Throws: `RetortError` 65, 66 for files; 78 for sizes that contradict each other.
    func make(
        head: EncoderHead, tokenizer: Tokenizer, seed: UInt64, trains: Bool, dtype: DType, on device: Device
    ) throws -> (model: any EncoderModel, arena: ParameterArena) {
        if let directory {
            return try EncoderDirectory.load(
                directory, head: head, seed: seed, on: device, trains: trains, dtype: dtype)
        }
        let model = try plan(head: head, tokenizer: tokenizer)
        return (model, try model.materialize(on: device, seed: seed, trains: trains, dtype: dtype))
    }

    /// The model without weights: its sizes.
    /// - Throws: as `make`.
    func plan(head: EncoderHead, tokenizer: Tokenizer) throws -> any EncoderModel {
        switch source {
        case .directory(let path):
            return try EncoderModelRegistry.make(try JSONCursor.read(path + "/config.json"), head: head)
        case .config(let path): return try EncoderModelRegistry.make(try JSONCursor.read(path), head: head)
        case .sizes(let node):
            let pad = Int(tokenizer.special("pad")?.id ?? 0)
            let config = FreshEncoder.json(node, vocabulary: tokenizer.idLimit, pad: pad)
            return try FreshEncoder.names(node.required("kind").text).inWords(of: node) {
                try EncoderModelRegistry.make(JSONCursor(config, file: "config.json"), head: head)
            }
        }
    }

    /// The same with a head, and its tokenizer: how a run has it.
    /// - Throws: as `make`; `RetortError` 78 where the tokenizer has ids that the model does not know.
    func reader(
        head: EncoderHead, tokenizer: Tokenizer, settings: SentenceSettings, who: String, seed: UInt64,
        trains: Bool, dtype: DType, on device: Device
    ) throws -> (encoder: SentenceEncoder, arena: ParameterArena) {
        let (model, arena) = try make(
            head: head, tokenizer: tokenizer, seed: seed, trains: trains, dtype: dtype, on: device)
        guard tokenizer.idLimit <= model.vocabulary else {
            throw RetortError.recipe(
                "the tokenizer has ids up to \(tokenizer.idLimit - 1), the \(who) \(model.vocabulary) tokens",
                at: tokenizerPlace ?? location)
        }
        return (try SentenceEncoder(model, tokenizer, settings, file: "config.json"), arena)
    }

    static var kinds: [String] { FreshEncoder.sections.map(\.name) + ["config"] }

    /// What may stand under `model`.
    static let schema = RecipeType.variant(
        key: "kind",
        FreshEncoder.sections + [
            RecipeSection(
                "config", "A fresh encoder as a config.json describes it.",
                [RecipeField("path", .text, .required, "the file")])
        ])

    /// The keys that say which model it is and how it reads.
    static let fields = [
        RecipeField("path", .text, .optional, "a Hugging Face or sentence-transformers directory"),
        RecipeField("model", schema, .optional, "a fresh encoder"),
        RecipeField(
            "tokenizer", .text, .optional,
            "the directory of its tokenizer (default: its own directory, else the other model's)"),
        RecipeField(
            "max-length", .integer(2...(1 << 24)), .optional,
            "tokens read of a text at most (default: as its directory says)"),
    ]

    /// How a text's vector is made of its tokens'.
    static let vectorFields = [
        RecipeField(
            "pooling", .choice(TokenPooling.allCases.map(\.rawValue)), .optional,
            "how tokens' vectors become a text's (default: as the directory says, else the teacher's, else mean)"),
        RecipeField(
            "normalize", .flag, .optional,
            "make vectors as long as 1 (default: as the directory says, else the teacher's, else true)"),
    ]
}
