extension TopK {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let r = try rows(o.x, "x")
        let k = o.values.shape.last ?? 1
        let buffers = try o.x.arguments() + o.values.arguments() + o.indices.arguments()
        guard Self.sorts(k: k, columns: r.columns) else {
            return try device.launchRows(
                "topk.cl", "topk", rows: r.rows, columns: r.columns,
                buffers + [.long(r.pitch), .int(r.columns), .int(k)])
        }
        let length = r.columns * Self.sortWork
        if device.family != .vector, r.columns <= Self.mostRanked {
            return try device.launchRows(
                "topk.cl", "sort_by_rank", rows: r.rows, columns: length,
                buffers + [.long(r.pitch), .int(r.columns)])
        }
        // What a range of rows uses in turn for `vector`; `simt` sorts all rows at once.
        let size =
            device.family == .vector
            ? device.rowRanges(r.rows, columns: length).items * Self.rangeWork(columns: r.columns)
            : r.rows * 2 * r.columns
        let work = try device.workspace(size, .i32)
        try device.launchRows(
            "topk.cl", "sort_descending", rows: r.rows, columns: length,
            buffers + work.arguments() + [.long(r.pitch), .int(r.columns)])
    }
}

extension ScatterColumns {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let k = o.dy.shape.last ?? 1
        let r = try rows(o.dx.view, "dx")
        try device.launchRows(
            "topk.cl", "topk_backward", rows: r.rows, columns: r.columns,
            o.dy.arguments() + o.indices.arguments() + o.dx.view.arguments()
                + [.long(r.pitch), .int(r.columns), .int(k), .int(o.dx.mode.flag)])
    }
}
