import RetortModels
import RetortRuntime

/// Who a student learns from: one model or several, fixed or moving.
public protocol Teacher: AnyObject {
    /// What its first model can show.
    var catalog: SignalCatalog { get }
    /// The answers of each model to a batch, off the tape.
    func answer(_ x: Tensor, capturing paths: Set<String>) throws -> [ModelOutput]
    /// Its first model's `batchNorm(before:)`.
    func batchNorm(before path: String) -> BatchNorm2d?
    /// Called when the student has taken a step.
    func afterStep() throws
}

extension Teacher {
    public func batchNorm(before path: String) -> BatchNorm2d? { nil }
    public func afterStep() throws {}
}
