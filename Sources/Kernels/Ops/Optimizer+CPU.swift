internal import CRows

extension SGDUpdate {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (p, g): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
            try o.values.pointer(), try o.gradients.pointer()
        )
        let m: UnsafeMutablePointer<Float>? = try o.momentum?.pointer()
        let (factor, skip) = (try o.factor.pointer(as: Float.self), try o.skip.pointer(as: Int32.self))
        device.parallel(o.values.count, work: o.values.count / 2) {
            device.table.pointee.sgd_range(
                $0, $1, p, g, m, factor, skip, isFirstStep ? 1 : 0, options.nesterov ? 1 : 0, learningRate,
                options.momentum,
                options.dampening, options.weightDecay)
        }
    }
}

extension AdamUpdate {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let p = try [o.values, o.gradients, o.first, o.second].map { try $0.pointer(as: Float.self) }
        let maximum: UnsafeMutablePointer<Float>? = try o.secondMaximum?.pointer()
        let (factor, skip) = (try o.factor.pointer(as: Float.self), try o.skip.pointer(as: Int32.self))
        let (size, correction) = (stepSize, secondCorrection)
        device.parallel(o.values.count, work: o.values.count / 2) {
            device.table.pointee.adam_range(
                $0, $1, p[0], p[1], p[2], p[3], maximum, factor, skip, options.decoupled ? 1 : 0,
                options.amsgrad ? 1 : 0,
                learningRate, options.weightDecay, Float(1 - options.beta1), Float(options.beta2),
                Float(1 - options.beta2),
                size, correction, options.epsilon)
        }
    }
}

extension GradientNorm {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let count = o.gradients.count
        let blocks = (count + Self.block - 1) / Self.block
        let workspace = try device.arena.allocate(blocks * 4, for: .workspace)
        let partials = workspace.pointer.assumingMemoryBound(to: Float.self)
        let g: UnsafeMutablePointer<Float> = try o.gradients.pointer()
        device.parallel(blocks, work: count / 4) {
            device.table.pointee.sum_squares_partial_blocks($0, $1, g, count, partials)
        }
        try device.alone {
            device.table.pointee.norm_finish_all(
                partials, blocks, try o.norm.pointer(), try o.factor.pointer(), try o.skip.pointer(as: Int32.self),
                try o.nonFinite.pointer(as: Int32.self), maximum)
        }
    }
}

extension MovingAverage {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (e, p): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) = (
            try o.average.pointer(), try o.values.pointer()
        )
        device.parallel(o.values.count, work: o.values.count / 4) {
            device.table.pointee.ema_range($0, $1, e, p, Float(decay), Float(1 - decay))
        }
    }
}
