import RetortRuntime

/// A plain convolutional network: for each entry of `channels` a 3 × 3 convolution with padding, ReLU and 2 × 2 max pooling; then
/// a hidden layer with ReLU, if any, and a linear layer. Started as PyTorch's defaults.
///
/// Names: `conv<i>` from 1, `hidden`, `fc`. Signals: `conv<i>`, after its ReLU and before pooling, `[rows, channels, h, w]`;
/// `embedding`, what `fc` sees.
public final class CNN: Model {
    public static let architecture = Architecture(
        "cnn", className: "CNN", "3 × 3 convolutions with ReLU and 2 × 2 max pooling, then linear layers.",
        [
            ModelSetting(
                "channels", .integers(1...65536, count: 1...16), nil, "output channels of each convolution"),
            ModelSetting("hidden", .integer(0...(1 << 20)), .integer(0), "width of the hidden linear layer; 0: none"),
        ])

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let convolutions: [Convolution2d]
    private let hidden: Linear?
    private let fc: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let image = try task.image()
        let widths = settings.integers("channels")
        let scale = 1 << widths.count
        guard image.height >= scale, image.width >= scale else {
            throw ModelError(
                "channels",
                "\(widths.count) poolings need images of \(scale) × \(scale) at least; these are "
                    + "\(image.height) × \(image.width)")
        }
        self.settings = settings
        self.task = task
        convolutions = zip([image.channels] + widths, widths).enumerated().map { index, widths in
            Convolution2d(
                "conv\(index + 1)", inputs: widths.0, outputs: widths.1, kernel: 3, padding: 1, activation: .relu)
        }
        let features = widths[widths.count - 1] * (image.height / scale) * (image.width / scale)
        let width = settings.integer("hidden")
        hidden = width > 0 ? Linear("hidden", inputs: features, outputs: width, activation: .relu) : nil
        fc = Linear("fc", inputs: width > 0 ? width : features, outputs: task.classes)
    }

    public var children: [any Module] { convolutions + (hidden.map { [$0] } ?? []) + [fc] }

    public var signals: SignalCatalog {
        SignalCatalog(stages: (1...convolutions.count).map { "conv\($0)" }, embedding: "embedding")
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        var x = x
        for (index, convolution) in convolutions.enumerated() {
            x = try convolution(x)
            recorder.keep("conv\(index + 1)", x)
            x = try x.maxPool2d(kernel: 2, stride: 2)
        }
        x = try x.reshaped([x.shape[0], x.shape.dropFirst().reduce(1, *)])
        if let hidden { x = try hidden(x) }
        recorder.keep("embedding", x)
        return ModelOutput(logits: try fc(x), signals: recorder.signals)
    }
}
