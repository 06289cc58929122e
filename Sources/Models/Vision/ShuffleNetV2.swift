import RetortRuntime

/// ShuffleNet V2 (Ma et al. 2018, arXiv:1807.11164) as the CIFAR distillation zoo has it, by `width` in percent of the published
/// network: 100 has stages of 116, 232, 464 channels and 1024 features. 20 and 30 are the zoo's own, of one width; 20 has fewer blocks.
///
/// Names: `conv1`, `bn1`, `layer<s>.<b>.conv1` … `bn5`, `conv2`, `bn2`, `linear`; PyTorch's default start. Signals: `stem`; `layer1`
/// … `layer3`; `layer<s>.preactivation`, the last block's halves joined before its ReLU and shuffle; `pooled`; `cam`.
public final class ShuffleNetV2: Model {
    public static let architecture = Architecture(
        "shufflenetv2", className: "ShuffleNetV2", "ShuffleNet V2 for small images (Ma et al. 2018).",
        [
            ModelSetting(
                "width", .integer(20...200), .integer(100),
                "50, 100, 150 or 200 percent of the published width; 20 or 30: the zoo's small ones")
        ])

    /// Channels of the stages and features by width.
    private static let layouts: [Int: [Int]] = [
        20: [40, 80, 160, 512], 30: [40, 80, 160, 512],
        50: [48, 96, 192, 1024], 100: [116, 232, 464, 1024], 150: [176, 352, 704, 1024], 200: [224, 488, 976, 2048],
    ]
    public let settings: ModelSettings
    public let task: ClassificationTask
    private let stem: ConvolutionNorm
    private let stages: [(down: Down, blocks: [Block])]
    private let last: ConvolutionNorm
    private let linear: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let width = settings.integer("width")
        guard let layout = Self.layouts[width] else {
            throw ModelError("width", "width is \(width), not 20, 30, 50, 100, 150 or 200")
        }
        self.settings = settings
        self.task = task
        stem = ConvolutionNorm("conv1", "bn1", inputs: try task.image().channels, outputs: 24, kernel: 1)
        // Blocks of each stage behind the one that halves the image.
        let blocks = width == 20 ? [3, 3, 3] : [3, 7, 3]
        var inputs = 24
        stages = blocks.enumerated().map { stage, count in
            defer { inputs = layout[stage] }
            let name = "layer\(stage + 1)."
            return (
                Down(name + "0.", inputs: inputs, outputs: layout[stage]),
                (1...count).map { Block(name + "\($0).", channels: layout[stage]) }
            )
        }
        last = ConvolutionNorm("conv2", "bn2", inputs: layout[2], outputs: layout[3], kernel: 1)
        linear = Linear("linear", inputs: layout[3], outputs: task.classes)
    }

    public var children: [any Module] {
        [stem] + stages.flatMap { [$0.down] as [any Module] + $0.blocks } + [last, linear]
    }

    public var signals: SignalCatalog {
        .pooled((1...3).map { "layer\($0)" })
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        var x = try stem(x)
        recorder.keep("stem", x)
        for (index, stage) in stages.enumerated() {
            let path = "layer\(index + 1)"
            x = try stage.down(x)
            for block in stage.blocks.dropLast() { x = try block(x).out }
            let wanted = recorder.wants(path + ".preactivation")
            let end = try stage.blocks[stage.blocks.count - 1](x, keepingPreactivation: wanted)
            if let before = end.preactivation { recorder.keep(path + ".preactivation", before) }
            x = end.out
            recorder.keep(path, x)
        }
        x = try last(x)
        return try recorder.classify(x, linear)
    }

    /// Half of the channels pass through, half are filtered; then both are shuffled.
    private final class Block: Module {
        let children: [any Module]
        private let first: ConvolutionNorm
        private let filter: ConvolutionNorm
        private let second: ConvolutionNorm
        private let half: Int
        var isTraining = true

        init(_ name: String, channels: Int) {
            half = channels / 2
            first = ConvolutionNorm(name + "conv1", name + "bn1", inputs: half, outputs: half, kernel: 1)
            filter = ConvolutionNorm(name + "conv2", name + "bn2", inputs: half, outputs: half, kernel: 3, groups: half)
            second = ConvolutionNorm(name + "conv3", name + "bn3", inputs: half, outputs: half, kernel: 1)
            children = [first, filter, second]
        }

        func callAsFunction(_ x: Tensor, keepingPreactivation: Bool = false) throws -> (
            out: Tensor, preactivation: Tensor?
        ) {
            let kept = try x.narrowed(axis: 1, 0..<half)
            let filtered = try filter(first(x.narrowed(axis: 1, half..<x.shape[1])), relu: false)
            guard keepingPreactivation else {
                return (try Tensor.concatenated([kept, second(filtered)], axis: 1).shuffledChannels(groups: 2), nil)
            }
            let before = try second(filtered, relu: false)
            let out = try Tensor.concatenated([kept, before.relu()], axis: 1).shuffledChannels(groups: 2)
            return (out, try Tensor.concatenated([kept, before], axis: 1))
        }
    }

    /// Halves the image: two branches side by side.
    private final class Down: Module {
        let children: [any Module]
        private let leftFilter: ConvolutionNorm
        private let left: ConvolutionNorm
        private let rightFirst: ConvolutionNorm
        private let rightFilter: ConvolutionNorm
        private let right: ConvolutionNorm
        var isTraining = true

        init(_ name: String, inputs: Int, outputs: Int) {
            let half = outputs / 2
            leftFilter = ConvolutionNorm(
                name + "conv1", name + "bn1", inputs: inputs, outputs: inputs, kernel: 3, stride: 2, groups: inputs)
            left = ConvolutionNorm(name + "conv2", name + "bn2", inputs: inputs, outputs: half, kernel: 1)
            rightFirst = ConvolutionNorm(name + "conv3", name + "bn3", inputs: inputs, outputs: half, kernel: 1)
            rightFilter = ConvolutionNorm(
                name + "conv4", name + "bn4", inputs: half, outputs: half, kernel: 3, stride: 2, groups: half)
            right = ConvolutionNorm(name + "conv5", name + "bn5", inputs: half, outputs: half, kernel: 1)
            children = [leftFilter, left, rightFirst, rightFilter, right]
        }

        func callAsFunction(_ x: Tensor) throws -> Tensor {
            let a = try left(leftFilter(x, relu: false))
            let b = try right(rightFilter(rightFirst(x), relu: false))
            return try Tensor.concatenated([a, b], axis: 1).shuffledChannels(groups: 2)
        }
    }
}
