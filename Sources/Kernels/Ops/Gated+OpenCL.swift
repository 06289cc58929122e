extension Gated {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let views = [o.gate, o.up, o.y.view]
        let e = try MatchedElements(views, self)
        try device.launchElements(
            "elementwise.cl", kind.kernel, options: o.gate.activationOption, count: e.count,
            views.flatMap { try $0.arguments() } + [.long(e.columns)] + e.pitches.map { .long($0) } + [
                .int(o.y.mode.flag)
            ])
    }
}

extension GatedBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let e = try MatchedElements(o.all, self)
        try device.launchElements(
            "elementwise.cl", kind.kernel + "_backward", options: o.gate.activationOption, count: e.count,
            o.all.flatMap { try $0.arguments() } + [.long(e.columns)] + e.pitches.map { .long($0) }
                + [.int(o.dGate.mode.flag)])
    }
}
