internal import CRows

extension Gather {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rt, ry) = (try rows(o.table, "table"), try rows(o.y, "y"))
        let (table, y) = (try o.table.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let ids = try o.ids.pointer(as: Int32.self)
        device.parallel(o.ids.count, work: o.y.count / 4) {
            device.table.pointee.gather_rows_rows($0, $1, table, rt.pitch, ids, y, ry.pitch, Int32(ry.columns))
        }
    }
}

extension ScatterAdd {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rd, rt) = (try rows(o.dy, "dy"), try rows(o.table, "table"))
        let (dy, table) = (try o.dy.pointer(as: Float.self), try o.table.pointer(as: Float.self))
        let b = (
            try o.buckets.order.pointer(as: Int32.self), try o.buckets.starts.pointer(as: Int32.self),
            try o.buckets.ids.pointer(as: Int32.self)
        )
        device.parallel(o.buckets.distinct, work: o.dy.count / 4) {
            device.table.pointee.scatter_add_buckets(
                $0, $1, dy, rd.pitch, b.0, b.1, b.2, table, rt.pitch, Int32(rt.columns))
        }
    }
}
