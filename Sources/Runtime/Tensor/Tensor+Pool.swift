import RetortKernels

extension Tensor {
    /// The largest element of each window of `[n, channels, height, width]`; ties, NaN and padding as PyTorch.
    /// - `kernel`: height and width of a window, as stride and padding.
    /// - `stride`: nil: windows lie side by side.
    public func maxPool2d(
        kernel: (height: Int, width: Int), stride: (height: Int, width: Int)? = nil,
        padding: (height: Int, width: Int) = (0, 0)
    ) throws -> Tensor {
        let (rows, columns) = Self.windows(kernel, stride ?? kernel, padding)
        let op = MaxPool(rows: rows, columns: columns)
        let shape = try pooledShape(rows, columns)
        let (x, y, indices) = (try contiguousView(), try device.empty(shape), try device.empty(shape, .i32))
        try run(op, .init(x: x, y: y, indices: indices), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            try run(MaxPoolBackward(op), .init(dy: dy, indices: indices, dx: try input!.sink()), on: node.device)
        }
    }

    /// The mean of each window of `[n, channels, height, width]`.
    /// - `countIncludesPadding`: whether padding counts as zeros (PyTorch's default), or not at all.
    public func averagePool2d(
        kernel: (height: Int, width: Int), stride: (height: Int, width: Int)? = nil,
        padding: (height: Int, width: Int) = (0, 0), countIncludesPadding: Bool = true
    ) throws -> Tensor {
        let (rows, columns) = Self.windows(kernel, stride ?? kernel, padding)
        return try averagePooled(AveragePool(rows: rows, columns: columns, countsPadding: countIncludesPadding))
    }

    /// The means of height × width windows that cover `[n, channels, height, width]` evenly, whatever its size.
    public func adaptiveAveragePool2d(height: Int, width: Int) throws -> Tensor {
        if height == 1, width == 1, rank == 4 {
            return try reshaped(shape.prefix(2) + [shape[2] * shape[3]]).mean(-1)
                .reshaped(shape.prefix(2) + [1, 1])
        }
        return try averagePooled(AveragePool(rows: .adaptive(height), columns: .adaptive(width), countsPadding: false))
    }

    private func averagePooled(_ op: AveragePool) throws -> Tensor {
        let shape = try pooledShape(op.rows, op.columns)
        let (x, y) = (try contiguousView(), try device.empty(shape))
        try run(op, .init(x: x, y: y), on: device)
        return Tensor.recorded(y, device, from: [self]) { [input = node] node, gradient in
            let dy = try node.dense(gradient)
            try run(AveragePoolBackward(op), .init(dy: dy, dx: try input!.sink()), on: node.device)
        }
    }

    private func pooledShape(_ rows: PoolWindow, _ columns: PoolWindow) throws -> Dimensions {
        guard rank == 4, let height = rows.count(of: shape[2]), let width = columns.count(of: shape[3]) else {
            throw TensorError("pooling windows \(rows) by \(columns) of a tensor of shape \(shape)")
        }
        return [shape[0], shape[1], height, width]
    }

    private static func windows(
        _ kernel: (height: Int, width: Int), _ stride: (height: Int, width: Int), _ padding: (height: Int, width: Int)
    ) -> (PoolWindow, PoolWindow) {
        (
            .regular(kernel: kernel.height, stride: stride.height, padding: padding.height),
            .regular(kernel: kernel.width, stride: stride.width, padding: padding.width)
        )
    }
}

/// Square windows.
extension Tensor {
    public func maxPool2d(kernel: Int, stride: Int? = nil, padding: Int = 0) throws -> Tensor {
        try maxPool2d(
            kernel: (kernel, kernel), stride: stride.map { ($0, $0) }, padding: (padding, padding))
    }

    public func averagePool2d(
        kernel: Int, stride: Int? = nil, padding: Int = 0, countIncludesPadding: Bool = true
    ) throws -> Tensor {
        try averagePool2d(
            kernel: (kernel, kernel), stride: stride.map { ($0, $0) }, padding: (padding, padding),
            countIncludesPadding: countIncludesPadding)
    }
}
