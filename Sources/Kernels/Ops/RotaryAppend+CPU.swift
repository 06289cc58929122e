internal import CRows

extension RotaryAppend {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, rq) = (try rows(o.x, "x"), try rows(o.queries, "queries"))
        let ids = try o.positions.pointer(as: Int32.self)
        let (cosines, sines) = (try o.cosines.pointer(as: Float.self), try o.sines.pointer(as: Float.self))
        let width = rx.columns / (heads + 2 * keyValueHeads)
        func turn<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Int32>?, UnsafePointer<Float>?, UnsafePointer<Float>?,
                UnsafeMutablePointer<X>?, Int, UnsafeMutablePointer<X>?, UnsafeMutablePointer<X>?, Int, Int, Int32,
                Int32,
                Int32, Int32, Int32, Int32
            ) -> Void
        ) throws {
            let (x, queries) = (try o.x.pointer(as: X.self), try o.queries.pointer(as: X.self))
            let (keys, values) = (try o.keys.pointer(as: X.self), try o.values.pointer(as: X.self))
            device.parallel(rx.rows, work: o.x.count) {
                kernel(
                    $0, $1, x, rx.pitch, ids, cosines, sines, queries, rq.pitch, keys, values, o.keys.strides[0],
                    o.keys.strides[1], Int32(o.keys.shape[1]), Int32(heads), Int32(keyValueHeads), Int32(width),
                    Int32(o.cosines.shape[0]), pairing == .interleaved ? 1 : 0)
            }
        }
        if o.x.dtype == .bf16 {
            try turn(device.table.pointee.rope_append_rows_bf16)
        } else {
            try turn(device.table.pointee.rope_append_rows)
        }
    }
}
