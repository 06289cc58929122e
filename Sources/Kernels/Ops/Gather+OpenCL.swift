extension Gather {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rt, ry) = (try rows(o.table, "table"), try rows(o.y, "y"))
        let buffers = try o.table.arguments() + o.ids.arguments() + o.y.arguments()
        guard let kernel = Self.kernel(o) else { throw operandError(name, "no kernel for these types") }
        if o.table.dtype == .i32 {
            try device.launchElements("gather.cl", kernel, count: o.ids.count, buffers + [.int(o.table.shape[0])])
        } else {
            try device.launchRows(
                "gather.cl", kernel, rows: o.ids.count, columns: ry.columns,
                buffers + [.long(rt.pitch), .long(ry.pitch), .int(ry.columns), .int(o.table.shape[0])])
        }
    }
}

extension ScatterAdd {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rd, rt) = (try rows(o.dy, "dy"), try rows(o.table, "table"))
        try device.launchRows(
            "gather.cl", "scatter_rows", rows: o.items, columns: Gather.strip,
            o.dy.arguments() + o.buckets.order.arguments() + o.buckets.ids.arguments() + o.buckets.starts.arguments()
                + o.table.arguments()
                + [
                    .long(rd.pitch), .long(rt.pitch), .int(rt.columns), .int(o.table.shape[0]), .int(Int32(-1)),
                    .flag(true),
                ])
    }
}
