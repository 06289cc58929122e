internal import CRows

extension TopK {
    /// Above this share of the columns a full sort is cheaper than insertion.
    static func sorts(k: Int, columns: Int) -> Bool { k == columns && columns > 32 }

    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = try rows(o.x, "x")
        let k = o.values.shape.last ?? 1
        let (x, values, indices) = (
            try o.x.pointer(as: Float.self), try o.values.pointer(as: Float.self), try o.indices.pointer(as: Int32.self)
        )
        let table = device.table
        guard Self.sorts(k: k, columns: r.columns) else {
            return device.parallel(r.rows, work: o.x.count * 4) {
                table.pointee.topk_rows($0, $1, x, r.pitch, values, indices, Int32(r.columns), Int32(k))
            }
        }
        let (a, b) = (
            try device.arena.allocate(r.rows * r.columns * 4, for: .workspace),
            try device.arena.allocate(r.rows * r.columns * 4, for: .workspace)
        )
        let (workValues, workIndices) = (
            a.pointer.assumingMemoryBound(to: Float.self), b.pointer.assumingMemoryBound(to: Int32.self)
        )
        device.parallel(r.rows, work: o.x.count * 8) {
            table.pointee.sort_descending_rows(
                $0, $1, x, r.pitch, values, indices, workValues, workIndices, Int32(r.columns))
        }
    }
}

extension ScatterColumns {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let k = o.dy.shape.last ?? 1
        let r = try rows(o.dx.view, "dx")
        let (dy, indices, dx) = (
            try o.dy.pointer(as: Float.self), try o.indices.pointer(as: Int32.self),
            try o.dx.view.pointer(as: Float.self)
        )
        device.parallel(r.rows, work: o.dx.view.count / 2) {
            device.table.pointee.topk_backward_rows(
                $0, $1, dy, indices, dx, r.pitch, Int32(r.columns), Int32(k), o.dx.mode.flag)
        }
    }
}
