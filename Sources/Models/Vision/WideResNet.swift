import RetortRuntime

/// Wide residual networks (Zagoruyko & Komodakis 2016, arXiv:1605.07146): norm and ReLU before each convolution. Depth 6n + 4,
/// widths 16·k, 32·k, 64·k.
///
/// Names of the CIFAR distillation zoo: `conv1`, `block<s>.layer.<b>.bn1/conv1/bn2/conv2/convShortcut`, `bn1`, `fc`.
/// Signals: `stem`; `block1` … `block3`, sums that no ReLU has seen; `block<s>.preactivation`, the same after the norm that
/// follows; `pooled`; `cam`.
public final class WideResNet: Model {
    public static let architecture = Architecture(
        "wrn", className: "WideResNet",
        "Wide residual network (Zagoruyko & Komodakis 2016): wrn-40-2 is depth 40, factor 2.",
        [
            ModelSetting("depth", .integer(10...1000), .integer(16), "6n + 4: 16, 22, 28, 40"),
            ModelSetting("factor", .integer(1...32), .integer(2), "multiplies the widths 16, 32, 64 of the stages"),
        ])

    public let settings: ModelSettings
    public let task: ClassificationTask
    private let stem: Convolution2d
    private let stages: [[Block]]
    private let norm: BatchNorm2d
    private let fc: Linear
    public var isTraining = true

    public init(_ settings: ModelSettings, for task: ClassificationTask?) throws {
        let task = try ClassificationTask.required(task)
        let image = try task.image()
        let (depth, factor) = (settings.integer("depth"), settings.integer("factor"))
        guard depth % 6 == 4 else { throw ModelError("depth", "depth is \(depth), not 6n + 4 (16, 22, 28, 40)") }
        self.settings = settings
        self.task = task
        let widths = [16, 16 * factor, 32 * factor, 64 * factor]
        stem = Convolution2d(
            "conv1", inputs: image.channels, outputs: 16, kernel: 3, padding: 1, bias: false,
            initializer: .kaiming(outputs: 16, kernel: 3))
        stages = (1...3).map { stage in
            (0..<((depth - 4) / 6)).map { block in
                Block(
                    "block\(stage).layer.\(block).", inputs: block == 0 ? widths[stage - 1] : widths[stage],
                    outputs: widths[stage], stride: stage > 1 && block == 0 ? 2 : 1)
            }
        }
        norm = BatchNorm2d("bn1", channels: widths[3])
        fc = Linear("fc", inputs: widths[3], outputs: task.classes)
        fc.bias?.initializer = .zeros
    }

    public var children: [any Module] { [stem] + stages.flatMap { $0 } + [norm, fc] }

    public var signals: SignalCatalog {
        .pooled((1...3).map { "block\($0)" })
    }

    public func batchNorm(before path: String) -> BatchNorm2d? {
        (0..<3).first { path == "block\($0 + 1).preactivation" }.map { $0 < 2 ? stages[$0 + 1][0].first : norm }
    }

    public func forward(_ x: Tensor, capturing paths: Set<String> = []) throws -> ModelOutput {
        var recorder = SignalRecorder(paths)
        var x = try stem(x)
        recorder.keep("stem", x)
        // What the norm in front of the next convolution gives, where a loss wants to see it: computed once, or its running
        // statistics would move twice.
        var normed: Tensor?
        for (index, blocks) in stages.enumerated() {
            for block in blocks {
                x = try block(x, normed: normed)
                normed = nil
            }
            let path = "block\(index + 1)"
            recorder.keep(path, x)
            if recorder.wants(path + ".preactivation") {
                let before = try (index < 2 ? stages[index + 1][0].first : norm)(x, relu: false)
                recorder.keep(path + ".preactivation", before)
                normed = before
            }
        }
        x = try normed?.relu() ?? norm(x, relu: true)
        return try recorder.classify(x, fc)
    }

    private final class Block: Module {
        let first: BatchNorm2d
        private let convolution1: Convolution2d
        private let second: BatchNorm2d
        private let convolution2: Convolution2d
        private let shortcut: Convolution2d?
        var isTraining = true

        init(_ name: String, inputs: Int, outputs: Int, stride: Int) {
            let three = Initializer.kaiming(outputs: outputs, kernel: 3)
            first = BatchNorm2d(name + "bn1", channels: inputs)
            convolution1 = Convolution2d(
                name + "conv1", inputs: inputs, outputs: outputs, kernel: 3, stride: stride, padding: 1, bias: false,
                initializer: three)
            second = BatchNorm2d(name + "bn2", channels: outputs)
            convolution2 = Convolution2d(
                name + "conv2", inputs: outputs, outputs: outputs, kernel: 3, padding: 1, bias: false,
                initializer: three)
            shortcut =
                inputs == outputs
                ? nil
                : Convolution2d(
                    name + "convShortcut", inputs: inputs, outputs: outputs, kernel: 1, stride: stride, bias: false,
                    initializer: .kaiming(outputs: outputs, kernel: 1))
        }

        var children: [any Module] {
            [first, convolution1, second, convolution2] + (shortcut.map { [$0] } ?? [])
        }

        /// - Parameter normed: `first` of x where that is known already.
        func callAsFunction(_ x: Tensor, normed: Tensor? = nil) throws -> Tensor {
            let active = try normed?.relu() ?? first(x, relu: true)
            let out = try convolution2(second(convolution1(active), relu: true))
            // Where the width changes, the shortcut too starts from the activated input.
            return try out + (shortcut.map { try $0(active) } ?? x)
        }
    }
}
