internal import CRows

extension Softmax {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y.view, "y"))
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.view.pointer(as: Float.self))
        let table = device.table
        let kernel = log ? table.pointee.log_softmax_forward_rows : table.pointee.softmax_forward_rows
        device.parallel(rx.rows, work: o.x.count * 2) {
            kernel?($0, $1, x, rx.pitch, y, ry.pitch, Int32(rx.columns), temperature)
        }
    }
}

extension SoftmaxBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = (try rows(o.y, "y"), try rows(o.dy, "dy"), try rows(o.dx.view, "dx"))
        let p = (
            try o.y.pointer(as: Float.self), try o.dy.pointer(as: Float.self), try o.dx.view.pointer(as: Float.self)
        )
        let table = device.table
        let kernel = log ? table.pointee.log_softmax_backward_rows : table.pointee.softmax_backward_rows
        device.parallel(r.0.rows, work: o.y.count) {
            kernel?(
                $0, $1, p.0, r.0.pitch, p.1, r.1.pitch, p.2, r.2.pitch, Int32(r.0.columns), o.dx.mode.flag, temperature)
        }
    }
}
