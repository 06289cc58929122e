extension RMSNorm {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y, "y"))
        try device.launchRows(
            "rmsnorm.cl", "rmsnorm_forward", options: o.x.activationOption, rows: rx.rows, columns: rx.columns,
            o.x.arguments() + (o.weight ?? o.rstd).arguments() + o.y.arguments() + o.rstd.arguments()
                + [
                    .long(rx.pitch), .long(ry.pitch), .int(rx.columns), .flag(o.weight != nil), .float(epsilon),
                    .float(weightOffset),
                ])
    }
}

extension RMSNormBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, rd) = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        if let output = o.dx {
            let r = try rows(output.view, "dx")
            try device.launchRows(
                "rmsnorm.cl", "rmsnorm_backward", options: o.x.activationOption, rows: rx.rows, columns: rx.columns,
                o.x.arguments() + (o.weight ?? o.rstd).arguments() + o.rstd.arguments() + o.dy.arguments()
                    + output.view.arguments()
                    + [
                        .long(rx.pitch), .long(rd.pitch), .long(r.pitch), .int(rx.columns), .flag(o.weight != nil),
                        .int(output.mode.flag), .float(weightOffset),
                    ])
        }
        guard let dWeight = o.dWeight else { return }
        let blocks = (rx.rows + Self.block - 1) / Self.block
        let partials = try device.workspace(max(1, blocks * rx.columns))
        try device.launchRows(
            "rmsnorm.cl", "rmsnorm_partials", options: o.x.activationOption, rows: blocks,
            columns: Self.block * rx.columns,
            o.x.arguments() + o.rstd.arguments() + o.dy.arguments() + partials.arguments()
                + [.long(rx.pitch), .long(rd.pitch), .long(rx.rows), .int(rx.columns)])
        try Reduce(.sum).openCL(
            sum(View(storage: partials.storage, shape: [blocks, rx.columns]), into: dWeight), on: device)
    }
}
