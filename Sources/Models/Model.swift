import RetortRuntime
import RetortSupport

/// A module that knows what its `config.json` has to hold.
public protocol ConfiguredModule: Module {
    /// What `config.json` holds: enough to build it again.
    var configuration: JSON { get }
}

/// A model that maps a batch to logits and can show what happens inside it.
public protocol Model: ConfiguredModule, SendableMetatype {
    /// What recipes and config.json call it, and what can be set.
    static var architecture: Architecture { get }

    /// - Parameters:
    ///   - settings: every setting of the architecture.
    ///   - task: what the model is for; nil where config.json does not say, which only an architecture whose settings imply it accepts.
    /// - Throws: `ModelError` when the settings contradict each other or the task.
    init(_ settings: ModelSettings, for task: ClassificationTask?) throws

    /// What config.json says of a model of this architecture.
    /// - Throws: `RetortError` 65 with the place.
    static func read(_ config: JSONCursor) throws -> (settings: ModelSettings, task: ClassificationTask?)

    /// The number of classes that settings state by themselves; nil where the task decides.
    static func statedClasses(_ settings: ModelSettings) -> Int?

    var settings: ModelSettings { get }
    /// The shape of one example and the number of classes.
    var task: ClassificationTask { get }
    /// What `forward` can show.
    var signals: SignalCatalog { get }
    /// The batch norm whose weight and bias say how the signal at a path is distributed: the last one before a pre-activation. nil where
    /// there is none.
    func batchNorm(before path: String) -> BatchNorm2d?

    /// - Parameters:
    ///   - x: `[rows, …task.sample]`.
    ///   - paths: signals to keep, of those in `signals`.
    /// - Returns: logits `[rows, classes]` and the signals asked for.
    func forward(_ x: Tensor, capturing paths: Set<String>) throws -> ModelOutput
}

extension Model {
    public static func statedClasses(_ settings: ModelSettings) -> Int? { nil }

    public func batchNorm(before path: String) -> BatchNorm2d? { nil }

    public func callAsFunction(_ x: Tensor) throws -> Tensor { try forward(x, capturing: []).logits }

    public var classes: Int { task.classes }
    /// Numbers of one example.
    public var inputs: Int { task.sample.reduce(1, *) }

    /// Whether examples of this shape can be given to the model. One that takes rows of numbers takes images of as many.
    public func accepts(_ sample: [Int]) -> Bool {
        sample == task.sample || task.sample.count == 1 && sample.reduce(1, *) == inputs
    }

    public var configuration: JSON {
        let architecture = Self.architecture
        return .object(
            [
                ("architectures", .array([.string(architecture.className)])),
                ("model_type", .string(architecture.kind)),
            ] + settings.members(of: architecture)
                + [("input_shape", .array(task.sample.map(JSON.int))), ("num_classes", .int(task.classes))])
    }

    public static func read(_ config: JSONCursor) throws -> (settings: ModelSettings, task: ClassificationTask?) {
        (try ModelSettings(config, of: architecture), try ClassificationTask(config))
    }
}

extension ClassificationTask {
    /// `input_shape` and `num_classes`; nil where config.json has neither.
    init?(_ config: JSONCursor) throws {
        guard let shape = try config.optional("input_shape") else { return nil }
        let sample = try shape.elements().map { try $0.int(in: 1...(1 << 24)) }
        guard (1...4).contains(sample.count) else { throw shape.failure("an example has 1 to 4 dimensions") }
        _ = try CheckedSize.elements(of: sample, of: "input_shape")
        self.init(sample: sample, classes: try config.member("num_classes").int(in: 1...(1 << 24)))
    }
}

/// What a classifier is for.
public struct ClassificationTask: Sendable, Equatable {
    /// Shape of one example: `[features]` or `[channels, height, width]`.
    public let sample: [Int]
    public let classes: Int

    public init(sample: [Int], classes: Int) {
        self.sample = sample
        self.classes = classes
    }
}

/// What a forward pass gives.
public struct ModelOutput {
    /// `[rows, classes]`.
    public let logits: Tensor
    /// By path.
    public let signals: [String: Tensor]

    public init(logits: Tensor, signals: [String: Tensor] = [:]) {
        self.logits = logits
        self.signals = signals
    }

    /// Answers to parts of a batch as one, off the tape.
    /// - Parameter parts: at least one, with the same signals.
    public static func joined(_ parts: [ModelOutput]) throws -> ModelOutput {
        func join(_ tensors: [Tensor]) throws -> Tensor {
            try Autograd.withoutGradients { try Tensor.concatenated(tensors, axis: 0) }
        }
        var signals: [String: Tensor] = [:]
        for path in parts[0].signals.keys { signals[path] = try join(parts.map { $0.signals[path]! }) }
        return ModelOutput(logits: try join(parts.map(\.logits)), signals: signals)
    }

    /// The same numbers, each the beginning of a tape of its own, and the leaves that collect gradients; a nil path is the logits.
    public func leaves() throws -> (leaves: [(path: String?, gradient: Parameter)], output: ModelOutput) {
        let (logits, leaf) = try logits.leaf()
        var leaves: [(path: String?, gradient: Parameter)] = [(nil, leaf)]
        var tensors: [String: Tensor] = [:]
        for (path, signal) in signals.sorted(by: { $0.key < $1.key }) {
            let (tensor, leaf) = try signal.leaf()
            leaves.append((path, leaf))
            tensors[path] = tensor
        }
        return (leaves, ModelOutput(logits: logits, signals: tensors))
    }

    /// The same numbers, off the tape.
    public var detached: ModelOutput {
        ModelOutput(logits: logits.detached, signals: signals.mapValues(\.detached))
    }
}

/// A model that cannot be built: the setting at fault and why.
public struct ModelError: Error, CustomStringConvertible, Sendable {
    /// The key of the setting.
    public let setting: String
    /// Reads on after "the student's ".
    public let description: String

    public init(_ setting: String, _ description: String) {
        self.setting = setting
        self.description = description
    }
}
