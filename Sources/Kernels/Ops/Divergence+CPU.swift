internal import CRows

extension Divergence {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rs, rt) = (try rows(o.student, "student"), try rows(o.teacher, "teacher"))
        let rg = try o.gradient.map { try rows($0, "gradient") }
        let (student, teacher) = (try o.student.pointer(as: Float.self), try o.teacher.pointer(as: Float.self))
        let labels = try o.labels?.pointer(as: Int32.self)
        let weights = try o.rowWeights?.pointer(as: Float.self)
        let loss = try o.loss.pointer(as: Float.self)
        let divergence = try o.divergence.pointer(as: Float.self)
        let crossEntropy = try o.crossEntropy.pointer(as: Float.self)
        let gradient = try o.gradient?.pointer(as: Float.self)
        let kernel = entry(device.table)
        // Each part's exponentials of a row, from the sums to the gradient.
        let kept = keptRows(o) * rs.columns
        let space = try device.arena.allocate(device.threads * kept * 4, for: .workspace)
        nonisolated(unsafe) let workspace = space.pointer.assumingMemoryBound(to: Float.self)
        device.parallelParts(rs.rows, work: o.student.count * 4) { part, begin, end in
            kernel(
                begin, end, student, rs.pitch, teacher, rt.pitch, labels, weights, loss, divergence, crossEntropy,
                gradient, workspace + part * kept, rg?.pitch ?? 0, Int32(rs.columns), labels == nil ? 0 : 1,
                ignoreIndex, weights == nil ? 0 : 1,
                gradient == nil ? 0 : 1, temperature, mix, softWeight, hardWeight, reportedFactor, scale)
        }
    }

    private func entry(_ table: UnsafePointer<crows_table>) -> crows_divergence {
        switch kind {
        case .forwardKL: table.pointee.divergence_forward_kl_rows
        case .forwardCrossEntropy: table.pointee.divergence_forward_ce_rows
        case .reverseKL: table.pointee.divergence_reverse_kl_rows
        case .jsd: table.pointee.divergence_jsd_rows
        case .continuousJSD: table.pointee.divergence_jsd_continuous_rows
        case .skewKL: table.pointee.divergence_skew_kl_rows
        case .skewCrossEntropy: table.pointee.divergence_skew_ce_rows
        case .skewReverseKL: table.pointee.divergence_skew_reverse_kl_rows
        case .totalVariation: table.pointee.divergence_tvd_rows
        case .symmetric: table.pointee.divergence_symmetric_rows
        }
    }
}
