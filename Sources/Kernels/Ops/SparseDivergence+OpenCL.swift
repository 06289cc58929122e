extension SparseDivergence {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let r = try rows(o.student, "student")
        let g = try o.gradient.map { try rows($0, "gradient") }
        let k = o.ids.shape[1]
        // What the kept classes' gradient is, until the row has been gone over.
        let kept = try device.workspace(r.rows * k)
        // Flags tell the kernel which operands are there; an absent one is stood in for by a buffer it will not touch.
        let teacher = try o.ids.arguments() + o.values.arguments() + o.tail.arguments()
        let weights = try (o.labels ?? o.loss).arguments() + (o.rowWeights ?? o.loss).arguments()
        let parts = try o.loss.arguments() + o.divergence.arguments() + o.crossEntropy.arguments()
        let buffers =
            try o.student.arguments() + teacher + weights + parts + (o.gradient ?? o.loss).arguments()
            + kept.arguments()
        try device.launchTeams(
            "sparse_divergence.cl", name, rows: r.rows, columns: r.columns,
            buffers
                + [
                    .long(r.pitch), .long(g?.pitch ?? 0), .int(r.columns), .int(k), .int(kind.number),
                    .int(tail.rawValue), .flag(o.labels != nil), .int(ignoreIndex), .flag(o.rowWeights != nil),
                    .flag(o.gradient != nil), .float(temperature), .float(mix), .float(softWeight), .float(hardWeight),
                    .float(reportedFactor), .float(scale),
                ])
    }
}
