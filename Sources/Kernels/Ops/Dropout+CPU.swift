internal import CRows

extension Dropout {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        func drop<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, UnsafeMutablePointer<X>?, Int, Int, Int, Int, Int32, Float
            ) -> Void
        ) throws {
            let (x, y) = (try o.x.pointer(as: X.self), try o.y.view.pointer(as: X.self))
            device.parallel(o.x.count, work: o.x.count) {
                kernel(
                    $0, $1, x, y, Int(bitPattern: UInt(seed)), Int(bitPattern: UInt(stream)), firstElement, threshold,
                    o.y.mode.flag, scale)
            }
        }
        if o.x.dtype == .bf16 {
            try drop(device.table.pointee.dropout_range_bf16)
        } else {
            try drop(device.table.pointee.dropout_range)
        }
    }
}
