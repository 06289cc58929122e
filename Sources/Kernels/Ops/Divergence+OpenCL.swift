extension Divergence {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rs, rt) = (try rows(o.student, "student"), try rows(o.teacher, "teacher"))
        let rg = try o.gradient.map { try rows($0, "gradient") }
        // Each work-item's exponentials of a row, from the sums to the gradient; with four rows an item, or one for each unit, they
        // stay small beside the logits.
        let keptPitch = device.family == .vector ? keptRows(o) * rs.columns : 0
        let fewest = keptPitch > 0 ? 4 : 1
        let items = device.rowRanges(rs.rows, columns: rs.columns, fewest: fewest).items
        let kept = keptPitch > 0 ? try device.workspace(items * keptPitch) : nil
        // Flags tell the kernel which operands are there; an absent one is stood in for by a buffer it will not touch.
        let buffers =
            try o.student.arguments() + o.teacher.arguments() + (o.labels ?? o.loss).arguments()
            + (o.rowWeights ?? o.loss).arguments() + o.loss.arguments() + o.divergence.arguments()
            + o.crossEntropy.arguments() + (o.gradient ?? o.loss).arguments() + (kept ?? o.loss).arguments()
        try device.launchTeams(
            "divergence.cl", name, rows: rs.rows, columns: rs.columns, fewest: fewest,
            buffers
                + [
                    .long(rs.pitch), .long(rt.pitch), .long(rg?.pitch ?? 0), .long(keptPitch), .int(rs.columns),
                    .flag(o.labels != nil),
                    .int(ignoreIndex), .flag(o.rowWeights != nil), .flag(o.gradient != nil), .float(temperature),
                    .float(mix),
                    .float(softWeight), .float(hardWeight), .float(reportedFactor), .float(scale),
                ])
    }
}
