import RetortKernels

extension Tensor {
    /// Divergences from a teacher, each of other rows, chunk by chunk as `chunkedDivergence(_:head:teacher:…)` has one for all rows.
    ///
    /// - `ops`: with the rows that each is for: in order, without a gap, all of them; without hard labels.
    /// - `rowWeights`: `[rows]`; 0 masks a row.
    /// - Returns: Σ over the rows, a scalar on the tape.
    /// - Throws: `TensorError` for what does not fit, `KernelError` for an impossible op.
    public func chunkedDivergence(
        _ ops: [(rows: Range<Int>, op: Divergence)], head: OutputHead, teacher: some LogitSource, rowWeights: View,
        chunk: ChunkSize = .automatic, headGradient: HeadGradient = .held
    ) throws -> Tensor {
        let rows = try head.rows(of: self).shape[0]
        let ends = [0] + ops.map(\.rows.upperBound)
        guard zip(ops, ends).allSatisfy({ $0.rows.lowerBound == $1 && $0.op.hardWeight == 0 }), ends.last == rows else {
            throw TensorError("divergences of \(ops.map(\.rows)) do not cover \(rows) rows, or mix hard labels in")
        }
        return try chunkedDivergence(
            of: (teacher.rows, teacher.classes), head, logits: teacher, nil, rowWeights, scale: 1, chunk, headGradient
        ) { student, part in
            for (own, op) in ops {
                let range = own.clamped(to: part.range)
                guard !range.isEmpty else { continue }
                let rows = (range.lowerBound - part.range.lowerBound)..<(range.upperBound - part.range.lowerBound)
                let z = student.slice(rows)
                try run(
                    op,
                    .init(
                        student: z, teacher: part.teacher?.slice(rows) ?? z, labels: nil,
                        rowWeights: part.rowWeights?.slice(rows), loss: part.loss.slice(rows),
                        divergence: part.divergence.slice(rows), crossEntropy: part.crossEntropy.slice(rows),
                        gradient: part.gradient?.slice(rows)), on: device)
            }
        }.total
    }
}
