import RetortKernels

extension Tensor {
    /// Columns of a table in an order given: `[rows, columns]` → `[rows, ids]`.
    public func gatherColumns(_ ids: [Int32]) throws -> Tensor {
        guard rank == 2 else { throw TensorError("columns of shape \(shape)") }
        // A reshape of what is not adjacent is a copy on the tape.
        let (rows, columns) = (shape[0], shape[1])
        return try transposed(0, 1).reshaped([columns, rows]).gatherRows(ids, shape: [ids.count]).transposed(0, 1)
            .reshaped([rows, ids.count])
    }

    /// Rows of a table: table `[n, columns]`, ids int32 `[...]` → `[..., columns]`. Rows of `paddingIndex` get no gradient.
    ///
    /// - `hostIDs`: the same ids on the host; backward needs them sorted to add in a fixed order.
    /// - `dtype`: what the rows are stored as; nil: as the table is.
    public func gatherRows(
        _ hostIDs: [Int32], shape idShape: Dimensions, paddingIndex: Int32? = nil, storedAs dtype: DType? = nil
    ) throws -> Tensor {
        guard rank == 2, hostIDs.count == idShape.product else {
            throw TensorError("gather \(hostIDs.count) rows as \(idShape) from shape \(shape)")
        }
        if let wrong = hostIDs.first(where: { $0 < 0 || Int($0) >= shape[0] }) {
            throw TensorError("row \(wrong) of a table of \(shape[0]) rows")
        }
        let ids = try device.view(hostIDs, [hostIDs.count], .i32)
        let y = try device.empty([hostIDs.count, shape[1]], self.dtype == .f32 ? .f32 : dtype ?? self.dtype)
        try run(Gather(), .init(table: view, ids: ids, y: y), on: device)
        let kept = try device.stored(y, as: dtype ?? self.dtype)
        return Tensor.recorded(kept.reshaped(idShape + [shape[1]]), device, from: [self]) {
            [input = node] node, gradient in
            let dy = try node.dense(gradient).reshaped(y.shape)
            let buckets = try IDBuckets(hostIDs, paddingIndex: paddingIndex, on: node.device)
            let sink = try input!.sink()
            if sink.mode == .write { try run(Fill(0), .init(y: sink.view), on: node.device) }
            try run(ScatterAdd(), .init(dy: dy, buckets: buckets, table: sink.view), on: node.device)
        }
    }
}
