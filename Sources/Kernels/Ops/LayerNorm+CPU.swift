internal import CRows

extension LayerNorm {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y, "y"))
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let (weight, bias) = (try o.weight?.pointer(as: Float.self), try o.bias?.pointer(as: Float.self))
        let (mean, rstd) = (try o.mean.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        device.parallel(rx.rows, work: o.x.count) {
            device.table.pointee.layernorm_forward_rows(
                $0, $1, x, rx.pitch, weight, bias, y, ry.pitch, mean, rstd, Int32(rx.columns), weight == nil ? 0 : 1,
                bias == nil ? 0 : 1, epsilon)
        }
    }
}

extension LayerNormBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, rd) = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        let (x, dy) = (try o.x.pointer(as: Float.self), try o.dy.pointer(as: Float.self))
        let weight = try o.weight?.pointer(as: Float.self)
        let (mean, rstd) = (try o.mean.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        let (table, columns) = (device.table, Int32(rx.columns))
        if let output = o.dx {
            let r = try rows(output.view, "dx")
            let dx = try output.view.pointer(as: Float.self)
            device.parallel(rx.rows, work: o.x.count * 2) {
                table.pointee.layernorm_backward_rows(
                    $0, $1, x, rx.pitch, weight, mean, rstd, dy, rd.pitch, dx, r.pitch, columns, weight == nil ? 0 : 1,
                    output.mode.flag)
            }
        }
        guard o.dWeight != nil || o.dBias != nil else { return }
        let blocks = (rx.rows + Self.block - 1) / Self.block
        let space = try device.arena.allocate(blocks * 2 * rx.columns * 4, for: .workspace)
        let partials = space.pointer.assumingMemoryBound(to: Float.self)
        device.parallel(blocks, work: o.x.count) {
            table.pointee.layernorm_partials_blocks(
                $0, $1, x, rx.pitch, mean, rstd, dy, rd.pitch, partials, rx.rows, columns)
        }
        // Each output has a mode of its own: two calls.
        for (output, isWeight) in [(o.dWeight, true), (o.dBias, false)] {
            guard let output else { continue }
            let y = try output.view.pointer(as: Float.self)
            device.alone {
                table.pointee.layernorm_sums_range(
                    0, rx.columns, partials, y, y, Int32(blocks), columns, isWeight ? 1 : 0, isWeight ? 0 : 1,
                    output.mode.flag)
            }
        }
    }
}
