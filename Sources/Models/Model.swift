import RetortRuntime
import RetortSupport

/// A model that maps a batch to logits and can show what happens inside it.
public protocol Model: Module {
    /// The word under `kind` in a recipe.
    static var kind: String { get }
    /// What `config.json` holds: enough to build the model again.
    var configuration: JSON { get }
    /// Numbers of one input row and of one output row.
    var inputs: Int { get }
    var classes: Int { get }

    /// - Parameters:
    ///   - x: `[rows, inputs]`.
    ///   - paths: signals to keep, by path, e.g. "layers.0.hidden".
    /// - Returns: logits `[rows, classes]` and the signals asked for.
    func forward(_ x: Tensor, capturing paths: Set<String>) throws -> ModelOutput
}

extension Model {
    public func callAsFunction(_ x: Tensor) throws -> Tensor { try forward(x, capturing: []).logits }
}

/// What a forward pass gives.
public struct ModelOutput {
    public let logits: Tensor
    public let signals: [String: Tensor]
}
