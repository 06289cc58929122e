import RetortModels
import RetortRuntime

/// Who a student learns from: one model or several, fixed or moving.
public protocol Teacher: AnyObject {
    /// What each of its models can show.
    var catalogs: [SignalCatalog] { get }
    /// The answers of each model to a batch, off the tape.
    /// - `paths`: the signals to keep of each model; none of those beyond its end.
    func answer(_ x: Tensor, capturing paths: [Set<String>]) throws -> [ModelOutput]
    /// `batchNorm(before:)` of one of its models.
    func batchNorm(before path: String, ofModel index: Int) -> BatchNorm2d?
    /// Called when the student has taken a step.
    func afterStep() throws
}

extension Teacher {
    public func batchNorm(before path: String, ofModel index: Int) -> BatchNorm2d? { nil }
    public func afterStep() throws {}
}
