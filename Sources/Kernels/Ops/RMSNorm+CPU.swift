internal import CRows

extension RMSNorm {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y, "y"))
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let (weight, rstd) = (try o.weight?.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        device.parallel(rx.rows, work: o.x.count) {
            device.table.pointee.rmsnorm_forward_rows(
                $0, $1, x, rx.pitch, weight, y, ry.pitch, rstd, Int32(rx.columns), weight == nil ? 0 : 1, epsilon)
        }
    }
}

extension RMSNormBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, rd) = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        let (x, dy) = (try o.x.pointer(as: Float.self), try o.dy.pointer(as: Float.self))
        let (weight, rstd) = (try o.weight?.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        let (table, columns) = (device.table, Int32(rx.columns))
        if let output = o.dx {
            let r = try rows(output.view, "dx")
            let dx = try output.view.pointer(as: Float.self)
            device.parallel(rx.rows, work: o.x.count * 2) {
                table.pointee.rmsnorm_backward_rows(
                    $0, $1, x, rx.pitch, weight, rstd, dy, rd.pitch, dx, r.pitch, columns, weight == nil ? 0 : 1,
                    output.mode.flag)
            }
        }
        guard let dWeight = o.dWeight else { return }
        let blocks = (rx.rows + Self.block - 1) / Self.block
        let space = try device.arena.allocate(max(1, blocks * rx.columns) * 4, for: .workspace)
        let partials = space.pointer.assumingMemoryBound(to: Float.self)
        device.parallel(blocks, work: o.x.count) {
            table.pointee.rmsnorm_partials_blocks($0, $1, x, rx.pitch, rstd, dy, rd.pitch, partials, rx.rows, columns)
        }
        try Reduce(.sum).cpu(sum(View(storage: .host(space), shape: [blocks, rx.columns]), into: dWeight), on: device)
    }
}
