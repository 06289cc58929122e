import RetortRuntime
import RetortSupport

extension Tensor {
    /// The sum of tensors of one shape, at least one.
    static func total(_ tensors: [Tensor]) throws -> Tensor {
        guard let first = tensors.first else { throw RetortError.internalBug("a sum of no terms") }
        return try tensors.dropFirst().reduce(first) { try $0 + $1 }
    }

    /// Tensors of one shape as `[tensors, …shape]`.
    static func stacked(_ tensors: [Tensor]) throws -> Tensor {
        try concatenated(tensors.map { try $0.reshaped([1] + $0.shape) }, axis: 0)
    }
}
