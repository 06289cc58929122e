extension CrossEntropy {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let r = try rows(o.logits, "logits")
        let g = try o.gradient.map { try rows($0, "gradient") }
        // Flags say which operands are there; an absent one is stood in for by a buffer the kernel will not touch.
        let buffers =
            try o.logits.arguments() + o.labels.arguments() + (o.classWeights ?? o.loss).arguments()
            + (o.rowWeights ?? o.loss).arguments() + o.loss.arguments() + (o.gradient ?? o.loss).arguments()
        try device.launchTeams(
            "cross_entropy.cl", "cross_entropy", rows: r.rows, columns: r.columns,
            buffers
                + [
                    .long(r.pitch), .long(g?.pitch ?? 0), .int(r.columns), .flag(o.classWeights != nil),
                    .flag(o.rowWeights != nil), .int(ignoreIndex), .flag(o.gradient != nil), .float(labelSmoothing),
                    .float(scale),
                ])
    }
}

extension SoftCrossEntropy {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (r, t) = (try rows(o.logits, "logits"), try rows(o.targets, "targets"))
        let g = try o.gradient.map { try rows($0, "gradient") }
        let buffers =
            try o.logits.arguments() + o.targets.arguments() + (o.classWeights ?? o.loss).arguments()
            + (o.rowWeights ?? o.loss).arguments() + o.loss.arguments() + (o.gradient ?? o.loss).arguments()
        try device.launchTeams(
            "cross_entropy.cl", "cross_entropy_soft", rows: r.rows, columns: r.columns,
            buffers
                + [
                    .long(r.pitch), .long(t.pitch), .long(g?.pitch ?? 0), .int(r.columns), .flag(o.classWeights != nil),
                    .flag(o.rowWeights != nil), .flag(o.gradient != nil), .float(labelSmoothing), .float(scale),
                ])
    }
}

extension TokenWeights {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let rows = o.labels.count
        guard rows > 0 else { return }
        let blocks = divisor == nil ? (rows + Self.block - 1) / Self.block : 1
        let partials = View(storage: .openCL(try device.arena.allocate(blocks * 4, for: .workspace)), shape: [blocks])
        if let divisor {
            try Fill(divisor).openCL(.init(y: partials), on: device)
        } else {
            try device.launchRows(
                "cross_entropy.cl", "token_weight_sums", rows: blocks, columns: Self.block,
                o.labels.arguments() + (o.classWeights ?? o.weights).arguments() + partials.arguments()
                    + [.long(rows), .int(o.classWeights?.count ?? 0), .flag(o.classWeights != nil), .int(ignoreIndex)])
        }
        try device.launchElements(
            "cross_entropy.cl", "token_weights", count: rows,
            o.labels.arguments() + partials.arguments() + o.weights.arguments() + [.int(blocks), .int(ignoreIndex)])
    }
}
