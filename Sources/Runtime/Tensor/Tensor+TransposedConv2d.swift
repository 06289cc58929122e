import RetortKernels

extension Tensor {
    /// Transposed convolution, as `torch.nn.functional.conv_transpose2d`: what the gradient of `conv2d` with this weight and geometry does to its
    /// output's side. self `[n, inputs, height, width]`, weight `[inputs, outputs / groups, kh, kw]`, bias `[outputs]` → `[n, outputs, height', width']`
    /// with height' = (height − 1) · stride − 2 · padding + dilation · (kh − 1) + 1 + outputPadding.
    /// - `outputPadding`: rows (columns) more at the end, of the sizes that the convolution would shrink to the same; less than the stride.
    public func transposedConv2d(
        _ weight: Tensor, bias: Tensor? = nil, geometry: Conv2dGeometry = .init(),
        outputPadding: Conv2dGeometry.Pair = .init(0)
    ) throws -> Tensor {
        let y = try transposedConv2d(weight, geometry, outputPadding)
        guard let bias else { return y }
        guard bias.shape == [y.shape[1]] else {
            throw TensorError("transposedConv2d: bias \(bias.shape) must be [\(y.shape[1])]")
        }
        return try y + bias.reshaped([y.shape[1], 1, 1])
    }

    private func transposedConv2d(
        _ weight: Tensor, _ geometry: Conv2dGeometry, _ outputPadding: Conv2dGeometry.Pair
    ) throws -> Tensor {
        guard rank == 4, weight.rank == 4 else {
            throw TensorError("transposedConv2d: input \(shape) and weight \(weight.shape) must have four dimensions")
        }
        guard geometry.groups > 0, shape[1] % geometry.groups == 0, weight.shape[0] == shape[1] else {
            throw TensorError(
                "transposedConv2d: input \(shape) with \(geometry.groups) groups needs weight "
                    + "[\(shape[1]), outputs / \(geometry.groups), kh, kw], not \(weight.shape)")
        }
        guard
            let size = geometry.transposedSize(
                input: .init(shape[2], shape[3]), kernel: .init(weight.shape[2], weight.shape[3]),
                outputPadding: outputPadding)
        else {
            throw TensorError(
                "transposedConv2d: no image gives \(shape) under weight \(weight.shape) with \(geometry), output padding "
                    + "\(outputPadding): at least a pixel must be left, and output padding be below the stride")
        }
        let (x, w) = (try contiguousView(), weight.view)
        let y = try device.empty([shape[0], weight.shape[1] * geometry.groups, size.vertical, size.horizontal])
        // What the convolution calls dy is this one's input, and its dx the output; x and dy of the weight's gradient change places.
        try run(Conv2dBackwardInput(geometry), .init(dy: x, weight: w, dx: .write(y)), on: device)
        return Tensor.recorded(y, device, from: [self, weight]) {
            [nx = node, nw = weight.node] node, gradient in
            let dy = try node.dense(gradient)
            if let nw {
                try run(
                    Conv2dBackwardWeight(geometry), .init(x: dy, dy: x, dWeight: try nw.sink()), on: node.device)
            }
            if let nx {
                try run(Conv2d(geometry), .init(x: dy, weight: w, y: try nx.sink()), on: node.device)
            }
        }
    }
}
