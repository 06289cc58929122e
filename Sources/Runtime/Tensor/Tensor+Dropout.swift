import RetortKernels

extension Tensor {
    /// Each element 0 with `probability`, else x / (1 − probability), stored as x is. The mask is a function of (seed, stream, index) and is never
    /// stored: backward computes it again.
    ///
    /// - `stream`: the call site and step, see `Philox.stream(_:)`.
    /// - `firstElement`: global index of the first element, so that a micro-batch sees the mask of its place in the batch.
    public func dropout(_ probability: Float, seed: UInt64, stream: UInt64, firstElement: Int = 0) throws -> Tensor {
        guard probability >= 0, probability < 1 else { throw TensorError("dropout probability \(probability)") }
        guard probability > 0 else { return self }
        let op = Dropout(probability: probability, seed: seed, stream: stream, firstElement: firstElement)
        let x = try contiguousView()
        let y = try device.empty(shape, dtype)
        try run(op, .init(x: x, y: .write(y)), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            try run(op, .init(x: try node.dense(gradient), y: try input!.sink()), on: node.device)
        }
    }
}
