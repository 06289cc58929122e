import RetortRuntime

/// MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) as the CIFAR distillation zoo has it: stride 2 in the stem, four resolutions,
/// `width` percent of the published channels (50 is the zoo's "MobileNetV2 half"), 1280 features.
///
/// Names: `conv1.0/1`, `blocks.<g>.<b>.conv.0` …, `conv2.0/1`, `classifier.0`. Signals: `stem`; `blocks1`, `blocks2`, `blocks4`,
/// `blocks6`, the outputs of those groups, which no ReLU follows (they are their own preactivations); `pooled`; `cam`.
public final class MobileNetV2: Model {
    public static let architecture = Architecture(
        "mobilenetv2", className: "MobileNetV2",
        "MobileNetV2 for small images (Sandler et al. 2018); the zoo's is expansion 6, width 50.",
        [
            ModelSetting("expansion", .integer(1...16), .integer(6), "factor of the inner width of a block"),
            ModelSetting("width", .integer(10...400), .integer(50), "percent of the published channels"),
        ])

    /// Channels, blocks and stride of each group; the first is not expanded.
    private static let groups = [(16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)]
    private static let shown = [1, 2, 4, 6]

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let stem: ConvolutionNorm
    private let blocks: [[Block]]
    private let last: ConvolutionNorm
    private let classifier: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let image = try task.image()
        let (expansion, width) = (settings.integer("expansion"), settings.integer("width"))
        func scaled(_ channels: Int) -> Int { max(1, channels * width / 100) }
        self.settings = settings
        self.task = task
        var inputs = scaled(32)
        stem = ConvolutionNorm(
            "conv1.0", "conv1.1", inputs: image.channels, outputs: inputs, kernel: 3, stride: 2,
            initializer: .kaiming(outputs: inputs, kernel: 3))
        blocks = Self.groups.enumerated().map { group, layout in
            (0..<layout.1).map { index in
                let outputs = scaled(layout.0)
                defer { inputs = outputs }
                return Block(
                    "blocks.\(group).\(index).conv.", inputs: inputs, outputs: outputs,
                    expansion: group == 0 ? 1 : expansion, stride: index == 0 ? layout.2 : 1)
            }
        }
        let features = width > 100 ? scaled(1280) : 1280
        last = ConvolutionNorm(
            "conv2.0", "conv2.1", inputs: inputs, outputs: features, kernel: 1,
            initializer: .kaiming(outputs: features, kernel: 1))
        classifier = Linear("classifier.0", inputs: features, outputs: task.classes)
        classifier.weight.initializer = .normal(deviation: 0.01)
        classifier.bias?.initializer = .zeros
    }

    public var children: [any Module] { [stem] + blocks.flatMap { $0 } + [last, classifier] }

    public var signals: SignalCatalog {
        let groups = Self.shown.map { "blocks\($0)" }
        return SignalCatalog(
            stages: groups, preactivations: groups, embedding: "pooled", others: ["stem", SignalCatalog.activationMaps])
    }

    public func batchNorm(before path: String) -> BatchNorm2d? {
        blocks.enumerated().first { path == "blocks\($0.offset)" }?.element.last?.project.norm
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        var x = try stem(x)
        recorder.keep("stem", x)
        for (index, group) in blocks.enumerated() {
            for block in group { x = try block(x) }
            recorder.keep("blocks\(index)", x)
        }
        x = try last(x)
        return try recorder.classify(x, classifier)
    }

    /// Expand, filter each channel, project; added to the input where shapes allow.
    private final class Block: Module {
        let children: [any Module]
        private let expand: ConvolutionNorm
        private let filter: ConvolutionNorm
        let project: ConvolutionNorm
        private let isResidual: Bool
        var isTraining = true

        init(_ name: String, inputs: Int, outputs: Int, expansion: Int, stride: Int) {
            let inner = inputs * expansion
            expand = ConvolutionNorm(
                name + "0", name + "1", inputs: inputs, outputs: inner, kernel: 1,
                initializer: .kaiming(outputs: inner, kernel: 1))
            filter = ConvolutionNorm(
                name + "3", name + "4", inputs: inner, outputs: inner, kernel: 3, stride: stride, groups: inner,
                initializer: .kaiming(outputs: inner, kernel: 3))
            project = ConvolutionNorm(
                name + "6", name + "7", inputs: inner, outputs: outputs, kernel: 1,
                initializer: .kaiming(outputs: outputs, kernel: 1))
            isResidual = stride == 1 && inputs == outputs
            children = [expand, filter, project]
        }

        func callAsFunction(_ x: Tensor) throws -> Tensor {
            try project(filter(expand(x)), residual: isResidual ? x : nil, relu: false)
        }
    }
}
