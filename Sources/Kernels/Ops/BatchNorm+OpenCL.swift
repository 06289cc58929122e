extension BatchNorm {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let s = try Channels(o.x, self)
        guard s.count > 0 else { return }
        let block = s.samplesPerPart(grouped: device.family != .vector)
        let partials = try device.batchNormPartials(s, block)
        try device.launchParts(
            "batchnorm_moments", s, block, o.x.arguments() + partials.arguments() + s.sizes + [.int(block)])
        try device.launchRows(
            "batchnorm.cl", "batchnorm_statistics", rows: s.channels, columns: partials.count / s.channels,
            partials.arguments() + o.mean.arguments() + o.rstd.arguments()
                + (o.running?.mean ?? o.mean).arguments() + (o.running?.variance ?? o.rstd).arguments() + s.sizes
                + [.int(s.fold), .int(block), .float(epsilon), .float(momentum), .flag(o.running != nil)])
        try device.normalise(
            s, o.x, RunningStatistics(mean: o.mean, variance: o.rstd), o.weight, o.bias, o.residual, o.y, relu: relu,
            fromVariance: false, epsilon)
    }
}

extension BatchNormInference {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let s = try Channels(o.x, self)
        guard s.count > 0 else { return }
        try device.normalise(
            s, o.x, o.statistics, o.weight, o.bias, o.residual, o.y, relu: relu, fromVariance: true, epsilon)
    }
}

extension BatchNormBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let s = try Channels(o.x, self)
        let y = o.y ?? o.x
        let sums = try device.workspace(2 * s.channels)
        if needsSums(o) {
            let block = s.samplesPerPart(grouped: device.family != .vector)
            let partials = try device.batchNormPartials(s, block)
            try device.launchParts(
                "batchnorm_products", s, block,
                o.x.arguments() + y.arguments() + o.dy.arguments() + o.mean.arguments() + o.spread.arguments()
                    + partials.arguments() + s.sizes
                    + [.int(block), .flag(relu), .flag(statistics == .running), .float(epsilon)])
            try device.launchRows(
                "batchnorm.cl", "batchnorm_sums", rows: s.channels, columns: partials.count / s.channels,
                partials.arguments() + sums.arguments() + (o.dWeight?.view ?? sums).arguments()
                    + (o.dBias?.view ?? sums).arguments()
                    + [
                        .long((s.samples + block - 1) / block), .int(s.channels), .int(s.fold), .flag(o.dWeight != nil),
                        .flag(o.dBias != nil), .int(o.dWeight?.mode.flag ?? 0), .int(o.dBias?.mode.flag ?? 0),
                    ])
        }
        guard s.count > 0, o.dx != nil || o.dResidual != nil else { return }
        try device.launchPlanes(
            "batchnorm_backward", s,
            o.x.arguments() + y.arguments() + o.dy.arguments() + o.mean.arguments() + o.spread.arguments()
                + (o.weight ?? o.mean).arguments() + sums.arguments() + (o.dx?.view ?? sums).arguments()
                + (o.dResidual?.view ?? sums).arguments() + s.sizes
                + [
                    .flag(o.weight != nil), .flag(relu), .flag(statistics == .batch), .float(epsilon),
                    .flag(o.dx != nil), .flag(o.dResidual != nil), .int(o.dx?.mode.flag ?? 0),
                    .int(o.dResidual?.mode.flag ?? 0),
                ])
    }
}

extension Channels {
    fileprivate var sizes: [KernelArgument] { [.long(samples), .int(channels), .int(inner)] }
}

extension OpenCLDevice {
    fileprivate func batchNormPartials(_ s: Channels, _ block: Int) throws -> View {
        try workspace(max(1, (s.samples + block - 1) / block) * 2 * s.channels * s.fold)
    }

    /// Launches a reduction over parts: `<kernel>_planes` or `<kernel>_columns`.
    fileprivate func launchParts(_ kernel: String, _ s: Channels, _ block: Int, _ arguments: [KernelArgument]) throws {
        let blocks = (s.samples + block - 1) / block
        switch (family, s.usesColumns) {
        case (.vector, _):
            try launchRows(
                "batchnorm.cl", kernel + (s.usesColumns ? "_columns" : "_planes"), rows: s.items,
                columns: s.count / max(1, s.items), arguments)
        case (_, true):
            try launchElements("batchnorm.cl", kernel + "_columns", count: blocks * s.columns, arguments)
        case (_, false):
            try launchRows("batchnorm.cl", kernel + "_planes", rows: blocks * s.channels, columns: 1, arguments)
        }
    }

    /// Launches what visits every element: a group of a GPU takes as many neighbouring planes as make 1024 elements.
    fileprivate func launchPlanes(_ kernel: String, _ s: Channels, _ arguments: [KernelArgument]) throws {
        switch family {
        case .vector:
            try launchRows(
                "batchnorm.cl", kernel + (s.usesColumns ? "_columns" : "_planes"), rows: s.items,
                columns: s.count / s.items, arguments)
        case .simt, .nvptx:
            let planes = max(1, 1024 / s.inner)
            try enqueue(
                Launch(
                    "batchnorm.cl", kernel + "_planes", [.long(s.planes), .long(planes)] + arguments,
                    global: ((s.planes + planes - 1) / planes * 256, 1, 1), local: (256, 1, 1)))
        }
    }

    /// - Parameter statistics: its variance holds rstd unless `fromVariance`.
    fileprivate func normalise(
        _ s: Channels, _ x: View, _ statistics: RunningStatistics, _ weight: View?, _ bias: View?, _ residual: View?,
        _ y: View, relu: Bool, fromVariance: Bool, _ epsilon: Float
    ) throws {
        try launchPlanes(
            "batchnorm_apply", s,
            x.arguments() + statistics.mean.arguments() + statistics.variance.arguments()
                + (weight ?? statistics.mean).arguments() + (bias ?? statistics.mean).arguments()
                + (residual ?? x).arguments() + y.arguments() + s.sizes
                + [
                    .flag(weight != nil), .flag(bias != nil), .flag(residual != nil), .flag(relu), .flag(fromVariance),
                    .float(epsilon),
                ])
    }
}
