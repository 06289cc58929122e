import RetortKernels

extension Tensor {
    /// a `[..., m, k]` · b `[..., k, n]` → `[..., m, n]`; leading dimensions broadcast. Transposed views cost nothing extra.
    /// The product is stored as a is.
    public func matmul(_ b: Tensor) throws -> Tensor {
        guard rank >= 2, b.rank >= 2, shape[rank - 1] == b.shape[b.rank - 2],
            let batch = broadcastShape(shape.dropLast(2), b.shape.dropLast(2))
        else { throw TensorError("cannot multiply \(shape) by \(b.shape)") }
        let (av, bv) = (view, b.view)
        let c = try device.empty(batch + [shape[rank - 2], b.shape[b.rank - 1]], dtype)
        try run(Matmul(), .init(a: av, b: bv, c: .write(c)), on: device)
        return Tensor.recorded(c, device, from: [self, b]) { [na = node, nb = b.node] node, gradient in
            let dc = try node.dense(gradient)
            if let na { try na.addProduct(dc, bv.transposed) }
            if let nb { try nb.addProduct(av.transposed, dc) }
        }
    }

    /// activation(x · weightᵀ + bias) + residual: one product with its epilogue fused. x `[..., in]`, weight `[out, in]`, bias `[out]`,
    /// residual `[..., out]`.
    /// - `dtype`: what the product is stored as; nil: as x is.
    public func linear(
        _ weight: Tensor, bias: Tensor? = nil, activation: MatmulActivation = .none, plus residual: Tensor? = nil,
        storedAs dtype: DType? = nil
    ) throws -> Tensor {
        guard weight.rank == 2, rank >= 1, shape[rank - 1] == weight.shape[1] else {
            throw TensorError("linear: input \(shape) does not fit weight \(weight.shape) [out, in]")
        }
        if let bias, bias.shape != [weight.shape[0]] {
            throw TensorError("linear: bias \(bias.shape) does not fit weight \(weight.shape) [out, in]")
        }
        let out = weight.shape[0]
        let shapeOut = shape.dropLast() + [out]
        if let residual, residual.shape != shapeOut {
            throw TensorError("linear: residual \(residual.shape) beside an output of \(shapeOut)")
        }
        let x = try view.rank == 2 ? view : contiguousView().reshaped([count / weight.shape[1], weight.shape[1]])
        let w = weight.view
        let recording = Autograd.records(node, weight.node, bias?.node, residual?.node)
        let y = try device.empty([x.shape[0], out], dtype ?? self.dtype)
        // ReLU's mask can be read off its output, unless something was added; the others need what went in.
        let keep = recording && activation != .none && (activation != .relu || residual != nil)
        let pre = keep ? try device.empty(y.shape, y.dtype) : nil
        try run(
            Matmul(activation: activation),
            .init(
                a: x, b: w.transposed, c: .write(y), bias: bias?.view,
                residual: residual.map {
                    try device.stored($0.contiguousView(), as: y.dtype).reshapedIfNeeded(y.shape)
                },
                preactivation: pre), on: device)
        guard recording else { return Tensor(y.reshapedIfNeeded(shapeOut), device) }
        let inputs = [self, weight] + [bias, residual].compactMap { $0 }
        return Tensor.recorded(y.reshapedIfNeeded(shapeOut), device, from: inputs) {
            [nx = node, nw = weight.node, nb = bias?.node, nr = residual?.node] node, gradient in
            var dy = try node.dense(gradient).reshapedIfNeeded(y.shape)
            if let function = activation.unary {
                let dz = try node.device.empty(dy.shape)
                try run(UnaryBackward(function), .init(x: pre ?? y, dy: dy, dx: .write(dz)), on: node.device)
                dy = dz
            }
            if let nw { try run(Matmul(), .init(a: dy.transposed, b: x, c: try nw.sink()), on: node.device) }
            if let nb {
                try run(Reduce(.sum), .init(x: dy, axis: 0, y: try nb.sink().reshaped([1, out])), on: node.device)
            }
            if let nx {
                let sink = try nx.sink()
                try run(Matmul(), .init(a: dy, b: w, c: try sink.reshaped(x.shape)), on: node.device)
            }
            // Last: whoever gets it may add to it.
            try nr?.give(gradient)
        }
    }
}

extension Output {
    func reshaped(_ shape: Dimensions) throws -> Output { Output(view.reshapedIfNeeded(shape), mode) }
}

extension MatmulActivation {
    /// The same function as an op of its own; what backward differentiates.
    var unary: UnaryFunction? {
        switch self {
        case .none: nil
        case .relu: .relu
        case .geluExact: .geluExact
        case .geluTanh: .geluTanh
        case .silu: .silu
        case .tanh: .tanh
        case .sigmoid: .sigmoid
        }
    }
}

extension Node {
    /// Adds a · b to this node's gradient, summed over the batch dimensions its value was repeated along.
    func addProduct(_ a: View, _ b: View) throws {
        let batch = broadcastShape(a.shape.dropLast(2), b.shape.dropLast(2))!
        let full = batch + [a.shape[a.rank - 2], b.shape[b.rank - 1]]
        if full == shape { return try run(Matmul(), .init(a: a, b: b, c: try sink()), on: device) }
        let product = try device.empty(full)
        try run(Matmul(), .init(a: a, b: b, c: .write(product)), on: device)
        try addGradient(.view(product))
    }
}
