internal import CRows

extension Binary {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let shape = try Broadcast([o.a, o.b], to: o.y.view.shape, self)
        let (a, b, y): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) =
            (try o.a.pointer(), try o.b.pointer(), try o.y.view.pointer())
        let table = device.table
        let kernel: crows_binary =
            switch operation {
            case .add: table.pointee.binary_add_range
            case .subtract: table.pointee.binary_sub_range
            case .multiply: table.pointee.binary_mul_range
            case .divide: table.pointee.binary_div_range
            }
        let (sizes, sa, sb) = (shape.paddedSizes, shape.padded(0), shape.padded(1))
        device.parallel(shape.count, work: shape.count / 4) {
            kernel($0, $1, a, b, y, sizes, sa, sb, o.y.mode.flag)
        }
    }
}

extension DivideBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let shape = try Broadcast([o.a, o.b], to: o.dy.shape, self)
        let (a, b): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (try o.a.pointer(), try o.b.pointer())
        let (dy, db): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
            try o.dy.pointer(), try o.db.view.pointer()
        )
        let (sizes, sa, sb) = (shape.paddedSizes, shape.padded(0), shape.padded(1))
        device.parallel(shape.count, work: shape.count / 4) {
            device.table.pointee.binary_div_backward_b_range($0, $1, a, b, dy, db, sizes, sa, sb, o.db.mode.flag)
        }
    }
}
