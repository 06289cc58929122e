import RetortRuntime

/// The deep residual networks of ImageNet (He et al. 2016, arXiv:1512.03385, table 1) as the CIFAR distillation zoo has them: a 3 × 3 stem
/// without pooling, four stages of bottlenecks at full, half, quarter and eighth size, global mean, linear layer. A bottleneck narrows to `width`,
/// 2, 4 or 8 times that, filters at that width, where its stride is, and widens fourfold.
///
/// Names: `conv1`, `bn1`, `layer<s>.<b>.conv1/bn1/conv2/bn2/conv3/bn3`, `shortcut.0` (1 × 1 convolution) and `.1` (norm) where size or width
/// changes, `linear`; convolutions He-normal by outputs. Signals: `stem`; `layer1` … `layer4` and `layer<s>.preactivation`; `pooled`; `cam`.
public final class BottleneckResNet: Model {
    public static let architecture = Architecture(
        "resnet-bottleneck", className: "BottleneckResNet",
        "ImageNet's residual network for small images (He et al. 2016): ResNet-50 is depth 50.",
        [
            ModelSetting("depth", .integer(14...152), .integer(50), "14, 26, 50, 101 or 152"),
            ModelSetting("width", .integer(1...1024), .integer(64), "inner channels of the first stage"),
        ])

    /// Bottlenecks of each stage by depth; 14 and 26 are not the paper's.
    private static let layouts: [Int: [Int]] = [
        14: [1, 1, 1, 1], 26: [2, 2, 2, 2], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3],
    ]

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let stem: ConvolutionNorm
    private let stages: ResidualStages
    private let linear: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let image = try task.image()
        let (depth, width) = (settings.integer("depth"), settings.integer("width"))
        guard let layout = Self.layouts[depth] else {
            throw ModelError("depth", "depth is \(depth), not 14, 26, 50, 101 or 152")
        }
        self.settings = settings
        self.task = task
        stem = ConvolutionNorm(
            "conv1", "bn1", inputs: image.channels, outputs: width, kernel: 3,
            initializer: .kaiming(outputs: width, kernel: 3))
        var inputs = width
        stages = ResidualStages(
            layout.enumerated().map { stage, count in
                (0..<count).map { block in
                    let inner = width << stage
                    defer { inputs = 4 * inner }
                    return Bottleneck(
                        "layer\(stage + 1).\(block).", inputs: inputs, inner: inner,
                        stride: stage > 0 && block == 0 ? 2 : 1)
                }
            })
        linear = Linear("linear", inputs: inputs, outputs: task.classes)
    }

    public var children: [any Module] { [stem] + stages.blocks + [linear] }

    public var signals: SignalCatalog { .pooled(stages.paths) }

    public func batchNorm(before path: String) -> BatchNorm2d? { stages.batchNorm(before: path) }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        let x = try stem(x)
        recorder.keep("stem", x)
        return try recorder.classify(stages(x, &recorder), linear)
    }

    /// 1 × 1 to `inner` channels, 3 × 3 with the stride, 1 × 1 to four times as many, and the shortcut.
    private final class Bottleneck: ResidualBlock {
        private let narrow: ConvolutionNorm
        private let filter: ConvolutionNorm
        private let widen: ConvolutionNorm
        private let shortcut: ConvolutionNorm?
        var isTraining = true

        init(_ name: String, inputs: Int, inner: Int, stride: Int) {
            func layer(_ number: Int, _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1) -> ConvolutionNorm {
                ConvolutionNorm(
                    "\(name)conv\(number)", "\(name)bn\(number)", inputs: inputs, outputs: outputs, kernel: kernel,
                    stride: stride, initializer: .kaiming(outputs: outputs, kernel: kernel))
            }
            let outputs = 4 * inner
            narrow = layer(1, inputs, inner, kernel: 1)
            filter = layer(2, inner, inner, kernel: 3, stride: stride)
            widen = layer(3, inner, outputs, kernel: 1)
            shortcut =
                stride == 1 && inputs == outputs
                ? nil
                : ConvolutionNorm(
                    name + "shortcut.0", name + "shortcut.1", inputs: inputs, outputs: outputs, kernel: 1,
                    stride: stride, initializer: .kaiming(outputs: outputs, kernel: 1))
        }

        var children: [any Module] { [narrow, filter, widen] + (shortcut.map { [$0] } ?? []) }
        var lastNorm: BatchNorm2d { widen.norm }

        func callAsFunction(_ x: Tensor, relu: Bool) throws -> Tensor {
            try widen(filter(narrow(x)), residual: shortcut.map { try $0(x, relu: false) } ?? x, relu: relu)
        }
    }
}
