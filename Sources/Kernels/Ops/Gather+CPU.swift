internal import CRows

extension Gather {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rt, ry) = (try rows(o.table, "table"), try rows(o.y, "y"))
        let ids = try o.ids.pointer(as: Int32.self)
        let n = Int32(o.table.shape[0])
        if o.table.dtype == .i32 {
            let (table, y) = (try o.table.pointer(as: Int32.self), try o.y.pointer(as: Int32.self))
            return device.alone { device.table.pointee.gather_ints_range(0, o.ids.count, table, ids, y, n) }
        }
        let (rows, columns) = (device.table.pointee, Int32(ry.columns))
        func gather<T, Y>(
            _ kernel: (
                Int, Int, UnsafePointer<T>, Int, UnsafePointer<Int32>, UnsafeMutablePointer<Y>, Int, Int32, Int32
            )
                -> Void
        ) throws {
            let (table, y) = (try o.table.pointer(as: T.self), try o.y.pointer(as: Y.self))
            device.parallel(o.ids.count, work: o.y.count / 4) {
                kernel($0, $1, table, rt.pitch, ids, y, ry.pitch, columns, n)
            }
        }
        switch (o.table.dtype, o.y.dtype) {
        case (.bf16, .bf16): try gather { rows.gather_rows_bf16_bf16_rows($0, $1, $2, $3, $4, $5, $6, $7, $8) }
        case (.bf16, _): try gather { rows.gather_rows_bf16_f32_rows($0, $1, $2, $3, $4, $5, $6, $7, $8) }
        default: try gather { rows.gather_rows_rows($0, $1, $2, $3, $4, $5, $6, $7, $8) }
        }
    }
}

extension ScatterAdd {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rd, rt) = (try rows(o.dy, "dy"), try rows(o.table, "table"))
        let (dy, table) = (try o.dy.pointer(as: Float.self), try o.table.pointer(as: Float.self))
        let (order, starts, ids) = (
            try o.buckets.order.pointer(as: Int32.self), try o.buckets.starts.pointer(as: Int32.self),
            try o.buckets.ids.pointer(as: Int32.self)
        )
        device.parallel(o.items, work: o.dy.count / 4) {
            device.table.pointee.scatter_rows_items(
                $0, $1, dy, rd.pitch, order, ids, starts, table, rt.pitch, Int32(rt.columns), Int32(o.table.shape[0]),
                -1, 1)
        }
    }
}
