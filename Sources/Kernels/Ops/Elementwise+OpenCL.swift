extension Unary {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let e = try MatchedElements([o.x, o.y.view], self)
        try device.launchElements(
            "elementwise.cl", "unary_" + function.kernel, options: o.x.activationOption, count: e.count,
            o.x.arguments() + o.y.view.arguments()
                + [
                    .long(e.columns), .long(e.pitches[0]), .long(e.pitches[1]), .int(o.y.mode.flag),
                    .float(function.parameter),
                ])
    }
}

extension UnaryBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let e = try MatchedElements([o.x, o.dy, o.dx.view], self)
        try device.launchElements(
            "elementwise.cl", "unary_" + function.kernel + "_backward", options: o.x.activationOption, count: e.count,
            o.x.arguments() + o.dy.arguments() + o.dx.view.arguments()
                + [.long(e.columns)] + e.pitches.map { .long($0) } + [.int(o.dx.mode.flag), .float(function.parameter)])
    }
}

extension Scale {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let e = try MatchedElements([o.x, o.y.view], self)
        try device.launchElements(
            "elementwise.cl", "affine", options: o.x.activationOption, count: e.count,
            o.x.arguments() + o.y.view.arguments()
                + [
                    .long(e.columns), .long(e.pitches[0]), .long(e.pitches[1]), .int(o.y.mode.flag), .float(factor),
                    .float(0),
                ])
    }
}
