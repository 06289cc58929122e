internal import CRows

extension CrossEntropy {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = try rows(o.logits, "logits")
        let g = try o.gradient.map { try rows($0, "gradient") }
        let (x, y) = (try o.logits.pointer(as: Float.self), try o.labels.pointer(as: Int32.self))
        let (rowWeights, classWeights) = (
            try o.rowWeights?.pointer(as: Float.self), try o.classWeights?.pointer(as: Float.self)
        )
        let (loss, gradient) = (try o.loss.pointer(as: Float.self), try o.gradient?.pointer(as: Float.self))
        device.parallel(r.rows, work: o.logits.count * 2) {
            device.table.pointee.cross_entropy_rows(
                $0, $1, x, r.pitch, y, classWeights, rowWeights, loss, gradient, g?.pitch ?? 0, Int32(r.columns),
                classWeights == nil ? 0 : 1, rowWeights == nil ? 0 : 1, ignoreIndex, gradient == nil ? 0 : 1,
                labelSmoothing,
                scale)
        }
    }
}

extension SoftCrossEntropy {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (r, t) = (try rows(o.logits, "logits"), try rows(o.targets, "targets"))
        let g = try o.gradient.map { try rows($0, "gradient") }
        let (x, targets) = (try o.logits.pointer(as: Float.self), try o.targets.pointer(as: Float.self))
        let (rowWeights, classWeights) = (
            try o.rowWeights?.pointer(as: Float.self), try o.classWeights?.pointer(as: Float.self)
        )
        let (loss, gradient) = (try o.loss.pointer(as: Float.self), try o.gradient?.pointer(as: Float.self))
        device.parallel(r.rows, work: o.logits.count * 2) {
            device.table.pointee.cross_entropy_soft_rows(
                $0, $1, x, r.pitch, targets, t.pitch, classWeights, rowWeights, loss, gradient, g?.pitch ?? 0,
                Int32(r.columns),
                classWeights == nil ? 0 : 1, rowWeights == nil ? 0 : 1, gradient == nil ? 0 : 1, labelSmoothing, scale)
        }
    }
}

extension TokenWeights {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let rows = o.labels.count
        guard rows > 0 else { return }
        let blocks = divisor == nil ? (rows + Self.block - 1) / Self.block : 1
        let workspace = try device.arena.allocate(blocks * 4, for: .workspace)
        let partials = workspace.pointer.assumingMemoryBound(to: Float.self)
        let (labels, weights) = (try o.labels.pointer(as: Int32.self), try o.weights.pointer(as: Float.self))
        let classWeights = try o.classWeights?.pointer(as: Float.self)
        let table = device.table
        device.alone {
            if let divisor {
                partials[0] = divisor
            } else {
                table.pointee.token_weight_sums_blocks(
                    0, blocks, labels, classWeights, partials, rows, Int32(o.classWeights?.count ?? 0),
                    classWeights == nil ? 0 : 1, ignoreIndex)
            }
            table.pointee.token_weights_rows(0, rows, labels, partials, weights, Int32(blocks), ignoreIndex)
        }
    }
}
