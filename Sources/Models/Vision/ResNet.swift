import RetortRuntime

/// The residual networks of CIFAR (He et al. 2016, arXiv:1512.03385, section 4.2): a 3 × 3 stem, three stages of n blocks at full,
/// half and quarter size, global mean, linear layer. Depth 6n + 2.
///
/// Names and initialisation are those of the CIFAR distillation zoo: `conv1`, `bn1`, `layer<s>.<b>.conv1` …, `downsample.0` (1 × 1
/// convolution) and `.1` (norm) where size or width changes, `fc`; convolutions He-normal by outputs. `factor` 4 is the zoo's "×4".
///
/// Signals: `stem`, `layer1` … `layer3` after their last ReLU and `layer<s>.preactivation` before it, `[rows, channels, h, w]`;
/// `pooled` `[rows, channels]`; `cam`, class activation maps `[rows, classes, h, w]`.
public final class ResNet: Model {
    public static let architecture = Architecture(
        "resnet", className: "ResNet",
        "CIFAR residual network (He et al. 2016): resnet20 is depth 20, resnet8x4 depth 8, factor 4.",
        [
            ModelSetting("depth", .integer(8...1202), .integer(20), "6n + 2: 8, 14, 20, 32, 44, 56, 110"),
            ModelSetting("factor", .integer(1...16), .integer(1), "multiplies the widths 16, 32, 64 of the stages"),
            ModelSetting(
                "widths", .integers(0...4096, count: 0...4), .integers([]),
                "widths of stem and three stages, instead of factor"),
        ])

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let stem: ConvolutionNorm
    private let stages: ResidualStages
    private let fc: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let image = try task.image()
        let depth = settings.integer("depth")
        guard depth % 6 == 2 else {
            throw ModelError("depth", "depth is \(depth), not 6n + 2 (8, 14, 20, 32, 44, 56, 110)")
        }
        let widths = try Self.widths(settings)
        self.settings = settings
        self.task = task
        stem = ConvolutionNorm(
            "conv1", "bn1", inputs: image.channels, outputs: widths[0], kernel: 3,
            initializer: .kaiming(outputs: widths[0], kernel: 3))
        stages = ResidualStages(
            (1...3).map { stage in
                (0..<(depth / 6)).map { block in
                    Block(
                        "layer\(stage).\(block).", inputs: block == 0 ? widths[stage - 1] : widths[stage],
                        outputs: widths[stage], stride: stage > 1 && block == 0 ? 2 : 1)
                }
            })
        fc = Linear("fc", inputs: widths[3], outputs: task.classes)
    }

    private static func widths(_ settings: ModelSettings) throws -> [Int] {
        let widths = settings.integers("widths")
        if widths.isEmpty {
            let factor = settings.integer("factor")
            // The zoo doubles the stem of its ×4 networks only.
            return [factor == 1 ? 16 : 8 * factor, 16 * factor, 32 * factor, 64 * factor]
        }
        guard widths.count == 4, widths.allSatisfy({ $0 > 0 }) else {
            throw ModelError("widths", "widths \(widths) are not four positive numbers: stem and three stages")
        }
        return widths
    }

    public var children: [any Module] { [stem] + stages.blocks + [fc] }

    public var signals: SignalCatalog { .pooled(stages.paths) }

    public func batchNorm(before path: String) -> BatchNorm2d? { stages.batchNorm(before: path) }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        let x = try stem(x)
        recorder.keep("stem", x)
        return try recorder.classify(stages(x, &recorder), fc)
    }

    /// Two 3 × 3 convolutions and the shortcut.
    private final class Block: ResidualBlock {
        private let first: ConvolutionNorm
        private let second: ConvolutionNorm
        private let downsample: ConvolutionNorm?
        var isTraining = true

        init(_ name: String, inputs: Int, outputs: Int, stride: Int) {
            let three = Initializer.kaiming(outputs: outputs, kernel: 3)
            first = ConvolutionNorm(
                name + "conv1", name + "bn1", inputs: inputs, outputs: outputs, kernel: 3, stride: stride,
                initializer: three)
            second = ConvolutionNorm(
                name + "conv2", name + "bn2", inputs: outputs, outputs: outputs, kernel: 3, initializer: three)
            downsample =
                stride == 1 && inputs == outputs
                ? nil
                : ConvolutionNorm(
                    name + "downsample.0", name + "downsample.1", inputs: inputs, outputs: outputs, kernel: 1,
                    stride: stride, initializer: .kaiming(outputs: outputs, kernel: 1))
        }

        var children: [any Module] { [first, second] + (downsample.map { [$0] } ?? []) }
        var lastNorm: BatchNorm2d { second.norm }

        func callAsFunction(_ x: Tensor, relu: Bool) throws -> Tensor {
            try second(first(x), residual: downsample.map { try $0(x, relu: false) } ?? x, relu: relu)
        }
    }
}
