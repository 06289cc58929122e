import RetortKernels

extension Tensor {
    /// The same elements under another shape of equally many. Copies only when they are not adjacent.
    public func reshaped(_ shape: [Int]) throws -> Tensor {
        guard shape.reduce(1, *) == count else { throw TensorError("cannot reshape \(self.shape) to \(shape)") }
        let y = try contiguousView().reshaped(shape)
        let original = self.shape
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            try input!.give(try gradient.mapView { try node.packed($0).reshaped(original) })
        }
    }

    /// The elements in memory of their own, off the tape.
    public func copied() throws -> Tensor {
        let y = try device.empty(shape)
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

    /// Rows `range` of the first dimension; no bytes move.
    public func slice(_ range: Range<Int>) throws -> Tensor {
        guard rank > 0, range.lowerBound >= 0, range.upperBound <= shape[0] else {
            throw TensorError("rows \(range) of a tensor of shape \(shape)")
        }
        return Tensor.recorded(view.slice(range), device, from: [self]) { [input = node] node, gradient in
            let dy = try node.materialize(gradient)
            let dx = try input!.sink()
            if dx.mode == .write { try run(Fill(0), .init(y: dx.view), on: node.device) }
            try run(Copy(), .init(x: dy, y: .accumulate(dx.view.slice(range))), on: node.device)
        }
    }
}

extension Node {
    /// The view itself when its elements are adjacent, else a packed copy.
    func packed(_ view: View) throws -> View {
        if view.isContiguous { return view }
        let y = try device.empty(view.shape)
        try run(Copy(), .init(x: view, y: .write(y)), on: device)
        return y
    }

    /// The gradient as adjacent elements.
    func dense(_ gradient: Gradient) throws -> View { try packed(try materialize(gradient)) }
}
