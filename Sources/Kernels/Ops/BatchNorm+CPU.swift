internal import CRows

extension BatchNorm {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let s = try Channels(o.x, self)
        guard s.count > 0 else { return }
        let (table, x) = (device.table, try o.x.pointer(as: Float.self))
        let (mean, rstd) = (try o.mean.pointer(as: Float.self), try o.rstd.pointer(as: Float.self))
        let (runningMean, runningVariance): (UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?) = (
            try o.running?.mean.pointer(), try o.running?.variance.pointer()
        )
        let partials = try s.partials(on: device)
        device.parallel(s.items, work: s.count) {
            if s.usesColumns {
                table.pointee.batchnorm_moments_columns_items($0, $1, x, partials.floats, s.samples, Int32(s.columns))
            } else {
                table.pointee.batchnorm_moments_planes_items(
                    $0, $1, x, partials.floats, Int32(s.channels), Int32(s.inner))
            }
        }
        device.alone {
            table.pointee.batchnorm_statistics_channels(
                0, s.channels, partials.floats, mean, rstd, runningMean, runningVariance, s.samples,
                Int32(s.channels), Int32(s.inner), Int32(s.fold), Int32(s.samplesPerPart(grouped: false)), epsilon,
                momentum, o.running == nil ? 0 : 1)
        }
        try device.normalise(
            s, o.x, RunningStatistics(mean: o.mean, variance: o.rstd), o.weight, o.bias, o.residual, o.y, relu: relu,
            fromVariance: false, epsilon)
    }
}

extension BatchNormInference {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let s = try Channels(o.x, self)
        guard s.count > 0 else { return }
        try device.normalise(
            s, o.x, o.statistics, o.weight, o.bias, o.residual, o.y, relu: relu, fromVariance: true, epsilon)
    }
}

extension BatchNormBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let s = try Channels(o.x, self)
        let (table, x, dy) = (device.table, try o.x.pointer(as: Float.self), try o.dy.pointer(as: Float.self))
        let (mean, spread) = (try o.mean.pointer(as: Float.self), try o.spread.pointer(as: Float.self))
        let (weight, y) = (try o.weight?.pointer(as: Float.self), try o.y?.pointer(as: Float.self))
        let (channels, inner, relu) = (Int32(s.channels), Int32(s.inner), Int32(self.relu ? 1 : 0))
        let running: Int32 = statistics == .running ? 1 : 0
        let sums = try device.arena.allocate(2 * s.channels * 4, for: .workspace)
        if needsSums(o) {
            let partials = try s.partials(on: device)
            device.parallel(s.items, work: s.count) {
                if s.usesColumns {
                    table.pointee.batchnorm_products_columns_items(
                        $0, $1, x, y, dy, mean, spread, partials.floats, s.samples, channels, inner, relu, running,
                        epsilon)
                } else {
                    table.pointee.batchnorm_products_planes_items(
                        $0, $1, x, y, dy, mean, spread, partials.floats, channels, inner, relu, running, epsilon)
                }
            }
            let block = s.samplesPerPart(grouped: false)
            try device.alone {
                table.pointee.batchnorm_sums_channels(
                    0, s.channels, partials.floats, sums.floats, try o.dWeight?.view.pointer(),
                    try o.dBias?.view.pointer(), (s.samples + block - 1) / block, channels, Int32(s.fold),
                    o.dWeight == nil ? 0 : 1, o.dBias == nil ? 0 : 1, o.dWeight?.mode.flag ?? 0,
                    o.dBias?.mode.flag ?? 0)
            }
        }
        guard s.count > 0, o.dx != nil || o.dResidual != nil else { return }
        let (dx, dResidual): (UnsafeMutablePointer<Float>?, UnsafeMutablePointer<Float>?) = (
            try o.dx?.view.pointer(), try o.dResidual?.view.pointer()
        )
        let backward =
            s.usesColumns
            ? table.pointee.batchnorm_backward_columns_items : table.pointee.batchnorm_backward_planes_items
        device.parallel(s.items, work: s.count) {
            backward?(
                $0, $1, x, y, dy, mean, spread, weight, sums.floats, dx, dResidual, s.samples, channels, inner,
                weight == nil ? 0 : 1, relu, 1 - running, epsilon, dx == nil ? 0 : 1, dResidual == nil ? 0 : 1,
                o.dx?.mode.flag ?? 0, o.dResidual?.mode.flag ?? 0)
        }
    }
}

extension Channels {
    fileprivate func partials(on device: CPUDevice) throws -> Block {
        let block = samplesPerPart(grouped: false)
        return try device.arena.allocate(
            (samples + block - 1) / block * 2 * channels * fold * 4, for: .workspace)
    }
}

extension Block {
    fileprivate var floats: UnsafeMutablePointer<Float> { pointer.assumingMemoryBound(to: Float.self) }
}

extension CPUDevice {
    /// - Parameter statistics: its variance holds rstd unless `fromVariance`.
    fileprivate func normalise(
        _ s: Channels, _ x: View, _ statistics: RunningStatistics, _ weight: View?, _ bias: View?, _ residual: View?,
        _ y: View, relu: Bool, fromVariance: Bool, _ epsilon: Float
    ) throws {
        let (x, y) = (try x.pointer(as: Float.self), try y.pointer(as: Float.self))
        let (mean, spread) = (
            try statistics.mean.pointer(as: Float.self), try statistics.variance.pointer(as: Float.self)
        )
        let (weight, bias) = (try weight?.pointer(as: Float.self), try bias?.pointer(as: Float.self))
        let residual = try residual?.pointer(as: Float.self)
        let (channels, inner) = (Int32(s.channels), Int32(s.inner))
        let flags = (weight == nil, bias == nil, residual == nil)
        parallel(s.items, work: s.count / 2) {
            if s.usesColumns {
                table.pointee.batchnorm_apply_columns_items(
                    $0, $1, x, mean, spread, weight, bias, residual, y, s.samples, channels, inner, flags.0 ? 0 : 1,
                    flags.1 ? 0 : 1, flags.2 ? 0 : 1, relu ? 1 : 0, fromVariance ? 1 : 0, epsilon)
            } else {
                table.pointee.batchnorm_apply_planes_items(
                    $0, $1, x, mean, spread, weight, bias, residual, y, channels, inner, flags.0 ? 0 : 1,
                    flags.1 ? 0 : 1, flags.2 ? 0 : 1, relu ? 1 : 0, fromVariance ? 1 : 0, epsilon)
            }
        }
    }
}
