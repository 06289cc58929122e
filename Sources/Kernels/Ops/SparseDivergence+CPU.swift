internal import CRows

extension SparseDivergence {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = try rows(o.student, "student")
        let g = try o.gradient.map { try rows($0, "gradient") }
        let k = o.ids.shape[1]
        let student = try o.student.pointer(as: Float.self)
        let (ids, values) = (try o.ids.pointer(as: Int32.self), try o.values.pointer(as: Float.self))
        let tails = try o.tail.pointer(as: Float.self)
        let labels = try o.labels?.pointer(as: Int32.self)
        let weights = try o.rowWeights?.pointer(as: Float.self)
        let loss = try o.loss.pointer(as: Float.self)
        let divergence = try o.divergence.pointer(as: Float.self)
        let crossEntropy = try o.crossEntropy.pointer(as: Float.self)
        let gradient = try o.gradient?.pointer(as: Float.self)
        // What the kept classes' gradient is, until the row has been gone over.
        let space = try device.arena.allocate(r.rows * k * 4, for: .workspace)
        nonisolated(unsafe) let kept = space.pointer.assumingMemoryBound(to: Float.self)
        let table = device.table
        device.parallel(r.rows, work: o.student.count * 4) {
            table.pointee.sparse_divergence_rows(
                $0, $1, student, r.pitch, ids, values, tails, labels, weights, loss, divergence, crossEntropy, gradient,
                g?.pitch ?? 0, kept, Int32(r.columns), Int32(k), Int32(kind.number), Int32(tail.rawValue),
                labels == nil ? 0 : 1, ignoreIndex, weights == nil ? 0 : 1, gradient == nil ? 0 : 1, temperature, mix,
                softWeight, hardWeight, reportedFactor, scale)
        }
    }
}
