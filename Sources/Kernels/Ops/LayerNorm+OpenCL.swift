extension LayerNorm {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, ry) = (try rows(o.x, "x"), try rows(o.y, "y"))
        try device.launchRows(
            "layernorm.cl", "layernorm_forward", options: o.x.activationOption, rows: rx.rows, columns: rx.columns,
            o.x.arguments() + (o.weight ?? o.mean).arguments() + (o.bias ?? o.mean).arguments() + o.y.arguments()
                + o.mean.arguments() + o.rstd.arguments()
                + [
                    .long(rx.pitch), .long(ry.pitch), .int(rx.columns), .flag(o.weight != nil), .flag(o.bias != nil),
                    .float(epsilon),
                ])
    }
}

extension LayerNormBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, rd) = (try rows(o.x, "x"), try rows(o.dy, "dy"))
        if let output = o.dx {
            let r = try rows(output.view, "dx")
            try device.launchRows(
                "layernorm.cl", "layernorm_backward", options: o.x.activationOption, rows: rx.rows, columns: rx.columns,
                o.x.arguments() + (o.weight ?? o.mean).arguments() + o.mean.arguments() + o.rstd.arguments()
                    + o.dy.arguments() + output.view.arguments()
                    + [
                        .long(rx.pitch), .long(rd.pitch), .long(r.pitch), .int(rx.columns), .flag(o.weight != nil),
                        .int(output.mode.flag),
                    ])
        }
        guard o.dWeight != nil || o.dBias != nil else { return }
        let blocks = (rx.rows + Self.block - 1) / Self.block
        let count = blocks * 2 * rx.columns
        let partials = View(storage: .openCL(try device.arena.allocate(count * 4, for: .workspace)), shape: [count])
        try device.launchRows(
            "layernorm.cl", "layernorm_partials", options: o.x.activationOption, rows: blocks,
            columns: Self.block * rx.columns,
            o.x.arguments() + o.mean.arguments() + o.rstd.arguments() + o.dy.arguments() + partials.arguments()
                + [.long(rx.pitch), .long(rd.pitch), .long(rx.rows), .int(rx.columns)])
        // Each output has a mode of its own: two launches.
        for (output, isWeight) in [(o.dWeight, true), (o.dBias, false)] {
            guard let output else { continue }
            try device.launchElements(
                "layernorm.cl", "layernorm_sums", count: rx.columns,
                partials.arguments() + output.view.arguments() + output.view.arguments()
                    + [.int(blocks), .int(rx.columns), .flag(isWeight), .flag(!isWeight), .int(output.mode.flag)])
        }
    }
}
