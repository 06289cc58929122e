extension Softmax {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y.view, "y"))
        try device.launchTeams(
            "softmax.cl", log ? "log_softmax_forward" : "softmax_forward", rows: rx.rows, columns: rx.columns,
            o.x.arguments() + o.y.view.arguments()
                + [.long(rx.pitch), .long(ry.pitch), .int(rx.columns), .float(temperature)])
    }
}

extension SoftmaxBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let r = (try rows(o.y, "y"), try rows(o.dy, "dy"), try rows(o.dx.view, "dx"))
        try device.launchTeams(
            "softmax.cl", log ? "log_softmax_backward" : "softmax_backward", rows: r.0.rows, columns: r.0.columns,
            o.y.arguments() + o.dy.arguments() + o.dx.view.arguments()
                + [
                    .long(r.0.pitch), .long(r.1.pitch), .long(r.2.pitch), .int(r.0.columns), .int(o.dx.mode.flag),
                    .float(temperature),
                ])
    }
}
