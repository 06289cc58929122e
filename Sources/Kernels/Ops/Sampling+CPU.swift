internal import CRows

extension FilterLogits {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = try rows(o.x, "x")
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let history = try o.history?.pointer(as: Int32.self)
        let (columns, seen) = (Int32(r.columns), Int32(o.history?.shape[1] ?? 0))
        let (topK, topP, logMinP) = filters(r.columns)
        let work = try topP.map { _ in try device.arena.allocate(r.rows * r.columns * 4, for: .workspace) }
        let weights = work?.pointer.assumingMemoryBound(to: Float.self)
        let table = device.table
        // A threshold takes 32 passes over a row.
        device.parallel(r.rows, work: o.x.count * 32) { begin, end in
            table.pointee.scale_logits_rows(
                begin, end, x, r.pitch, history, y, columns, seen, repetitionPenalty, temperature)
            if let topK { table.pointee.keep_top_k_rows(begin, end, y, columns, Int32(topK)) }
            if let topP { table.pointee.keep_top_p_rows(begin, end, y, weights, columns, topP) }
            if let logMinP { table.pointee.keep_min_p_rows(begin, end, y, columns, logMinP) }
        }
    }
}

extension DrawTokens {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = try rows(o.x, "x")
        let (x, u, tokens) = (
            try o.x.pointer(as: Float.self), try o.u.pointer(as: Float.self), try o.tokens.pointer(as: Int32.self)
        )
        device.parallel(r.rows, work: o.x.count * 2) {
            device.table.pointee.draw_tokens_rows($0, $1, x, r.pitch, u, tokens, Int32(r.columns))
        }
    }
}
