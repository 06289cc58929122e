import RetortRuntime

/// ShuffleNet (Zhang et al. 2018, arXiv:1707.01083) as the CIFAR distillation zoo has it: 3 groups, by `width` in percent of the
/// published network: 100 has a stem of 24 and stages of 240, 480, 960 channels, the others what the paper's authors gave them for 3 groups.
///
/// Names: `conv1`, `bn1`, `layer<s>.<b>.conv1/bn1/conv2/bn2/conv3/bn3`, `linear`; PyTorch's default start. Signals: `stem`; `layer1` …
/// `layer3` after ReLU and `layer<s>.preactivation` before; `pooled`; `cam`.
public final class ShuffleNetV1: Model {
    public static let architecture = Architecture(
        "shufflenetv1", className: "ShuffleNetV1", "ShuffleNet for small images (Zhang et al. 2018), 3 groups.",
        [
            ModelSetting(
                "width", .integer(50...200), .integer(100), "50, 100, 150 or 200 percent of the published width")
        ])

    private static let groups = 3
    /// Channels of the stem and the stages by width.
    private static let layouts: [Int: [Int]] = [
        50: [12, 120, 240, 480], 100: [24, 240, 480, 960], 150: [24, 360, 720, 1440], 200: [48, 480, 960, 1920],
    ]
    /// Blocks of each stage, the first of which halves the image.
    private static let blocks = [4, 8, 4]

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let stem: ConvolutionNorm
    private let stages: [[Block]]
    private let linear: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let width = settings.integer("width")
        guard let layout = Self.layouts[width] else {
            throw ModelError("width", "width is \(width), not 50, 100, 150 or 200")
        }
        self.settings = settings
        self.task = task
        stem = ConvolutionNorm("conv1", "bn1", inputs: try task.image().channels, outputs: layout[0], kernel: 1)
        var inputs = layout[0]
        stages = Self.blocks.enumerated().map { stage, count in
            (0..<count).map { index in
                let outputs = layout[stage + 1]
                defer { inputs = outputs }
                return Block(
                    "layer\(stage + 1).\(index).", inputs: inputs, outputs: outputs, stride: index == 0 ? 2 : 1,
                    inner: stage == 0 && index == 0 ? 1 : Self.groups)
            }
        }
        linear = Linear("linear", inputs: inputs, outputs: task.classes)
    }

    public var children: [any Module] { [stem] + stages.flatMap { $0 } + [linear] }

    public var signals: SignalCatalog {
        .pooled((1...3).map { "layer\($0)" })
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        var x = try stem(x)
        recorder.keep("stem", x)
        for (index, blocks) in stages.enumerated() {
            let path = "layer\(index + 1)"
            for (place, block) in blocks.enumerated() {
                let before = try block(x)
                if place == blocks.count - 1 { recorder.keep(path + ".preactivation", before) }
                x = try before.relu()
            }
            recorder.keep(path, x)
        }
        return try recorder.classify(x, linear)
    }

    /// Grouped 1 × 1, shuffle, 3 × 3 by channel, grouped 1 × 1; added to the input, or put beside its 3 × 3 mean at stride 2.
    private final class Block: Module {
        let children: [any Module]
        private let reduce: ConvolutionNorm
        private let filter: ConvolutionNorm
        private let expand: ConvolutionNorm
        private let groups: Int
        private let isDownsampling: Bool
        var isTraining = true

        /// - Parameter inner: groups of the first convolution.
        init(_ name: String, inputs: Int, outputs: Int, stride: Int, inner: Int) {
            isDownsampling = stride == 2
            // At stride 2 the input's own channels make up the rest.
            let own = isDownsampling ? outputs - inputs : outputs
            let middle = own / 4
            groups = inner
            reduce = ConvolutionNorm(
                name + "conv1", name + "bn1", inputs: inputs, outputs: middle, kernel: 1, groups: inner)
            filter = ConvolutionNorm(
                name + "conv2", name + "bn2", inputs: middle, outputs: middle, kernel: 3, stride: stride, groups: middle
            )
            expand = ConvolutionNorm(
                name + "conv3", name + "bn3", inputs: middle, outputs: own, kernel: 1, groups: ShuffleNetV1.groups)
            children = [reduce, filter, expand]
        }

        /// Before the last ReLU.
        func callAsFunction(_ x: Tensor) throws -> Tensor {
            let out = try filter(reduce(x).shuffledChannels(groups: groups))
            guard isDownsampling else { return try expand(out, residual: x, relu: false) }
            let mean = try x.averagePool2d(kernel: 3, stride: 2, padding: 1)
            return try Tensor.concatenated([expand(out, relu: false), mean], axis: 1)
        }
    }
}
