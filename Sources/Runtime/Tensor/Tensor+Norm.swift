import RetortKernels

extension Tensor {
    /// (x − mean) / √(variance + epsilon) · weight + bias over the last dimension, stored as x is; weight and bias `[columns]`.
    public func layerNorm(weight: Tensor? = nil, bias: Tensor? = nil, epsilon: Float = 1e-5) throws -> Tensor {
        guard rank >= 1 else { throw TensorError("layer norm of a scalar") }
        let x = try contiguousView()
        let rows = count / Swift.max(1, shape[rank - 1])
        let y = try device.empty(shape, dtype)
        let (mean, rstd) = (try device.empty([rows]), try device.empty([rows]))
        try run(
            LayerNorm(epsilon: epsilon),
            .init(x: x, weight: weight?.view, bias: bias?.view, y: y, mean: mean, rstd: rstd), on: device)
        let inputs = [self] + (weight.map { [$0] } ?? []) + (bias.map { [$0] } ?? [])
        return Tensor.recorded(y, device, from: inputs) {
            [nx = node, nw = weight?.node, nb = bias?.node, w = weight?.view] node, gradient in
            let dy = try node.dense(gradient)
            try run(
                LayerNormBackward(),
                .init(
                    x: x, weight: w, dy: dy, mean: mean, rstd: rstd, dx: try nx?.sink(), dWeight: try nw?.sink(),
                    dBias: try nb?.sink()), on: node.device)
        }
    }
}

extension Tensor {
    /// x / √(mean(x²) + epsilon) · (weight + weightOffset) over the last dimension, stored as x is; weight `[columns]`, nil for a factor of 1.
    public func rmsNorm(weight: Tensor? = nil, epsilon: Float = 1e-6, weightOffset: Float = 0) throws -> Tensor {
        guard rank >= 1 else { throw TensorError("RMS norm of a scalar") }
        let x = try contiguousView()
        let y = try device.empty(shape, dtype)
        let rstd = try device.empty([count / Swift.max(1, shape[rank - 1])])
        try run(
            RMSNorm(epsilon: epsilon, weightOffset: weightOffset),
            .init(x: x, weight: weight?.view, y: y, rstd: rstd), on: device)
        guard Autograd.records(node, weight?.node) else { return Tensor(y, device) }
        return Tensor.recorded(y, device, from: [self] + (weight.map { [$0] } ?? [])) {
            [nx = node, nw = weight?.node, w = weight?.view] node, gradient in
            let dy = try node.dense(gradient)
            try run(
                RMSNormBackward(weightOffset: weightOffset),
                .init(x: x, weight: w, dy: dy, rstd: rstd, dx: try nx?.sink(), dWeight: try nw?.sink()),
                on: node.device)
        }
    }
}
