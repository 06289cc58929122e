import RetortKernels

extension Tensor {
    /// softmax(x / temperature) over the last dimension.
    public func softmax(temperature: Float = 1) throws -> Tensor { try softmax(log: false, temperature) }

    /// log softmax(x / temperature) over the last dimension.
    public func logSoftmax(temperature: Float = 1) throws -> Tensor { try softmax(log: true, temperature) }

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
