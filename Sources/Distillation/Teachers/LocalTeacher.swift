import RetortModels
import RetortRuntime
import RetortSupport

/// Trained models on the student's device, frozen and in evaluation mode; each may be of another architecture.
public final class LocalTeacher: Teacher {
    public let models: [any Model]
    private let views: [InputView]

    /// - Parameters:
    ///   - models: at least one, all for the same classes.
    ///   - views: what each sees of an example; nil: everything.
    public init(_ models: [any Model], seeing views: [InputView]? = nil) {
        precondition(!models.isEmpty && (views == nil || views?.count == models.count), "teachers and what they see")
        self.models = models
        self.views = views ?? models.map { _ in .whole }
        for model in models {
            model.freeze()
            model.setTraining(false)
        }
    }

    public convenience init(_ model: any Model, seeing view: InputView = .whole) { self.init([model], seeing: [view]) }

    public var catalogs: [SignalCatalog] { models.map(\.signals) }

    public func batchNorm(before path: String, ofModel index: Int) -> BatchNorm2d? {
        models[index].batchNorm(before: path)
    }

    public func answer(_ x: Tensor, capturing paths: [Set<String>]) throws -> [ModelOutput] {
        try Autograd.withoutGradients {
            try models.enumerated().map { index, model in
                try model.forward(views[index](x), capturing: index < paths.count ? paths[index] : [])
            }
        }
    }
}
