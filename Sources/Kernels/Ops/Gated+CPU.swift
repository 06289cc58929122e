internal import CRows

extension Gated {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements([o.gate, o.up, o.y.view], self)
        let p = try [o.gate, o.up, o.y.view].map { try $0.pointer(as: Float.self) }
        let table = device.table
        let kernel = kind == .swiglu ? table.pointee.swiglu_range : table.pointee.geglu_tanh_range
        device.parallel(e.count, work: e.count) {
            kernel?($0, $1, p[0], e.pitches[0], p[1], e.pitches[1], p[2], e.pitches[2], e.columns, o.y.mode.flag)
        }
    }
}

extension GatedBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let e = try MatchedElements(o.all, self)
        let p = try o.all.map { try $0.pointer(as: Float.self) }
        let table = device.table
        let kernel = kind == .swiglu ? table.pointee.swiglu_backward_range : table.pointee.geglu_tanh_backward_range
        device.parallel(e.count, work: e.count) {
            kernel?(
                $0, $1, p[0], e.pitches[0], p[1], e.pitches[1], p[2], e.pitches[2], p[3], e.pitches[3], p[4],
                e.pitches[4],
                e.columns, o.dGate.mode.flag)
        }
    }
}
