import RetortKernels

/// Constants made on the device: nothing is sent from the host, so a step does not wait.
extension Tensor {
    /// One number everywhere.
    public static func full(_ value: Float, _ shape: Dimensions, on device: ComputeDevice) throws -> Tensor {
        let y = try device.empty(shape)
        try run(Fill(value), .init(y: y), on: device)
        return Tensor(y, device)
    }

    /// `value` at each row's label, `elsewhere` at the others: int32 labels `[rows]` → `[rows, classes]`; a label outside the classes marks
    /// nothing. The value is computed as `elsewhere` + (value − elsewhere): exact where one of the two is 0.
    public static func oneHot(
        _ labels: View, classes: Int, value: Float = 1, elsewhere: Float = 0, on device: ComputeDevice
    ) throws -> Tensor {
        let y = try device.empty([labels.count, classes])
        if elsewhere != 0 { try run(Fill(elsewhere), .init(y: y), on: device) }
        let marks = try device.empty([labels.count, 1])
        try run(Fill(value - elsewhere), .init(y: marks), on: device)
        try run(
            ScatterColumns(),
            .init(
                dy: marks, indices: labels.reshaped([labels.count, 1]), dx: elsewhere == 0 ? .write(y) : .accumulate(y)),
            on: device)
        return Tensor(y, device)
    }

    /// x + number.
    public func adding(_ number: Float) throws -> Tensor { try self + Tensor.full(number, [], on: device) }

    /// 1 where x > 0, else 0; a constant.
    public func isPositive() throws -> Tensor {
        let y = try device.empty(shape)
        let ones = try Tensor.full(1, shape, on: device)
        try run(UnaryBackward(.relu), .init(x: try contiguousView(), dy: ones.view, dx: .write(y)), on: device)
        return Tensor(y, device)
    }
}
