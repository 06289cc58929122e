import RetortKernels

extension Tensor {
    /// softmax(x / temperature) over one dimension; another than the last costs a copy.
    public func softmax(_ axis: Int = -1, temperature: Float = 1) throws -> Tensor {
        try withLast(axis) { try $0.softmax(log: false, temperature) }
    }

    /// log softmax(x / temperature) over one dimension; another than the last costs a copy.
    public func logSoftmax(_ axis: Int = -1, temperature: Float = 1) throws -> Tensor {
        try withLast(axis) { try $0.softmax(log: true, temperature) }
    }

    /// Runs a function of the last dimension over another one.
    private func withLast(_ dimension: Int, _ body: (Tensor) throws -> Tensor) throws -> Tensor {
        let axis = dimension < 0 ? rank + dimension : dimension
        guard (0..<rank).contains(axis) else { throw TensorError("no dimension \(dimension) in shape \(shape)") }
        guard axis != rank - 1 else { return try body(self) }
        return try body(transposed(axis, rank - 1)).transposed(axis, rank - 1)
    }

    private func softmax(log: Bool, _ temperature: Float) throws -> Tensor {
        let y = try device.empty(shape)
        let op = Softmax(log: log, temperature: temperature)
        try run(op, .init(x: try contiguousView(), y: .write(y)), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            try run(
                SoftmaxBackward(log: log, temperature: temperature), .init(y: y, dy: dy, dx: try input!.sink()),
                on: node.device)
        }
    }
}
