import RetortKernels

extension Tensor {
    /// `[n, channels, height, width]` at another size, each pixel a weighted mean of the four around its centre; as
    /// `torch.nn.functional.interpolate(mode="bilinear", align_corners=False)`.
    public func resizedBilinear(height: Int, width: Int) throws -> Tensor { try resized(.bilinear, height, width) }

    /// `[n, channels, height, width]` at another size, each pixel one of the old ones; as PyTorch's mode "nearest".
    public func resizedNearest(height: Int, width: Int) throws -> Tensor { try resized(.nearest, height, width) }

    private func resized(_ interpolation: Interpolation, _ height: Int, _ width: Int) throws -> Tensor {
        guard rank == 4, height >= 1, width >= 1 else {
            throw TensorError("cannot resize \(shape) to height \(height) and width \(width)")
        }
        if shape[2] == height, shape[3] == width { return self }
        let (x, y) = (try contiguousView(), try device.empty([shape[0], shape[1], height, width]))
        try run(Resize(interpolation), .init(x: x, y: y), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            try run(ResizeBackward(interpolation), .init(dy: dy, dx: try input!.sink()), on: node.device)
        }
    }
}
