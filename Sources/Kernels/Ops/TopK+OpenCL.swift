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
        let count = r.rows * r.columns
        let values = View(storage: .openCL(try device.arena.allocate(count * 4, for: .workspace)), shape: [count])
        let indices = View(
            storage: .openCL(try device.arena.allocate(count * 4, for: .workspace)), shape: [count], dtype: .i32)
        try device.launchRows(
            "topk.cl", "sort_descending", rows: r.rows, columns: r.columns * 8,
            buffers + values.arguments() + indices.arguments() + [.long(r.pitch), .int(r.columns)])
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
