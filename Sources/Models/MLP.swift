import RetortRuntime
import RetortSupport

/// A multilayer perceptron: linear layers with ReLU between them.
///
/// Weights `layers.<i>.weight` `[out, in]` and `layers.<i>.bias` `[out]`, started as PyTorch's `nn.Linear`.
/// Signals: `layers.<i>.hidden`, the output of layer i after its ReLU, `[rows, out]`.
public final class MLP: Model {
    public static let architecture = Architecture(
        "mlp", className: "MLP", "Linear layers with ReLU between them.",
        [
            ModelSetting(
                "layers", .integers(1...(1 << 24), count: 2...1024), nil,
                "widths from the number of features to the number of classes")
        ])

    public let settings: ModelSettings
    public let task: ClassificationTask
    public let layers: [Linear]
    public var isTraining = true

    /// - Parameter widths: from inputs to classes; at least two, each at least 1.
    public convenience init(_ widths: [Int]) {
        precondition(widths.count >= 2 && widths.allSatisfy { $0 > 0 }, "an MLP needs at least two positive widths")
        self.init(
            widths: widths, task: ClassificationTask(sample: [widths[0]], classes: widths[widths.count - 1]))
    }

    public convenience init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let widths = settings.integers("layers")
        // The largest model this engine addresses in one arena; also keeps the products below from overflowing.
        let parameters = zip(widths, widths.dropFirst()).reduce(0.0) { $0 + Double($1.0 + 1) * Double($1.1) }
        guard parameters < 1e11 else {
            throw ModelError(
                "layers", "\(NumberFormat.grouped(Int(parameters))) parameters are beyond what can be trained")
        }
        let (first, last) = (widths[0], widths[widths.count - 1])
        let own = ClassificationTask(sample: [first], classes: last)
        if let task {
            let features = task.sample.reduce(1, *)
            guard first == features else {
                throw ModelError("layers", "first width is \(first), but the data has \(features) features")
            }
            guard last == task.classes else {
                throw ModelError(
                    "layers",
                    "last width is \(last), but the data has \(NumberFormat.counted(task.classes, "class", "classes"))")
            }
        }
        self.init(widths: widths, task: task ?? own)
    }

    public static func statedClasses(_ settings: ModelSettings) -> Int? { settings.integers("layers").last }

    private init(widths: [Int], task: ClassificationTask) {
        settings = ModelSettings(["layers": .integers(widths)], of: Self.architecture)
        self.task = task
        layers = (0..<(widths.count - 1)).map { i in
            Linear(
                "layers.\(i)", inputs: widths[i], outputs: widths[i + 1],
                activation: i == widths.count - 2 ? .none : .relu)
        }
    }

    public var children: [any Module] { layers }

    public var signals: SignalCatalog {
        let hidden = (0..<(layers.count - 1)).map { "layers.\($0).hidden" }
        return SignalCatalog(stages: hidden, embedding: hidden.last)
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var x = x.rank == 2 ? x : try x.reshaped([x.shape[0], inputs])
        var recorder = SignalRecorder(paths)
        for (i, layer) in layers.enumerated() {
            x = try layer(x)
            if i < layers.count - 1 { recorder.keep("layers.\(i).hidden", x) }
        }
        return ModelOutput(logits: x, signals: recorder.signals)
    }

    public var configuration: JSON {
        .object([
            ("architectures", .array([.string("MLP")])), ("model_type", .string("mlp")),
            ("layers", .array(settings.integers("layers").map { .int($0) })), ("hidden_act", .string("relu")),
        ])
    }

    public static func read(_ config: JSONCursor) throws -> (settings: ModelSettings, task: ClassificationTask?) {
        if let cursor = try config.optional("hidden_act"), cursor.value != .string("relu") {
            throw cursor.failure("only \"relu\" is supported")
        }
        return (try ModelSettings(config, of: architecture), try ClassificationTask(config))
    }
}
