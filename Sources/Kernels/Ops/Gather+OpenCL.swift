extension Gather {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rt, ry) = (try rows(o.table, "table"), try rows(o.y, "y"))
        try device.launchRows(
            "gather.cl", "gather_rows", rows: o.ids.count, columns: ry.columns,
            o.table.arguments() + o.ids.arguments() + o.y.arguments()
                + [.long(rt.pitch), .long(ry.pitch), .int(ry.columns)])
    }
}

extension ScatterAdd {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rd, rt) = (try rows(o.dy, "dy"), try rows(o.table, "table"))
        try device.launchRows(
            "gather.cl", "scatter_add", rows: o.buckets.distinct, columns: rt.columns,
            o.dy.arguments() + o.buckets.order.arguments() + o.buckets.starts.arguments() + o.buckets.ids.arguments()
                + o.table.arguments() + [.long(rd.pitch), .long(rt.pitch), .int(rt.columns)])
    }
}
