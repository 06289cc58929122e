import RetortRuntime
import RetortSupport

/// A model that maps a batch to logits and can show what happens inside it.
public protocol Model: Module, SendableMetatype {
    /// What recipes and config.json call it, and what can be set.
    static var architecture: Architecture { get }

    /// - Parameters:
    ///   - settings: every setting of the architecture.
    ///   - task: what the model is for; nil where config.json does not say, which only an architecture whose settings imply it accepts.
    /// - Throws: `ModelError` when the settings contradict each other or the task.
    init(_ settings: ModelSettings, for task: ClassificationTask?) throws

    var settings: ModelSettings { get }
    /// The shape of one example and the number of classes.
    var task: ClassificationTask { get }
    /// What `forward` can show.
    var signals: SignalCatalog { get }

    /// - Parameters:
    ///   - x: `[rows, …task.sample]`.
    ///   - paths: signals to keep, of those in `signals`.
    /// - Returns: logits `[rows, classes]` and the signals asked for.
    func forward(_ x: Tensor, capturing paths: Set<String>) throws -> ModelOutput
}

extension Model {
    public func callAsFunction(_ x: Tensor) throws -> Tensor { try forward(x, capturing: []).logits }

    public var classes: Int { task.classes }
    /// Numbers of one example.
    public var inputs: Int { task.sample.reduce(1, *) }

    /// What `config.json` holds: enough to build the model again.
    public var configuration: JSON {
        let architecture = Self.architecture
        return .object(
            [
                ("architectures", .array([.string(architecture.className)])),
                ("model_type", .string(architecture.kind)),
            ] + settings.members(of: architecture)
                + [("input_shape", .array(task.sample.map(JSON.int))), ("num_classes", .int(task.classes))])
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
