import RetortKernels

extension Tensor {
    /// activation(self ∗ weight + bias), two-dimensional cross-correlation as `torch.nn.functional.conv2d`: self `[n, channels, height, width]`,
    /// weight `[outputs, channels / groups, kh, kw]`, bias `[outputs]` → `[n, outputs, height', width']`.
    /// - `activation`: `none` or `relu`, fused into the convolution.
    public func conv2d(
        _ weight: Tensor, bias: Tensor? = nil, geometry: Conv2dGeometry = .init(), activation: MatmulActivation = .none
    ) throws -> Tensor {
        guard rank == 4, weight.rank == 4 else {
            throw TensorError("conv2d: input \(shape) and weight \(weight.shape) must have four dimensions")
        }
        guard
            let size = geometry.outputSize(
                input: .init(shape[2], shape[3]), kernel: .init(weight.shape[2], weight.shape[3]))
        else {
            throw TensorError("conv2d: weight \(weight.shape) does not fit into input \(shape) with \(geometry)")
        }
        let (x, w) = (try contiguousView(), weight.view)
        let y = try device.empty([shape[0], weight.shape[0], size.vertical, size.horizontal])
        try run(
            Conv2d(geometry, activation: activation), .init(x: x, weight: w, bias: bias?.view, y: .write(y)), on: device
        )
        let inputs = [self, weight] + (bias.map { [$0] } ?? [])
        return Tensor.recorded(y, device, from: inputs) {
            [nx = node, nw = weight.node, nb = bias?.node] node, gradient in
            var dy = try node.dense(gradient)
            if let function = activation.unary {
                // ReLU's mask can be read off its output.
                let dz = try node.device.empty(dy.shape)
                try run(UnaryBackward(function), .init(x: y, dy: dy, dx: .write(dz)), on: node.device)
                dy = dz
            }
            if let nw {
                try run(
                    Conv2dBackwardWeight(geometry), .init(x: x, dy: dy, dWeight: try nw.sink(), dBias: try nb?.sink()),
                    on: node.device)
            } else if let nb {
                // The weights are frozen, the bias is not.
                let (n, outputs, pixels) = (y.shape[0], y.shape[1], y.shape[2] * y.shape[3])
                let rows = try node.device.empty([n, outputs])
                try run(
                    Reduce(.sum),
                    .init(x: dy.reshaped([n, outputs, pixels]), axis: 2, y: .write(rows.reshaped([n, outputs, 1]))),
                    on: node.device)
                try run(
                    Reduce(.sum), .init(x: rows, axis: 0, y: try nb.sink().reshaped([1, outputs])), on: node.device)
            }
            if let nx {
                try run(Conv2dBackwardInput(geometry), .init(dy: dy, weight: w, dx: try nx.sink()), on: node.device)
            }
        }
    }
}
