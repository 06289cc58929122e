import RetortKernels

extension Tensor {
    /// Sum over one dimension (kept with size 1 when `keepingDimension`), or over everything when `axis` is nil.
    public func sum(_ axis: Int? = nil, keepingDimension: Bool = false) throws -> Tensor {
        try reduced(.sum, axis, keepingDimension)
    }

    public func mean(_ axis: Int? = nil, keepingDimension: Bool = false) throws -> Tensor {
        try reduced(.mean, axis, keepingDimension)
    }

    /// Variance over one dimension or everything; `correction` 1 divides by n − 1.
    public func variance(_ axis: Int? = nil, correction: Int = 1, keepingDimension: Bool = false) throws -> Tensor {
        try reduced(.variance(correction: correction), axis, keepingDimension)
    }

    /// The largest element; its gradient goes to the first place that holds it.
    public func max(_ axis: Int, keepingDimension: Bool = false) throws -> Tensor {
        try reduced(.max, axis, keepingDimension)
    }

    /// log Σ exp(x), without overflow.
    public func logSumExp(_ axis: Int, keepingDimension: Bool = false) throws -> Tensor {
        try reduced(.logSumExp, axis, keepingDimension)
    }

    private func reduced(_ kind: Reduction, _ dimension: Int?, _ keep: Bool) throws -> Tensor {
        guard let dimension else { return try reshaped([count]).reduced(kind, 0, false) }
        let axis = dimension < 0 ? rank + dimension : dimension
        guard (0..<rank).contains(axis) else { throw TensorError("no dimension \(axis) in shape \(shape)") }
        let x = try contiguousView()
        var kept = shape
        kept[axis] = 1
        let y = try device.empty(kept)
        let extra = try kind.statistic.map { try device.empty(kept, $0) }
        try run(Reduce(kind), .init(x: x, axis: axis, y: .write(y), statistic: extra), on: device)
        let statistic = kind == .logSumExp ? y : extra
        var squeezed = shape
        squeezed.remove(at: axis)
        let out = keep ? y : y.reshaped(squeezed)
        return Tensor.recorded(out, device, from: [self]) { [input = node] node, gradient in
            // The gradient of a whole sum or mean is the same number everywhere: no pass at all.
            if case .constant(let value) = gradient, let factor = kind.uniformGradient(x.shape[axis]) {
                return try input!.give(.constant(value * factor))
            }
            let dy = try node.dense(gradient).reshaped(kept)
            try run(
                ReduceBackward(kind), .init(x: x, statistic: statistic, dy: dy, axis: axis, dx: try input!.sink()),
                on: node.device)
        }
    }

    /// Running sums along a dimension.
    public func cumulativeSum(_ axis: Int) throws -> Tensor {
        let x = try contiguousView()
        let y = try device.empty(shape)
        try run(CumulativeSum(), .init(x: x, axis: axis, y: .write(y)), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            try run(CumulativeSum(reverse: true), .init(x: dy, axis: axis, y: try input!.sink()), on: node.device)
        }
    }

    /// Index of the largest element along a dimension, the first where several are equal; int32, no gradient.
    public func argmax(_ axis: Int) throws -> View {
        let axis = axis < 0 ? rank + axis : axis
        var squeezed = shape
        squeezed.remove(at: axis)
        let y = try device.empty(squeezed, .i32)
        try run(ArgMax(), .init(x: try contiguousView(), axis: axis, y: y), on: device)
        return y
    }

    /// The k largest elements of each row, descending, and their int32 positions. `[..., columns]` → `[..., k]`.
    public func topK(_ k: Int) throws -> (values: Tensor, indices: View) {
        guard rank >= 1, k >= 1, k <= shape[rank - 1] else { throw TensorError("top \(k) of shape \(shape)") }
        let x = try contiguousView()
        let outShape = shape.dropLast() + [k]
        let values = try device.empty(outShape)
        let indices = try device.empty(outShape, .i32)
        try run(TopK(), .init(x: x, values: values, indices: indices), on: device)
        let tensor = Tensor.recorded(values, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            try run(ScatterColumns(), .init(dy: dy, indices: indices, dx: try input!.sink()), on: node.device)
        }
        return (tensor, indices)
    }
}

extension Reduction {
    /// The gradient of each element when the output's gradient is 1, where it is the same for all elements.
    fileprivate func uniformGradient(_ n: Int) -> Float? {
        switch self {
        case .sum: 1
        case .mean: 1 / Float(n)
        default: nil
        }
    }
}
