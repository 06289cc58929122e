internal import CRows

extension RMSNorm {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y, "y"))
        let (weight, rstd) = (try o.weight?.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        func normalize<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, UnsafeMutablePointer<X>?, Int,
                UnsafeMutablePointer<Float>?, Int32, Int32, Float, Float
            ) -> Void
        ) throws {
            let (x, y) = (try o.x.pointer(as: X.self), try o.y.pointer(as: X.self))
            device.parallel(rx.rows, work: o.x.count) {
                kernel(
                    $0, $1, x, rx.pitch, weight, y, ry.pitch, rstd, Int32(rx.columns), weight == nil ? 0 : 1, epsilon,
                    weightOffset)
            }
        }
        if o.x.dtype == .bf16 {
            try normalize(device.table.pointee.rmsnorm_forward_rows_bf16)
        } else {
            try normalize(device.table.pointee.rmsnorm_forward_rows)
        }
    }
}

extension RMSNormBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let table = device.table
        if o.x.dtype == .bf16 {
            try run(o, table.pointee.rmsnorm_backward_rows_bf16, table.pointee.rmsnorm_partials_blocks_bf16, device)
        } else {
            try run(o, table.pointee.rmsnorm_backward_rows, table.pointee.rmsnorm_partials_blocks, device)
        }
    }

    private func run<X>(
        _ o: Operands,
        _ backward: (
            Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafePointer<Float>?, Int,
            UnsafeMutablePointer<Float>?, Int, Int32, Int32, Int32, Float
        ) -> Void,
        _ partialSums: (
            Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, UnsafePointer<Float>?, Int,
            UnsafeMutablePointer<Float>?, Int, Int32
        ) -> Void,
        _ device: CPUDevice
    ) throws {
        let (rx, rd) = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        let (x, dy) = (try o.x.pointer(as: X.self), try o.dy.pointer(as: Float.self))
        let (weight, rstd) = (try o.weight?.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        let columns = Int32(rx.columns)
        if let output = o.dx {
            let r = try rows(output.view, "dx")
            let dx = try output.view.pointer(as: Float.self)
            device.parallel(rx.rows, work: o.x.count * 2) {
                backward(
                    $0, $1, x, rx.pitch, weight, rstd, dy, rd.pitch, dx, r.pitch, columns, weight == nil ? 0 : 1,
                    output.mode.flag, weightOffset)
            }
        }
        guard let dWeight = o.dWeight else { return }
        let blocks = (rx.rows + Self.block - 1) / Self.block
        let space = try device.arena.allocate(max(1, blocks * rx.columns) * 4, for: .workspace)
        let partials = space.pointer.assumingMemoryBound(to: Float.self)
        device.parallel(blocks, work: o.x.count) {
            partialSums($0, $1, x, rx.pitch, rstd, dy, rd.pitch, partials, rx.rows, columns)
        }
        try Reduce(.sum).cpu(sum(View(storage: .host(space), shape: [blocks, rx.columns]), into: dWeight), on: device)
    }
}
