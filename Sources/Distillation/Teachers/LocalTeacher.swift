import RetortModels
import RetortRuntime
import RetortSupport

/// Trained models on the student's device, frozen and in evaluation mode; each may be of another architecture.
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

    public var catalogs: [SignalCatalog] { models.map(\.signals) }

    public func batchNorm(before path: String, ofModel index: Int) -> BatchNorm2d? {
        models[index].batchNorm(before: path)
    }

    public func answer(_ x: Tensor, capturing paths: [Set<String>]) throws -> [ModelOutput] {
        try Autograd.withoutGradients {
            try models.enumerated().map { try $1.forward(x, capturing: $0 < paths.count ? paths[$0] : []) }
        }
    }
}
