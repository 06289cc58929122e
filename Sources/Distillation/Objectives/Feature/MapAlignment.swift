import RetortRuntime

extension Tensor {
    /// Two sets of maps `[rows, channels, height, width]` at the smaller of their sizes, the larger one adaptively averaged.
    static func atSmallerSize(_ a: Tensor, _ b: Tensor) throws -> (Tensor, Tensor) {
        let (height, width) = (Swift.min(a.shape[2], b.shape[2]), Swift.min(a.shape[3], b.shape[3]))
        return (try a.averaged(height, width), try b.averaged(height, width))
    }

    /// Adaptively averaged to a size; itself where it has it.
    func averaged(_ height: Int, _ width: Int) throws -> Tensor {
        shape[2] == height && shape[3] == width ? self : try adaptiveAveragePool2d(height: height, width: width)
    }

    /// `[rows, channels, height, width]` → `[rows, channels, height · width]`.
    func positionsFlattened() throws -> Tensor { try reshaped([shape[0], shape[1], shape[2] * shape[3]]) }
}
