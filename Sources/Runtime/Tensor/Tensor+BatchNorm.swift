import RetortKernels

extension Tensor {
    /// (x − mean) / √(variance + epsilon) · weight + bias (+ residual), then ReLU when asked: one op, as a residual block ends.
    /// `[n, channels, ...]`; statistics over all dimensions but the second.
    ///
    /// - `weight`: `[channels]`, as bias.
    /// - `running`: moved by `momentum` towards the statistics of the batch in training (the variance unbiased), what is
    ///   normalised by otherwise.
    /// - `training`: whether the batch's own statistics are used. A batch then has two values per channel at least.
    /// - `residual`: added before ReLU; like x.
    public func batchNorm(
        weight: Tensor? = nil, bias: Tensor? = nil, running: RunningStatistics? = nil, momentum: Float = 0.1,
        epsilon: Float = 1e-5, training: Bool, residual: Tensor? = nil, relu: Bool = false
    ) throws -> Tensor {
        guard rank >= 2 else { throw TensorError("batch norm takes [n, channels, ...], not \(shape)") }
        if let residual, residual.shape != shape {
            throw TensorError("batch norm of \(shape) with a residual of \(residual.shape)")
        }
        let (x, shortcut, y) = (try contiguousView(), try residual?.contiguousView(), try device.empty(shape))
        let inputs = [self, weight, bias, residual].compactMap { $0 }
        var statistics: RunningStatistics
        if training {
            statistics = RunningStatistics(mean: try device.empty([shape[1]]), variance: try device.empty([shape[1]]))
            try run(
                BatchNorm(epsilon: epsilon, momentum: momentum, relu: relu),
                .init(
                    x: x, weight: weight?.view, bias: bias?.view, residual: shortcut, running: running, y: y,
                    mean: statistics.mean, rstd: statistics.variance), on: device)
        } else {
            guard let running else { throw TensorError("batch norm of \(shape) in evaluation without statistics") }
            statistics = running
            try run(
                BatchNormInference(epsilon: epsilon, relu: relu),
                .init(
                    x: x, statistics: running, weight: weight?.view, bias: bias?.view, residual: shortcut, y: y),
                on: device)
            // A pass in training mode may move the statistics before backward comes.
            if Autograd.isRecording, inputs.contains(where: \.needsGradient) {
                statistics = try running.copied(on: device)
            }
        }
        let backward = BatchNormBackward(training ? .batch : .running, epsilon: epsilon, relu: relu)
        return Tensor.recorded(y, device, from: inputs) {
            [nx = node, nw = weight?.node, nb = bias?.node, nr = residual?.node, w = weight?.view] node, gradient in
            let dy = try node.dense(gradient)
            // Without ReLU the residual's gradient is y's. Its sink is taken last: x and the residual may be one node.
            let dx = try nx?.sink()
            let (dWeight, dBias) = (try nw?.sink(), try nb?.sink())
            try run(
                backward,
                .init(
                    x: x, weight: w, mean: statistics.mean, spread: statistics.variance, y: relu ? y : nil, dy: dy,
                    dx: dx, dWeight: dWeight, dBias: dBias, dResidual: relu ? try nr?.sink() : nil), on: node.device)
            if !relu { try nr?.give(.shared(dy)) }
        }
    }
}

extension RunningStatistics {
    fileprivate func copied(on device: ComputeDevice) throws -> RunningStatistics {
        let copy = RunningStatistics(mean: try device.empty(mean.shape), variance: try device.empty(variance.shape))
        try run(Copy(), .init(x: mean, y: .write(copy.mean)), on: device)
        try run(Copy(), .init(x: variance, y: .write(copy.variance)), on: device)
        return copy
    }
}
