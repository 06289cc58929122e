import RetortModels
import RetortRuntime
import RetortSupport

/// Trained models on the student's device, frozen and in evaluation mode. Signals are those of the first: others of an ensemble may
/// be of another architecture.
public final class LocalTeacher: Teacher {
    public let models: [any Model]

    /// - Parameter models: at least one, all for the same classes.
    public init(_ models: [any Model]) {
        precondition(!models.isEmpty, "a teacher without a model")
        self.models = models
        for model in models {
            model.freeze()
            model.setTraining(false)
        }
    }

    public convenience init(_ model: any Model) { self.init([model]) }

    public var catalog: SignalCatalog { models[0].signals }

    public func batchNorm(before path: String) -> BatchNorm2d? { models[0].batchNorm(before: path) }

    public func answer(_ x: Tensor, capturing paths: Set<String>) throws -> [ModelOutput] {
        try Autograd.withoutGradients {
            try models.enumerated().map { try $0.element.forward(x, capturing: $0.offset == 0 ? paths : []) }
        }
    }
}
