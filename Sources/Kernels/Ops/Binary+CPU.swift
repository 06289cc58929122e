internal import CRows

extension Binary {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let shape = try Broadcast([o.a, o.b], to: o.y.view.shape, self)
        let (sizes, sa, sb) = (shape.paddedSizes, shape.padded(0), shape.padded(1))
        func combine<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, UnsafePointer<X>?, UnsafeMutablePointer<X>?, UnsafePointer<Int>?,
                UnsafePointer<Int>?, UnsafePointer<Int>?, Int32
            ) -> Void
        ) throws {
            let (a, b, y) = (
                try o.a.pointer(as: X.self), try o.b.pointer(as: X.self), try o.y.view.pointer(as: X.self)
            )
            device.parallel(shape.count, work: shape.count / 4) {
                kernel($0, $1, a, b, y, sizes, sa, sb, o.y.mode.flag)
            }
        }
        let table = device.table
        if o.a.dtype == .bf16 {
            switch operation {
            case .add: try combine(table.pointee.binary_add_range_bf16)
            case .subtract: try combine(table.pointee.binary_sub_range_bf16)
            case .multiply: try combine(table.pointee.binary_mul_range_bf16)
            case .divide: try combine(table.pointee.binary_div_range_bf16)
            }
        } else {
            switch operation {
            case .add: try combine(table.pointee.binary_add_range)
            case .subtract: try combine(table.pointee.binary_sub_range)
            case .multiply: try combine(table.pointee.binary_mul_range)
            case .divide: try combine(table.pointee.binary_div_range)
            }
        }
    }
}

extension DivideBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let shape = try Broadcast([o.a, o.b], to: o.dy.shape, self)
        let (dy, db) = (try o.dy.pointer(as: Float.self), try o.db.view.pointer(as: Float.self))
        let (sizes, sa, sb) = (shape.paddedSizes, shape.padded(0), shape.padded(1))
        func differentiate<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, UnsafePointer<X>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?,
                UnsafePointer<Int>?, UnsafePointer<Int>?, UnsafePointer<Int>?, Int32
            ) -> Void
        ) throws {
            let (a, b) = (try o.a.pointer(as: X.self), try o.b.pointer(as: X.self))
            device.parallel(shape.count, work: shape.count / 4) {
                kernel($0, $1, a, b, dy, db, sizes, sa, sb, o.db.mode.flag)
            }
        }
        if o.a.dtype == .bf16 {
            try differentiate(device.table.pointee.binary_div_backward_b_range_bf16)
        } else {
            try differentiate(device.table.pointee.binary_div_backward_b_range)
        }
    }
}
