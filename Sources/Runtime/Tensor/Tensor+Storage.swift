import RetortKernels

extension ComputeDevice {
    /// A view's numbers in fp32: itself, or a copy that is dense.
    func wide(_ view: View) throws -> View { try stored(view, as: .f32) }

    /// A view's numbers as `dtype` holds them, f32 or bf16: itself, or a copy that is dense. bf16 is rounded to nearest even.
    func stored(_ view: View, as dtype: DType) throws -> View {
        guard view.dtype != dtype else { return view }
        let copy = try empty(view.shape, dtype)
        try run(Convert(), .init(x: try packed(view), y: copy), on: self)
        return copy
    }

    /// The view itself when its elements are adjacent, else a packed copy.
    func packed(_ view: View) throws -> View {
        if view.isContiguous { return view }
        let packed = try empty(view.shape, view.dtype)
        try run(Copy(), .init(x: view, y: .write(packed)), on: self)
        return packed
    }
}

extension Tensor {
    /// What the numbers are stored as: f32, or bf16 in a step of reduced precision.
    public var dtype: DType { view.dtype }

    /// The same numbers stored otherwise, on the tape; gradients are fp32 and pass unchanged.
    public func stored(as dtype: DType) throws -> Tensor {
        guard dtype != self.dtype else { return self }
        return Tensor.recorded(try device.stored(view, as: dtype), device, from: [self]) {
            [input = node] _, gradient in try input!.give(gradient)
        }
    }
}
