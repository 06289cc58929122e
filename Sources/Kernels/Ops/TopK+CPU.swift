internal import CRows

extension TopK {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = try rows(o.x, "x")
        let k = o.values.shape.last ?? 1
        let table = device.table
        guard Self.sorts(k: k, columns: r.columns) else {
            let (x, values, indices) = (
                try o.x.pointer(as: Float.self), try o.values.pointer(as: Float.self),
                try o.indices.pointer(as: Int32.self)
            )
            return device.parallel(r.rows, work: o.x.count * 4) {
                table.pointee.topk_rows($0, $1, x, r.pitch, values, indices, Int32(r.columns), Int32(k))
            }
        }
        let (x, values, indices) = (
            try o.x.pointer(as: UInt32.self), try o.values.pointer(as: UInt32.self),
            try o.indices.pointer(as: Int32.self)
        )
        let size = Self.rangeWork(columns: r.columns)
        let block = try device.arena.allocate(min(r.rows, device.threads) * size * 4, for: .workspace)
        let work = block.pointer.assumingMemoryBound(to: UInt32.self)
        device.parallelParts(r.rows, work: o.x.count * Self.sortWork) { part, begin, end in
            table.pointee.sort_descending_rows(
                begin, end, x, r.pitch, values, indices, work + part * size, Int32(r.columns))
        }
        withExtendedLifetime(block) {}
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
