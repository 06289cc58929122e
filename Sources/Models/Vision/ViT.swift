import RetortKernels
import RetortRuntime
import RetortSupport

/// Vision transformer (Dosovitskiy et al. 2021, arXiv:2010.11929), classifying by the class token; the directory is Hugging Face's
/// `ViTForImageClassification`.
///
/// Signals: `embeddings` and `layers.<i>.hidden` `[rows, tokens, hidden]`, the stages are the layers; `layers.<i>.attention`
/// `[rows, heads, tokens, tokens]`, probabilities; `class` `[rows, hidden]`, what the classifier sees.
public final class ViT: Model {
    public static let architecture = Architecture(
        "vit", className: "ViTForImageClassification", "Vision transformer (Dosovitskiy et al. 2021).",
        [
            ModelSetting("hidden", .integer(1...65536), .integer(192), "width of a token"),
            ModelSetting("layers", .integer(1...1000), .integer(6), "transformer blocks"),
            ModelSetting("heads", .integer(1...1024), .integer(3), "attention heads; divides hidden"),
            ModelSetting("intermediate", .integer(1...(1 << 20)), .integer(768), "width inside the feed-forward part"),
            ModelSetting("patch", .integer(1...1024), .integer(4), "side of a patch in pixels"),
        ])
    /// Hugging Face's keys of the settings.
    private static let keys = [
        ("hidden", "hidden_size"), ("layers", "num_hidden_layers"), ("heads", "num_attention_heads"),
        ("intermediate", "intermediate_size"), ("patch", "patch_size"),
    ]
    private static let epsilon: Float = 1e-12

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let patches: Convolution2d
    private let classToken: Parameter
    private let positions: Parameter
    private let blocks: [Block]
    private let norm: LayerNormalization
    private let classifier: Linear
    private let patchCount: Int
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let image = try task.image()
        let (hidden, heads, patch) = (settings.integer("hidden"), settings.integer("heads"), settings.integer("patch"))
        guard hidden % heads == 0 else { throw ModelError("heads", "\(heads) heads do not divide hidden \(hidden)") }
        guard image.height == image.width, image.height % patch == 0 else {
            throw ModelError(
                "patch", "patches of \(patch) do not tile square images; these are \(image.height) × \(image.width)")
        }
        self.settings = settings
        self.task = task
        patchCount = (image.height / patch) * (image.width / patch)
        // Hugging Face starts everything normal with deviation 0.02 and biases at 0.
        patches = Convolution2d(
            "vit.embeddings.patch_embeddings.projection", inputs: image.channels, outputs: hidden, kernel: patch,
            stride: patch, initializer: Self.initial)
        patches.bias?.initializer = .zeros
        classToken = Parameter("vit.embeddings.cls_token", [1, 1, hidden], Self.initial)
        positions = Parameter("vit.embeddings.position_embeddings", [1, patchCount + 1, hidden], Self.initial)
        blocks = (0..<settings.integer("layers")).map { layer in
            Block(
                "vit.encoder.layer.\(layer).", hidden: hidden, heads: heads,
                intermediate: settings.integer("intermediate"))
        }
        norm = LayerNormalization("vit.layernorm", columns: hidden, epsilon: Self.epsilon)
        classifier = Self.linear("classifier", hidden, task.classes)
    }

    private static let initial = Initializer.normal(deviation: 0.02)

    private static func linear(
        _ name: String, _ inputs: Int, _ outputs: Int, activation: MatmulActivation = .none
    ) -> Linear {
        let linear = Linear(name, inputs: inputs, outputs: outputs, activation: activation)
        linear.weight.initializer = initial
        linear.bias?.initializer = .zeros
        return linear
    }

    public var children: [any Module] { [patches] + blocks + [norm, classifier] }
    public var parameters: [Parameter] {
        [classToken, positions] + children.flatMap { $0.parameters }
    }

    public var signals: SignalCatalog {
        SignalCatalog(
            stages: blocks.indices.map { "layers.\($0).hidden" }, embedding: "class",
            others: ["embeddings"] + blocks.indices.map { "layers.\($0).attention" })
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        let rows = x.shape[0]
        let hidden = settings.integer("hidden")
        let tokens = try patches(x).reshaped([rows, hidden, patchCount]).permuted([0, 2, 1])
        let first = try Tensor.full(0, [rows, 1, hidden], on: x.device) + classToken.tensor
        var h = try Tensor.concatenated([first, tokens], axis: 1) + positions.tensor
        recorder.keep("embeddings", h)
        for (index, block) in blocks.enumerated() {
            let (out, attention) = try block(h)
            recorder.keep("layers.\(index).attention", attention)
            recorder.keep("layers.\(index).hidden", out)
            h = out
        }
        let token = try norm(h).narrowed(axis: 1, 0..<1).reshaped([rows, hidden])
        recorder.keep("class", token)
        return ModelOutput(logits: try classifier(token), signals: recorder.signals)
    }

    /// Norm, self-attention, sum; norm, feed-forward with GELU, sum.
    private final class Block: Module {
        let children: [any Module]
        private let before: LayerNormalization
        private let query: Linear
        private let key: Linear
        private let value: Linear
        private let output: Linear
        private let after: LayerNormalization
        private let up: Linear
        private let down: Linear
        private let heads: Int
        var isTraining = true

        init(_ name: String, hidden: Int, heads: Int, intermediate: Int) {
            self.heads = heads
            before = LayerNormalization(name + "layernorm_before", columns: hidden, epsilon: ViT.epsilon)
            query = ViT.linear(name + "attention.attention.query", hidden, hidden)
            key = ViT.linear(name + "attention.attention.key", hidden, hidden)
            value = ViT.linear(name + "attention.attention.value", hidden, hidden)
            output = ViT.linear(name + "attention.output.dense", hidden, hidden)
            after = LayerNormalization(name + "layernorm_after", columns: hidden, epsilon: ViT.epsilon)
            up = ViT.linear(name + "intermediate.dense", hidden, intermediate, activation: .geluExact)
            down = ViT.linear(name + "output.dense", intermediate, hidden)
            children = [before, query, key, value, output, after, up, down]
        }

        func callAsFunction(_ x: Tensor) throws -> (out: Tensor, attention: Tensor) {
            let (rows, tokens, hidden) = (x.shape[0], x.shape[1], x.shape[2])
            let width = hidden / heads
            let normed = try before(x)
            func split(_ projection: Linear) throws -> Tensor {
                try projection(normed).reshaped([rows, tokens, heads, width]).permuted([0, 2, 1, 3])
                    .reshaped([rows, heads, tokens, width])
            }
            let (q, k, v) = (try split(query), try split(key), try split(value))
            let (heard, attention) = try q.attention(
                keys: k, values: v, scale: 1 / Float(width).squareRoot())
            let mixed = try heard.permuted([0, 2, 1, 3]).reshaped([rows, tokens, hidden])
            let middle = try x + output(mixed)
            return (try middle + down(up(after(middle))), attention)
        }
    }

    // MARK: Hugging Face's config.json

    public var configuration: JSON {
        let names = (0..<task.classes).map { (key: String($0), value: "LABEL_\($0)") }
        return .object(
            [
                ("architectures", .array([.string(Self.architecture.className)])), ("model_type", .string("vit")),
            ] + Self.keys.map { ($1, .int(settings.integer($0))) } + [
                ("image_size", .int(task.sample[1])), ("num_channels", .int(task.sample[0])),
                ("hidden_act", .string("gelu")), ("qkv_bias", .bool(true)),
                ("layer_norm_eps", .double(Double(Self.epsilon))), ("initializer_range", .double(0.02)),
                ("hidden_dropout_prob", .double(0)), ("attention_probs_dropout_prob", .double(0)),
                ("id2label", .object(names.map { ($0.key, JSON.string($0.value)) })),
                ("label2id", .object(names.map { ($0.value, JSON.int(Int($0.key)!)) })),
            ])
    }

    public static func read(_ config: JSONCursor) throws -> (settings: ModelSettings, task: ClassificationTask?) {
        var values: [String: SettingValue] = [:]
        // Within the settings' own ranges: a config is a stranger's file, and models are built before weights are looked at.
        for setting in architecture.settings {
            guard case .integer(let range) = setting.kind, let (_, theirs) = keys.first(where: { $0.0 == setting.key })
            else { continue }
            values[setting.key] = .integer(try config.member(theirs).int(in: range))
        }
        for (key, wanted) in [("hidden_act", JSON.string("gelu")), ("qkv_bias", .bool(true))] {
            if let cursor = try config.optional(key), cursor.value != wanted {
                throw cursor.failure("only \(wanted.text()) is supported")
            }
        }
        if let cursor = try config.optional("layer_norm_eps"), Float(try cursor.double()) != epsilon {
            throw cursor.failure("only \(epsilon) is supported")
        }
        let size = try config.member("image_size").int(in: 1...65536)
        let channels = try config.optional("num_channels")?.int(in: 1...4096) ?? 3
        let names = try config.optional("id2label")
        let classes = try names?.members().count ?? 2
        if let names, classes == 0 { throw names.failure("it names no class") }
        return (
            ModelSettings(values, of: architecture),
            ClassificationTask(sample: [channels, size, size], classes: classes)
        )
    }
}
