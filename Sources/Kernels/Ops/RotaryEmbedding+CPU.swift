internal import CRows

extension RotaryEmbedding {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y.view, "y"))
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.view.pointer(as: Float.self))
        let ids = try o.positions.pointer(as: Int32.self)
        let (cosines, sines) = (try o.cosines.pointer(as: Float.self), try o.sines.pointer(as: Float.self))
        device.parallel(rx.rows, work: o.x.count) {
            device.table.pointee.rope_rows(
                $0, $1, x, rx.pitch, ids, cosines, sines, y, ry.pitch, Int32(heads), Int32(rx.columns / heads),
                Int32(o.cosines.shape[0]), pairing == .interleaved ? 1 : 0, inverse ? -1 : 1, o.y.mode.flag)
        }
    }
}
