internal import CRows

extension Unary {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.x, o.y.view], self)
        func apply<X>(
            _ kernel: ((Int, Int, UnsafePointer<X>?, Int, UnsafeMutablePointer<X>?, Int, Int, Int32, Float) -> Void)?
        ) throws {
            let (x, y) = (try o.x.pointer(as: X.self), try o.y.view.pointer(as: X.self))
            guard let kernel else { throw operandError(name, "no such function") }
            device.parallel(e.count, work: e.count / 2) {
                kernel($0, $1, x, e.pitches[0], y, e.pitches[1], e.columns, o.y.mode.flag, function.parameter)
            }
        }
        if o.x.dtype == .bf16 {
            try apply(crows_unary_bf16_named(function.kernel))
        } else {
            try apply(crows_unary_named(function.kernel))
        }
    }
}

extension UnaryBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.x, o.dy, o.dx.view], self)
        let (dy, dx) = (try o.dy.pointer(as: Float.self), try o.dx.view.pointer(as: Float.self))
        func apply<X>(
            _ kernel: (
                (
                    Int, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, Int, UnsafeMutablePointer<Float>?, Int,
                    Int, Int32, Float
                ) -> Void
            )?
        ) throws {
            let x = try o.x.pointer(as: X.self)
            guard let kernel else { throw operandError(name, "no such function") }
            device.parallel(e.count, work: e.count / 2) {
                kernel(
                    $0, $1, x, e.pitches[0], dy, e.pitches[1], dx, e.pitches[2], e.columns, o.dx.mode.flag,
                    function.parameter)
            }
        }
        if o.x.dtype == .bf16 {
            try apply(crows_unary_backward_bf16_named(function.kernel))
        } else {
            try apply(crows_unary_backward_named(function.kernel))
        }
    }
}

extension Scale {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.x, o.y.view], self)
        func apply<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, Int, UnsafeMutablePointer<X>?, Int, Int, Int32, Float, Float
            ) -> Void
        ) throws {
            let (x, y) = (try o.x.pointer(as: X.self), try o.y.view.pointer(as: X.self))
            device.parallel(e.count, work: e.count / 4) {
                kernel($0, $1, x, e.pitches[0], y, e.pitches[1], e.columns, o.y.mode.flag, factor, 0)
            }
        }
        if o.x.dtype == .bf16 {
            try apply(device.table.pointee.affine_range_bf16)
        } else {
            try apply(device.table.pointee.affine_range)
        }
    }
}
