internal import CRows

extension RotaryEmbedding {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y.view, "y"))
        let ids = try o.positions.pointer(as: Int32.self)
        let (cosines, sines) = (try o.cosines.pointer(as: Float.self), try o.sines.pointer(as: Float.self))
        func turn<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Int32>?, UnsafePointer<Float>?, UnsafePointer<Float>?,
                UnsafeMutablePointer<X>?, Int, Int32, Int32, Int32, Int32, Float, Int32
            ) -> Void
        ) throws {
            let (x, y) = (try o.x.pointer(as: X.self), try o.y.view.pointer(as: X.self))
            device.parallel(rx.rows, work: o.x.count) {
                kernel(
                    $0, $1, x, rx.pitch, ids, cosines, sines, y, ry.pitch, Int32(heads), Int32(rx.columns / heads),
                    Int32(o.cosines.shape[0]), pairing == .interleaved ? 1 : 0, inverse ? -1 : 1, o.y.mode.flag)
            }
        }
        if o.x.dtype == .bf16 {
            try turn(device.table.pointee.rope_rows_bf16)
        } else {
            try turn(device.table.pointee.rope_rows)
        }
    }
}
