internal import CRows

extension Unary {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.x, o.y.view], self)
        let (x, y): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
            try o.x.pointer(), try o.y.view.pointer()
        )
        guard let kernel = crows_unary_named(function.kernel) else { throw operandError(name, "no such function") }
        device.parallel(e.count, work: e.count / 2) {
            kernel($0, $1, x, e.pitches[0], y, e.pitches[1], e.columns, o.y.mode.flag, function.parameter)
        }
    }
}

extension UnaryBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.x, o.dy, o.dx.view], self)
        let (x, dy, dx): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) =
            (try o.x.pointer(), try o.dy.pointer(), try o.dx.view.pointer())
        guard let kernel = crows_unary_backward_named(function.kernel) else {
            throw operandError(name, "no such function")
        }
        device.parallel(e.count, work: e.count / 2) {
            kernel(
                $0, $1, x, e.pitches[0], dy, e.pitches[1], dx, e.pitches[2], e.columns, o.dx.mode.flag,
                function.parameter)
        }
    }
}

extension Scale {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.x, o.y.view], self)
        let (x, y): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
            try o.x.pointer(), try o.y.view.pointer()
        )
        device.parallel(e.count, work: e.count / 4) {
            device.table.pointee.affine_range(
                $0, $1, x, e.pitches[0], y, e.pitches[1], e.columns, o.y.mode.flag, factor, 0)
        }
    }
}
