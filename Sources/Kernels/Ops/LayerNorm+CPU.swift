internal import CRows

extension LayerNorm {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y, "y"))
        let (weight, bias) = (try o.weight?.pointer(as: Float.self), try o.bias?.pointer(as: Float.self))
        let (mean, rstd) = (try o.mean.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        func normalize<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, UnsafePointer<Float>?,
                UnsafeMutablePointer<X>?, Int, UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?, Int32, Int32,
                Int32, Float
            ) -> Void
        ) throws {
            let (x, y) = (try o.x.pointer(as: X.self), try o.y.pointer(as: X.self))
            device.parallel(rx.rows, work: o.x.count) {
                kernel(
                    $0, $1, x, rx.pitch, weight, bias, y, ry.pitch, mean, rstd, Int32(rx.columns),
                    weight == nil ? 0 : 1, bias == nil ? 0 : 1, epsilon)
            }
        }
        if o.x.dtype == .bf16 {
            try normalize(device.table.pointee.layernorm_forward_rows_bf16)
        } else {
            try normalize(device.table.pointee.layernorm_forward_rows)
        }
    }
}

extension LayerNormBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let table = device.table
        if o.x.dtype == .bf16 {
            try run(o, table.pointee.layernorm_backward_rows_bf16, table.pointee.layernorm_partials_blocks_bf16, device)
        } else {
            try run(o, table.pointee.layernorm_backward_rows, table.pointee.layernorm_partials_blocks, device)
        }
    }

    private func run<X>(
        _ o: Operands,
        _ backward: (
            Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafePointer<Float>?,
            UnsafePointer<Float>?, Int, UnsafeMutablePointer<Float>?, Int, Int32, Int32, Int32
        ) -> Void,
        _ partialSums: (
            Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafePointer<Float>?, Int,
            UnsafeMutablePointer<Float>?, Int, Int32
        ) -> Void,
        _ device: CPUDevice
    ) throws {
        let (rx, rd) = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        let (x, dy) = (try o.x.pointer(as: X.self), try o.dy.pointer(as: Float.self))
        let weight = try o.weight?.pointer(as: Float.self)
        let (mean, rstd) = (try o.mean.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        let (table, columns) = (device.table, Int32(rx.columns))
        if let output = o.dx {
            let r = try rows(output.view, "dx")
            let dx = try output.view.pointer(as: Float.self)
            device.parallel(rx.rows, work: o.x.count * 2) {
                backward(
                    $0, $1, x, rx.pitch, weight, mean, rstd, dy, rd.pitch, dx, r.pitch, columns, weight == nil ? 0 : 1,
                    output.mode.flag)
            }
        }
        guard o.dWeight != nil || o.dBias != nil else { return }
        let blocks = (rx.rows + Self.block - 1) / Self.block
        let space = try device.arena.allocate(blocks * 2 * rx.columns * 4, for: .workspace)
        let partials = space.pointer.assumingMemoryBound(to: Float.self)
        device.parallel(blocks, work: o.x.count) {
            partialSums($0, $1, x, rx.pitch, mean, rstd, dy, rd.pitch, partials, rx.rows, columns)
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
