extension RotaryEmbedding {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y.view, "y"))
        let arguments =
            try o.x.arguments() + o.positions.arguments() + o.cosines.arguments() + o.sines.arguments()
            + o.y.view.arguments()
            + [
                .long(rx.pitch), .long(ry.pitch), .int(heads), .int(rx.columns / heads), .int(o.cosines.shape[0]),
                .flag(pairing == .interleaved), .float(inverse ? -1 : 1), .int(o.y.mode.flag),
            ]
        switch device.family {
        case .vector:
            try device.launchRows(
                "rope.cl", "rope", options: o.x.activationOption, rows: rx.rows, columns: rx.columns, arguments)
        case .simt, .nvptx:
            try device.launchElements(
                "rope.cl", "rope", options: o.x.activationOption, count: rx.rows * rx.columns / 2, arguments)
        }
    }
}
