import RetortKernels

extension Tensor {
    /// The same elements under another shape of equally many. Copies only when they are not adjacent.
    public func reshaped(_ shape: Dimensions) throws -> Tensor {
        guard shape.product == count else { throw TensorError("cannot reshape \(self.shape) to \(shape)") }
        let y = try contiguousView().reshaped(shape)
        guard Autograd.records(node) else { return Tensor(y, device) }
        let original = self.shape
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            try input!.give(try gradient.mapView { try node.packed($0).reshaped(original) })
        }
    }

    /// The elements in memory of their own, off the tape.
    public func copied() throws -> Tensor {
        let y = try device.empty(shape, dtype)
        try run(Copy(), .init(x: view, y: .write(y)), on: device)
        return Tensor(y, device)
    }

    /// Two dimensions exchanged; no bytes move.
    public func transposed(_ a: Int, _ b: Int) -> Tensor {
        Tensor.recorded(view.transposed(a, b), device, from: [self]) { [input = node] node, gradient in
            let dy = try node.materialize(gradient)
            try run(Copy(), .init(x: dy.transposed(a, b), y: try input!.sink()), on: node.device)
        }
    }

    /// The dimensions in another order, dimension i the present dimension `axes[i]`; no bytes move.
    public func permuted(_ axes: [Int]) throws -> Tensor {
        guard axes.sorted() == Array(0..<rank) else {
            throw TensorError("\(axes) is not an order of the dimensions of shape \(shape)")
        }
        var inverse = axes
        for (i, axis) in axes.enumerated() { inverse[axis] = i }
        return Tensor.recorded(view.permuted(axes), device, from: [self]) { [input = node, inverse] node, gradient in
            let dy = try node.materialize(gradient)
            try run(Copy(), .init(x: dy.permuted(inverse), y: try input!.sink()), on: node.device)
        }
    }

    /// Rows `range` of the first dimension; no bytes move.
    public func slice(_ range: Range<Int>) throws -> Tensor {
        guard rank > 0, range.lowerBound >= 0, range.upperBound <= shape[0] else {
            throw TensorError("rows \(range) of a tensor of shape \(shape)")
        }
        return try narrowed(axis: 0, range)
    }

    /// Positions `range` of one dimension, counted from the end when negative; no bytes move.
    public func narrowed(axis: Int, _ range: Range<Int>) throws -> Tensor {
        let axis = axis < 0 ? rank + axis : axis
        guard (0..<rank).contains(axis), range.lowerBound >= 0, range.upperBound <= shape[axis] else {
            throw TensorError("positions \(range) of dimension \(axis) of a tensor of shape \(shape)")
        }
        guard Autograd.records(node) else { return Tensor(view.narrowed(axis, range), device) }
        return Tensor.recorded(view.narrowed(axis, range), device, from: [self]) { [input = node] node, gradient in
            let dy = try node.materialize(gradient)
            let dx = try input!.sink()
            if dx.mode == .write { try run(Fill(0), .init(y: dx.view), on: node.device) }
            try run(Copy(), .init(x: dy, y: .accumulate(dx.view.narrowed(axis, range))), on: node.device)
        }
    }

    /// The parts one behind the other along one dimension, counted from the end when negative; other dimensions must agree.
    public static func concatenated(_ parts: [Tensor], axis: Int) throws -> Tensor {
        guard let first = parts.first else { throw TensorError("concatenation of no tensors") }
        let axis = axis < 0 ? first.rank + axis : axis
        guard (0..<first.rank).contains(axis) else {
            throw TensorError("no dimension \(axis) in shape \(first.shape)")
        }
        var shape = first.shape
        shape[axis] = 0
        var ranges: [Range<Int>] = []
        for part in parts {
            var others = part.shape
            guard part.rank == first.rank else {
                throw TensorError("concatenation of shapes \(first.shape) and \(part.shape)")
            }
            others[axis] = first.shape[axis]
            guard others == first.shape else {
                throw TensorError("concatenation of shapes \(first.shape) and \(part.shape) along dimension \(axis)")
            }
            ranges.append(shape[axis]..<shape[axis] + part.shape[axis])
            shape[axis] += part.shape[axis]
        }
        if parts.count == 1 { return first }
        let y = try first.device.empty(shape, first.dtype)
        for (part, range) in zip(parts, ranges) {
            try run(
                Copy(),
                .init(x: try first.device.stored(part.view, as: first.dtype), y: .write(y.narrowed(axis, range))),
                on: first.device)
        }
        return Tensor.recorded(y, first.device, from: parts) { [nodes = parts.map(\.node)] node, gradient in
            if case .constant = gradient { return try nodes.forEach { try $0?.give(gradient) } }
            let dy = try node.materialize(gradient)
            for (input, range) in zip(nodes, ranges) {
                guard let input else { continue }
                try run(Copy(), .init(x: dy.narrowed(axis, range), y: try input.sink()), on: node.device)
            }
        }
    }
}

extension Node {
    /// The view itself when its elements are adjacent, else a packed copy.
    func packed(_ view: View) throws -> View { try device.packed(view) }

    /// The gradient as adjacent elements.
    func dense(_ gradient: Gradient) throws -> View { try packed(try materialize(gradient)) }
}
