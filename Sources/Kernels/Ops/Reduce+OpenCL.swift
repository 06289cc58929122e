extension Reduce {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        guard a.count > 0 else { return }
        let columns = a.outer * ((a.inner + Self.strip - 1) / Self.strip)
        let ends = try o.x.arguments() + o.y.view.arguments()
        let sizes: [KernelArgument] = [.long(a.outer), .long(a.n), .long(a.inner)]
        switch kind {
        case .sum, .mean: try sum(o, a, device)
        case .variance(let correction):
            let buffers = try ends + o.statistic.arguments()
            if a.inner == 1 {
                try device.launchRows(
                    "reduce.cl", "variance_rows", rows: a.outer, columns: a.n,
                    buffers + [.long(a.n), .long(a.n), .float(Float(correction))])
            } else {
                try device.launchItems(
                    "reduce.cl", "variance_columns", items: columns, results: a.count, work: o.x.count,
                    buffers + sizes + [.float(Float(correction))])
            }
        case .max, .min:
            try device.extreme(a, ends + o.statistic.arguments(), smallest: kind == .min)
        case .logSumExp:
            if a.inner == 1 {
                try device.launchRows(
                    "reduce.cl", "logsumexp_rows", rows: a.outer, columns: a.n, ends + [.long(a.n), .int(a.n)])
            } else {
                try device.launchItems(
                    "reduce.cl", "logsumexp_columns", items: columns, results: a.count, work: o.x.count, ends + sizes)
            }
        }
    }

    private func sum(_ o: Operands, _ a: Axis, _ device: OpenCLDevice) throws {
        let finish: [KernelArgument] = [.int(o.y.mode.flag), .float(scale(a.n))]
        if a.inner == 1 {
            guard Self.needsRowPartials(a) else {
                return try device.launchRows(
                    "reduce.cl", "sum_rows", rows: a.outer, columns: a.n,
                    o.x.arguments() + o.y.view.arguments() + [.long(a.n), .long(a.n)] + finish)
            }
            let blocks = (a.n + Self.rowBlock - 1) / Self.rowBlock
            let partials = try device.workspace(a.outer * blocks)
            try device.launchRows(
                "reduce.cl", "sum_row_blocks", rows: a.outer * blocks, columns: Self.rowBlock,
                o.x.arguments() + partials.arguments() + [.long(a.n), .long(a.n), .long(blocks)])
            return try device.launchRows(
                "reduce.cl", "sum_rows", rows: a.outer, columns: blocks,
                partials.arguments() + o.y.view.arguments() + [.long(blocks), .long(blocks)] + finish)
        }
        let strips = (a.inner + Self.sumStrip - 1) / Self.sumStrip
        guard Self.needsPartials(a) else {
            return try device.launchItems(
                "reduce.cl", "sum_columns", items: a.outer * strips, results: a.count, work: o.x.count,
                o.x.arguments() + o.y.view.arguments() + [.long(a.outer), .long(a.n), .long(a.inner), .long(a.n)]
                    + finish)
        }
        let blocks = (a.n + Self.columnBlock - 1) / Self.columnBlock
        let partials = try device.workspace(a.outer * blocks * a.inner)
        try device.launchItems(
            "reduce.cl", "sum_columns", items: a.outer * blocks * strips, results: a.outer * blocks * a.inner,
            work: o.x.count,
            o.x.arguments() + partials.arguments()
                + [.long(a.outer), .long(a.n), .long(a.inner), .long(Self.columnBlock), .flag(false), .float(1)])
        try device.launchItems(
            "reduce.cl", "sum_columns", items: a.outer * strips, results: a.count, work: partials.count,
            partials.arguments() + o.y.view.arguments()
                + [.long(a.outer), .long(blocks), .long(a.inner), .long(blocks)] + finish)
    }
}

extension OpenCLDevice {
    /// Largest (or smallest) elements and their indices; `buffers` are x, values, indices.
    fileprivate func extreme(_ a: Axis, _ buffers: [KernelArgument], smallest: Bool) throws {
        if a.inner == 1 {
            try launchRows(
                "reduce.cl", "extreme_rows", rows: a.outer, columns: a.n,
                buffers + [.long(a.n), .long(a.n), .flag(smallest)])
        } else {
            try launchItems(
                "reduce.cl", "extreme_columns", items: a.outer * ((a.inner + Reduce.strip - 1) / Reduce.strip),
                results: a.count,
                work: a.count * a.n, buffers + [.long(a.outer), .long(a.n), .long(a.inner), .flag(smallest)])
        }
    }
}

extension ReduceBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        let (rows, pitch) = geometry(a)
        switch kind {
        case .max, .min:
            try device.launchRows(
                "reduce.cl", "extreme_backward", rows: rows, columns: pitch,
                o.statistic.arguments() + o.dy.arguments() + o.dx.view.arguments()
                    + [.long(pitch), .long(a.n), .long(a.inner), .int(o.dx.mode.flag)])
        default:
            try device.launchRows(
                "reduce.cl", "reduce_backward", rows: rows, columns: pitch,
                o.x.arguments() + (o.statistic ?? o.dy).arguments() + o.dy.arguments() + o.dx.view.arguments()
                    + [
                        .long(pitch), .long(pitch), .long(a.n), .long(a.inner), .int(code), .int(o.dx.mode.flag),
                        .float(scale(a.n)),
                    ])
        }
    }
}

extension CumulativeSum {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        let ends = try o.x.arguments() + o.y.view.arguments()
        if a.inner == 1 {
            try device.launchRows(
                "reduce.cl", "cumsum_rows", rows: a.outer, columns: a.n,
                ends + [.long(a.n), .long(a.n), .long(a.n), .flag(reverse), .int(o.y.mode.flag)])
        } else {
            try device.launchItems(
                "reduce.cl", "cumsum_columns", items: a.outer * ((a.inner + Reduce.strip - 1) / Reduce.strip),
                results: a.count,
                work: o.x.count,
                ends + [.long(a.outer), .long(a.n), .long(a.inner), .flag(reverse), .int(o.y.mode.flag)])
        }
    }
}

extension ArgMax {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        let values = try device.workspace(a.count)
        try device.extreme(a, o.x.arguments() + values.arguments() + o.y.arguments(), smallest: false)
    }
}
