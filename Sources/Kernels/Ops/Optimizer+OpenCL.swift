extension SGDUpdate {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        // Without momentum the kernel never touches its buffer; a null pointer plus offset would not be valid C, so pass another.
        try device.launchElements(
            "optimizer.cl", "sgd", count: o.values.count,
            o.values.arguments() + o.gradients.arguments() + (o.momentum ?? o.values).arguments() + o.factor.arguments()
                + o.skip.arguments()
                + [
                    .flag(isFirstStep), .flag(options.nesterov), .float(learningRate), .float(options.momentum),
                    .float(options.dampening), .float(options.weightDecay),
                ])
    }
}

extension AdamUpdate {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        try device.launchElements(
            "optimizer.cl", "adam", count: o.values.count,
            o.values.arguments() + o.gradients.arguments() + o.first.arguments() + o.second.arguments()
                + (o.secondMaximum ?? o.second).arguments() + o.factor.arguments() + o.skip.arguments()
                + [
                    .flag(options.decoupled), .flag(options.amsgrad), .float(learningRate), .float(options.weightDecay),
                    .float(Float(1 - options.beta1)), .float(Float(options.beta2)), .float(Float(1 - options.beta2)),
                    .float(stepSize), .float(secondCorrection), .float(options.epsilon),
                ])
    }
}

extension GradientNorm {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let count = o.gradients.count
        let blocks = (count + Self.block - 1) / Self.block
        let partials = View(storage: .openCL(try device.arena.allocate(blocks * 4, for: .workspace)), shape: [blocks])
        try device.launchRows(
            "optimizer.cl", "sum_squares_partial", rows: blocks, columns: Self.block, grain: 4 * Self.block,
            o.gradients.arguments() + partials.arguments() + [.long(count)])
        try device.launchOne(
            "optimizer.cl", "norm_finish",
            partials.arguments() + o.norm.arguments() + o.factor.arguments() + o.skip.arguments()
                + o.nonFinite.arguments()
                + [.long(blocks), .float(maximum)])
    }
}

extension MovingAverage {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        try device.launchElements(
            "optimizer.cl", "ema", count: o.values.count,
            o.average.arguments() + o.values.arguments() + [.float(Float(decay)), .float(Float(1 - decay))])
    }
}
