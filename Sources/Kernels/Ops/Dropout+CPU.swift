internal import CRows

extension Dropout {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (x, y): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
            try o.x.pointer(), try o.y.view.pointer()
        )
        device.parallel(o.x.count, work: o.x.count) {
            device.table.pointee.dropout_range(
                $0, $1, x, y, Int(bitPattern: UInt(seed)), Int(bitPattern: UInt(stream)), firstElement, threshold,
                o.y.mode.flag, scale)
        }
    }
}
