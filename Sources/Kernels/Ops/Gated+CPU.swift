internal import CRows

extension Gated {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.gate, o.up, o.y.view], self)
        func gate<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, Int, UnsafePointer<X>?, Int, UnsafeMutablePointer<X>?, Int, Int, Int32
            ) -> Void
        ) throws {
            let (gate, up, y) = (
                try o.gate.pointer(as: X.self), try o.up.pointer(as: X.self), try o.y.view.pointer(as: X.self)
            )
            device.parallel(e.count, work: e.count) {
                kernel($0, $1, gate, e.pitches[0], up, e.pitches[1], y, e.pitches[2], e.columns, o.y.mode.flag)
            }
        }
        let table = device.table
        switch (kind, o.gate.dtype) {
        case (.swiglu, .bf16): try gate(table.pointee.swiglu_range_bf16)
        case (.swiglu, _): try gate(table.pointee.swiglu_range)
        case (.gegluTanh, .bf16): try gate(table.pointee.geglu_tanh_range_bf16)
        case (.gegluTanh, _): try gate(table.pointee.geglu_tanh_range)
        }
    }
}

extension GatedBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements(o.all, self)
        let (dy, dGate, dUp) = (
            try o.dy.pointer(as: Float.self), try o.dGate.view.pointer(as: Float.self),
            try o.dUp.view.pointer(as: Float.self)
        )
        func differentiate<X>(
            _ kernel: (
                Int, Int, UnsafePointer<X>?, Int, UnsafePointer<X>?, Int, UnsafePointer<Float>?, Int,
                UnsafeMutablePointer<Float>?, Int, UnsafeMutablePointer<Float>?, Int, Int, Int32
            ) -> Void
        ) throws {
            let (gate, up) = (try o.gate.pointer(as: X.self), try o.up.pointer(as: X.self))
            device.parallel(e.count, work: e.count) {
                kernel(
                    $0, $1, gate, e.pitches[0], up, e.pitches[1], dy, e.pitches[2], dGate, e.pitches[3], dUp,
                    e.pitches[4], e.columns, o.dGate.mode.flag)
            }
        }
        let table = device.table
        switch (kind, o.gate.dtype) {
        case (.swiglu, .bf16): try differentiate(table.pointee.swiglu_backward_range_bf16)
        case (.swiglu, _): try differentiate(table.pointee.swiglu_backward_range)
        case (.gegluTanh, .bf16): try differentiate(table.pointee.geglu_tanh_backward_range_bf16)
        case (.gegluTanh, _): try differentiate(table.pointee.geglu_tanh_backward_range)
        }
    }
}
