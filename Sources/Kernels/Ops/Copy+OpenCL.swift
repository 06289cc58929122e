extension Fill {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let rows = try rows(o.y, "y")
        if rows.isDense {
            try device.launchElements("copy.cl", "fill", count: o.y.count, o.y.arguments() + [.float(value)])
        } else {
            for r in 0..<rows.rows {
                let row = View(storage: o.y.storage, offset: o.y.offset + r * rows.pitch, shape: [rows.columns])
                try device.launchElements("copy.cl", "fill", count: rows.columns, row.arguments() + [.float(value)])
            }
        }
    }
}

extension Copy {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let plan = try CopyPlan(o, self)
        let ends = try o.x.arguments() + o.y.view.arguments()
        if let t = plan.transpose {
            let sizes = [t.rows, t.columns, t.xPitch, t.xBatch, t.yPitch, t.yBatch]
            try device.launchRows(
                "copy.cl", "transpose", rows: t.tiles, columns: 1024,
                ends + sizes.map { .long($0) } + [.int(o.y.mode.flag)])
        } else {
            let arguments = ends + (plan.sizes + plan.x + plan.y).map { .long($0) }
            if o.x.dtype == .bf16 {
                return try device.launchElements("copy.cl", "strided_copy_16", count: plan.count, arguments)
            }
            try device.launchElements(
                "copy.cl", "strided_copy", count: plan.count, arguments + [.int(o.y.mode.flag)])
        }
    }
}

extension Convert {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        guard let kernel = Self.kernel(o.x.dtype, o.y.dtype) else { throw operandError(name, "no such conversion") }
        try device.launchElements("copy.cl", kernel, count: o.x.count, o.x.arguments() + o.y.arguments())
    }
}
