import RetortRuntime

/// VGG with batch normalisation (Simonyan & Zisserman 2015, arXiv:1409.1556) as the CIFAR distillation zoo has it: five blocks of
/// 3 × 3 convolutions, max pooling behind the first three (behind four for images of 64 pixels), global mean, one linear layer;
/// `width` percent of the published channels.
///
/// Names: `block<b>.<i>` (convolution with bias, norm, ReLU count as three places), `classifier`. Convolutions He-normal by outputs
/// with zero bias, the classifier normal with deviation 0.01.
/// Signals: `block0` … `block4` after ReLU and `block<b>.preactivation` before; `pooled`; `cam`.
public final class VGG: Model {
    public static let architecture = Architecture(
        "vgg", className: "VGG",
        "VGG with batch normalisation (Simonyan & Zisserman 2015); depth 8 is the zoo's small one.",
        [
            ModelSetting("depth", .integer(8...19), .integer(13), "8, 11, 13, 16 or 19"),
            ModelSetting("width", .integer(10...400), .integer(100), "percent of the published channels"),
        ])

    /// Convolutions of each block by depth.
    private static let layouts: [Int: [Int]] = [
        8: [1, 1, 1, 1, 1], 11: [1, 1, 2, 2, 2], 13: [2, 2, 2, 2, 2], 16: [2, 2, 3, 3, 3], 19: [2, 2, 4, 4, 4],
    ]
    private static let channels = [64, 128, 256, 512, 512]

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let blocks: [[ConvolutionNorm]]
    /// Blocks that pooling follows.
    private let poolings: Int
    private let classifier: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let image = try task.image()
        let depth = settings.integer("depth")
        guard let layout = Self.layouts[depth] else {
            throw ModelError("depth", "depth is \(depth), not 8, 11, 13, 16 or 19")
        }
        let poolings = image.height == 64 ? 4 : 3
        let least = 1 << poolings
        guard min(image.height, image.width) >= least else {
            throw ModelError("kind", "\(poolings) poolings need images of \(least) × \(least) at least")
        }
        self.settings = settings
        self.task = task
        self.poolings = poolings
        let widths = Self.channels.map { max(1, $0 * settings.integer("width") / 100) }
        var inputs = image.channels
        blocks = layout.enumerated().map { block, count in
            (0..<count).map { index in
                defer { inputs = widths[block] }
                let layer = ConvolutionNorm(
                    "block\(block).\(3 * index)", "block\(block).\(3 * index + 1)", inputs: inputs,
                    outputs: widths[block], kernel: 3, bias: true,
                    initializer: .kaiming(outputs: widths[block], kernel: 3))
                layer.convolution.bias?.initializer = .zeros
                return layer
            }
        }
        classifier = Linear("classifier", inputs: inputs, outputs: task.classes)
        classifier.weight.initializer = .normal(deviation: 0.01)
        classifier.bias?.initializer = .zeros
    }

    public var children: [any Module] { blocks.flatMap { $0 } + [classifier] }

    public var signals: SignalCatalog {
        .pooled((0..<5).map { "block\($0)" }, others: [])
    }

    public func batchNorm(before path: String) -> BatchNorm2d? {
        blocks.enumerated().first { path == "block\($0.offset).preactivation" }?.element.last?.norm
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        var x = x
        for (index, block) in blocks.enumerated() {
            let path = "block\(index)"
            for layer in block.dropLast() { x = try layer(x) }
            if recorder.wants(path + ".preactivation") {
                let before = try block[block.count - 1](x, relu: false)
                recorder.keep(path + ".preactivation", before)
                x = try before.relu()
            } else {
                x = try block[block.count - 1](x)
            }
            recorder.keep(path, x)
            if index < poolings { x = try x.maxPool2d(kernel: 2, stride: 2) }
        }
        return try recorder.classify(x, classifier)
    }
}
