internal import CRows

extension FlashAttention {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let plan = AttentionPlan(q: o.q, k: o.k, v: o.v, spans: o.spans, dropout: dropout, softCap: softCap)
        guard plan.allRows > 0 else { return }
        let splits = plan.splits(blockRows: AttentionPlan.block, workers: device.threads)
        let space = try device.arena.allocate(device.threads * plan.forwardSlot * 4, for: .workspace)
        let slots = space.pointer.assumingMemoryBound(to: Float.self)
        // f32 or bf16, as the plan's fields say.
        let (q, k, v, y) = (try o.q.address(), try o.k.address(), try o.v.address(), try o.y.address())
        let spans = try o.spans?.view.pointer(as: Int32.self)
        let logSumExp = try o.logSumExp.pointer(as: Float.self)
        let table = device.table

        func attend(_ y: UnsafeMutableRawPointer, _ logSumExp: UnsafeMutablePointer<Float>, _ fields: [Int]) {
            fields.withUnsafeBufferPointer { list in
                nonisolated(unsafe) let shape = list.baseAddress
                device.parallel(device.threads, work: plan.work / 8) { begin, end in
                    // Little work is one worker's.
                    let alone = end - begin == device.threads
                    table.pointee.attention_forward_workers(
                        alone ? 0 : begin, alone ? 1 : end, alone ? 1 : device.threads, shape, q, k, v, spans, y,
                        logSumExp, scale, slots, plan.forwardSlot)
                }
            }
        }
        guard splits > 1 else { return attend(y, logSumExp, plan.fields(y: o.y)) }
        let parts = try device.arena.allocate(splits * plan.allRows * (plan.width + 1) * 4, for: .workspace)
        let answers = parts.pointer.assumingMemoryBound(to: Float.self)
        let sums = answers + splits * plan.allRows * plan.width
        attend(answers, sums, plan.fields(y: plan.dense(.host(parts)), splits: splits))
        plan.fields(y: o.y, splits: splits).withUnsafeBufferPointer { list in
            nonisolated(unsafe) let shape = list.baseAddress
            device.parallel(plan.allRows, work: splits * plan.allRows * plan.width) {
                table.pointee.attention_combine_rows($0, $1, shape, answers, sums, y, logSumExp)
            }
        }
    }
}

extension FlashAttentionBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let plan = AttentionPlan(q: o.q, k: o.k, v: o.v, spans: o.spans, dropout: dropout, softCap: softCap)
        let chunks = plan.chunks(plan.units, blockRows: AttentionPlan.block, workers: device.threads)
        var gradients = AttentionPlan.Gradients(dy: o.dy, dq: o.dq, dk: o.dk, dv: o.dv, chunks: chunks)
        var space: Block?
        if chunks > 1 {
            space = try device.arena.allocate(2 * chunks * max(1, plan.keyNumbers) * 4, for: .workspace)
            gradients.share(.host(space!), plan)
        }
        let workspace = try device.arena.allocate(device.threads * plan.backwardSlot * 4, for: .workspace)
        let slots = workspace.pointer.assumingMemoryBound(to: Float.self)
        func floats(_ view: View?) throws -> UnsafeMutablePointer<Float>? { try view?.pointer(as: Float.self) }
        let (q, k, v, y) = (try o.q.address(), try o.k.address(), try o.v.address(), try o.y.address())
        let (logSumExp, dy) = (try floats(o.logSumExp), try floats(o.dy))
        let spans = try o.spans?.view.pointer(as: Int32.self)
        let dq = try floats(gradients.dq?.view)
        let (dk, dv) = (try floats(gradients.dk?.view), try floats(gradients.dv?.view))
        let table = device.table
        plan.fields(y: o.y, gradients).withUnsafeBufferPointer { list in
            nonisolated(unsafe) let shape = list.baseAddress
            device.parallel(device.threads, work: plan.work / 8) { begin, end in
                let alone = end - begin == device.threads
                table.pointee.attention_backward_workers(
                    alone ? 0 : begin, alone ? 1 : end, alone ? 1 : device.threads, shape, q, k, v, spans, y, logSumExp,
                    dy, dq, dk, dv, scale, slots, plan.backwardSlot)
            }
        }
        guard chunks > 1, plan.keyNumbers > 0 else { return }
        for (output, parts) in [(o.dk, gradients.dk), (o.dv, gradients.dv)] {
            guard let output, let parts = parts.map({ plan.parts($0.view, chunks) }) else { continue }
            if output.view.isContiguous {
                try Reduce(.sum).cpu(plan.sum(parts, into: output.view, output.mode), on: device)
            } else {
                let whole = View(
                    storage: .host(try device.arena.allocate(plan.keyNumbers * 4, for: .workspace)), shape: o.k.shape)
                try Reduce(.sum).cpu(plan.sum(parts, into: whole, .write), on: device)
                try Copy().cpu(.init(x: whole, y: output), on: device)
            }
        }
    }
}

extension View {
    fileprivate func address() throws -> UnsafeMutableRawPointer { .init(try pointer(as: UInt8.self)) }
}
