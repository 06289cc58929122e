extension FilterLogits {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let r = try rows(o.x, "x")
        // Without history the kernel reads none of it: any buffer will do.
        let history = o.history ?? View(storage: o.y.storage, offset: o.y.offset, shape: [r.rows, 0], dtype: .i32)
        let (y, columns) = (try o.y.arguments(), KernelArgument.int(r.columns))
        func launch(_ kernel: String, passes: Int, _ arguments: [KernelArgument]) throws {
            try device.launchRows("sampling.cl", kernel, rows: r.rows, columns: r.columns * passes, arguments)
        }
        try launch(
            "scale_logits", passes: 2,
            o.x.arguments() + history.arguments() + y
                + [.long(r.pitch), columns, .int(history.shape[1]), .float(repetitionPenalty), .float(temperature)])
        let (topK, topP, logMinP) = filters(r.columns)
        if let topK { try launch("keep_top_k", passes: 32, y + [columns, .int(topK)]) }
        if let topP {
            let work = View(
                storage: .openCL(try device.arena.allocate(r.rows * r.columns * 4, for: .workspace)),
                shape: [r.rows, r.columns])
            try launch("keep_top_p", passes: 64, y + work.arguments() + [columns, .float(topP)])
        }
        if let logMinP { try launch("keep_min_p", passes: 1, y + [columns, .float(logMinP)]) }
    }
}

extension DrawTokens {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let r = try rows(o.x, "x")
        try device.launchRows(
            "sampling.cl", "draw_tokens", rows: r.rows, columns: r.columns * 2,
            o.x.arguments() + o.u.arguments() + o.tokens.arguments() + [.long(r.pitch), .int(r.columns)])
    }
}
