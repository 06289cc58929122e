extension FlashAttention {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let plan = AttentionPlan(q: o.q, k: o.k, v: o.v, spans: o.spans, dropout: dropout, softCap: softCap)
        guard plan.allRows > 0 else { return }
        let workers = 2 * device.info.computeUnits
        let blockRows = device.family == .vector ? AttentionPlan.block : AttentionPlan.side
        let splits = plan.splits(blockRows: blockRows, workers: workers)
        let inputs = try o.q.arguments() + o.k.arguments() + o.v.arguments() + (o.spans?.view ?? o.q).arguments()

        func attend(_ y: View, _ logSumExp: View) throws {
            let options = plan.options(device, y)
            let arguments = try inputs + y.arguments() + logSumExp.arguments() + [.float(scale)]
            let fields = plan.fields(y: y, splits: splits).map { KernelArgument.long($0) }
            switch device.family {
            case .vector:
                let slots = try device.workspace(workers * plan.forwardSlot)
                try device.enqueue(
                    Launch(
                        "attention.cl", "attention_forward", options: options,
                        arguments + slots.arguments() + [.long(plan.forwardSlot)] + fields, global: (workers, 1, 1),
                        local: (1, 1, 1)))
            case .simt, .nvptx:
                let groups = plan.units * splits * plan.rows.dividedUp(by: AttentionPlan.side)
                try device.enqueue(
                    Launch(
                        "attention.cl", "attention_forward", options: options, arguments + fields,
                        global: (groups * 256, 1, 1), local: (256, 1, 1)))
            }
        }
        guard splits > 1 else { return try attend(o.y, o.logSumExp) }
        let parts = plan.dense(try device.workspace(splits * plan.allRows * plan.width).storage)
        let sums = try device.workspace(splits * plan.allRows)
        try attend(parts, sums)
        let options = plan.options(device, o.y)
        let arguments =
            try parts.arguments() + sums.arguments() + o.y.arguments() + o.logSumExp.arguments()
            + plan.fields(y: o.y, splits: splits).map { .long($0) }
        switch device.family {
        case .vector:
            try device.launchRows(
                "attention.cl", "attention_combine", options: options, rows: plan.allRows,
                columns: splits * plan.width, arguments)
        case .simt, .nvptx:
            try device.launchElements(
                "attention.cl", "attention_combine", options: options, count: plan.allRows * plan.width, arguments)
        }
    }
}

extension FlashAttentionBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let plan = AttentionPlan(q: o.q, k: o.k, v: o.v, spans: o.spans, dropout: dropout, softCap: softCap)
        let workers = 2 * device.info.computeUnits
        let isVector = device.family == .vector
        let keyTiles = plan.keys.dividedUp(by: AttentionPlan.side)
        let chunks = plan.chunks(
            isVector ? plan.units : plan.units * keyTiles,
            blockRows: isVector ? AttentionPlan.block : AttentionPlan.side,
            workers: isVector ? device.info.computeUnits : workers)
        var gradients = AttentionPlan.Gradients(dy: o.dy, dq: o.dq, dk: o.dk, dv: o.dv, chunks: chunks)
        if chunks > 1 {
            gradients.share(try device.workspace(2 * chunks * max(1, plan.keyNumbers)).storage, plan)
        }
        let options = plan.options(device, o.y, [o.dy] + [o.dq, gradients.dk, gradients.dv].compactMap { $0?.view })
        // Gradients that are absent still need a valid buffer; their modes keep the kernels from touching it.
        func target(_ output: Output?) throws -> [KernelArgument] { try (output?.view ?? o.q).arguments() }
        let arguments =
            try o.q.arguments() + o.k.arguments() + o.v.arguments() + (o.spans?.view ?? o.q).arguments()
            + o.y.arguments() + o.logSumExp.arguments() + o.dy.arguments() + target(gradients.dq)
            + target(gradients.dk) + target(gradients.dv) + [.float(scale)]
        let fields = plan.fields(y: o.y, gradients).map { KernelArgument.long($0) }

        switch device.family {
        case .vector:
            let slots = try device.workspace(workers * plan.backwardSlot)
            try device.enqueue(
                Launch(
                    "attention.cl", "attention_backward", options: options,
                    arguments + slots.arguments() + [.long(plan.backwardSlot)] + fields, global: (workers, 1, 1),
                    local: (1, 1, 1)))
        case .simt, .nvptx:
            let delta = try device.workspace(max(1, plan.allRows))
            try device.launchElements(
                "attention.cl", "attention_delta", options: options, count: plan.allRows,
                try o.y.arguments() + o.dy.arguments() + delta.arguments() + fields)
            func launch(_ kernel: String, groups: Int) throws {
                guard groups > 0 else { return }
                try device.enqueue(
                    Launch(
                        "attention.cl", kernel, options: options, arguments + delta.arguments() + fields,
                        global: (groups * 256, 1, 1), local: (256, 1, 1)))
            }
            if o.dk != nil || o.dv != nil {
                try launch("attention_backward_keys", groups: plan.units * chunks * keyTiles)
            }
            if o.dq != nil {
                try launch(
                    "attention_backward_queries", groups: plan.units * plan.rows.dividedUp(by: AttentionPlan.side))
            }
        }
        guard chunks > 1, plan.keyNumbers > 0 else { return }
        for (output, parts) in [(o.dk, gradients.dk), (o.dv, gradients.dv)] {
            guard let output, let parts = parts.map({ plan.parts($0.view, chunks) }) else { continue }
            if output.view.isContiguous {
                try Reduce(.sum).openCL(plan.sum(parts, into: output.view, output.mode), on: device)
            } else {
                let whole = View(storage: try device.workspace(plan.keyNumbers).storage, shape: o.k.shape)
                try Reduce(.sum).openCL(plan.sum(parts, into: whole, .write), on: device)
                try Copy().openCL(.init(x: whole, y: output), on: device)
            }
        }
    }
}

extension AttentionPlan {
    /// Build options. `vector`: the lanes of the device's registers; `simt`: the width, whether quads lie on their own size, and what is bf16.
    /// Both: whether there is dropout, and a soft cap.
    fileprivate func options(_ device: OpenCLDevice, _ y: View, _ others: [View] = []) -> String {
        let both = (drops ? " -DATTENTION_DROPOUT=1" : "") + (caps ? " -DATTENTION_CAP=1" : "")
        guard device.family != .vector else {
            return "-DATTENTION_LANES=\(device.info.vectorWidth < 16 ? 8 : 16)" + both
        }
        let aligned = (inputs + [y] + others).allSatisfy { view in
            view.offset % 4 == 0 && view.strides.prefix(3).allSatisfy { $0 % 4 == 0 }
        }
        let halves = [("Q", inputs[0]), ("KV", inputs[1]), ("Y", y)].filter { $0.1.dtype == .bf16 }
        return "-DWIDE=\(width.roundedUp(to: 64)) -DVEC=\(aligned && width % 4 == 0 ? 1 : 0)"
            + halves.map { " -D\($0.0)_BF16=1" }.joined() + both
    }
}
