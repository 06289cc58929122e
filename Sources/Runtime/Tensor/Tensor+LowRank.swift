import RetortKernels

extension Tensor {
    /// self + low · upᵀ, in the memory of self, which nobody else may still read. self `[..., out]`, low `[..., rank]`, up `[out, rank]`.
    public func adding(_ low: Tensor, times up: Tensor) throws -> Tensor {
        guard rank >= 1, up.rank == 2, low.shape.dropLast() == shape.dropLast(), low.shape.last == up.shape[1],
            shape.last == up.shape[0]
        else { throw TensorError("cannot add \(low.shape) by \(up.shape) transposed to \(shape)") }
        let y = view.reshapedIfNeeded([count / up.shape[0], up.shape[0]])
        let x = try low.contiguousView().reshapedIfNeeded([y.shape[0], up.shape[1]])
        try run(Matmul(), .init(a: x, b: up.view.transposed, c: .accumulate(y)), on: device)
        return Tensor.recorded(view, device, from: [self, low, up]) {
            [nodes = (base: node, low: low.node, up: up.node), w = up.view] node, gradient in
            let dy = try node.dense(gradient).reshapedIfNeeded(y.shape)
            if let up = nodes.up { try run(Matmul(), .init(a: dy.transposed, b: x, c: try up.sink()), on: node.device) }
            if let low = nodes.low {
                try run(Matmul(), .init(a: dy, b: w, c: try low.sink().reshaped(x.shape)), on: node.device)
            }
            try nodes.base?.give(gradient)
        }
    }
}
