internal import CRows

extension Conv2d {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        var problem = ConvProblem.forward(geometry, x: o.x, weight: o.weight, y: o.y.view)
        problem.hasBias = o.bias != nil
        problem.relu = activation == .relu
        problem.accumulate = o.y.mode == .accumulate
        try problem.gather(source: o.x, weight: o.weight, bias: o.bias, target: o.y.view, on: device)
    }
}

extension Conv2dBackwardInput {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        for problem in try gathers(o, maySpread: true, clear: { try Fill(0).cpu(.init(y: $0), on: device) }) {
            try problem.gather(source: o.dy, weight: o.weight, bias: nil, target: o.dx.view, on: device)
        }
    }
}

extension Conv2dBackwardWeight {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        var problem = ConvProblem.forward(geometry, x: o.x, weight: o.dWeight.view, y: o.dy)
        problem.hasBias = o.dBias != nil
        let depth = problem.depth
        let chunks = problem.pixels > 0 && problem.allOutputs > 0 ? try problem.partialWeights(o, on: device) : (nil, 0)
        let (dWeight, dBias) = (try o.dWeight.view.pointer(as: Float.self), try o.dBias?.view.pointer(as: Float.self))
        let partials = chunks.0?.pointer.assumingMemoryBound(to: Float.self)
        let sums = problem.allOutputs * (depth + 1) * (chunks.1 + 1)
        device.parallel(problem.allOutputs, work: sums) {
            device.table.pointee.conv_weight_sum_rows(
                $0, $1, partials, Int32(chunks.1), problem.allOutputs, Int32(depth), dWeight,
                problem.weightStrides.output, o.dWeight.mode.flag, dBias, dBias == nil ? 0 : 1,
                o.dBias?.mode.flag ?? 0)
        }
    }
}

extension ConvProblem {
    private static func unit(_ device: CPUDevice) -> ConvPlan.Unit {
        ConvPlan.Unit(
            lanes: Int(device.table.pointee.conv_lanes), rows: Int(device.table.pointee.conv_rows))
    }

    fileprivate func gather(source: View, weight: View, bias: View?, target: View, on device: CPUDevice) throws {
        guard pixels > 0, allOutputs > 0 else { return }
        if isDepthwise(Self.unit(device)) {
            return try gatherDepthwise(source: source, weight: weight, bias: bias, target: target, on: device)
        }
        let plan = ConvPlan.gather(self, Self.unit(device), workers: device.threads)
        let table = device.table
        let (from, to) = (try source.pointer(as: Float.self), try target.pointer(as: Float.self))
        let (weights, biases) = (try weight.pointer(as: Float.self), try bias?.pointer(as: Float.self))
        let space = try device.arena.allocate((plan.packed + depth + 32) * 4, for: .workspace)
        let packed = space.pointer.assumingMemoryBound(to: Float.self)
        let offsets = (space.pointer + plan.packed * 4).assumingMemoryBound(to: Int32.self)
        let slots = try device.arena.allocate(plan.workers * plan.slot * 4, for: .workspace)
        let own = slots.pointer.assumingMemoryBound(to: Float.self)
        fields(plan).withUnsafeBufferPointer { list in
            nonisolated(unsafe) let geometry = list.baseAddress
            device.parallel(groups * Self.unit(device).panels(outputs), work: allOutputs * depth) {
                table.pointee.conv_pack_panels($0, $1, geometry, weights, packed, offsets)
            }
            device.parallel(plan.workers, work: plan.workers > 1 ? Int.max : 0) {
                table.pointee.conv_gather_workers(
                    $0, $1, plan.workers, geometry, from, packed, offsets, biases, to, own, plan.slot, plan.spotsAt)
            }
        }
    }

    private func gatherDepthwise(source: View, weight: View, bias: View?, target: View, on device: CPUDevice) throws {
        let plan = ConvPlan.depthwise(self, workers: device.threads)
        let table = device.table
        let (from, to) = (try source.pointer(as: Float.self), try target.pointer(as: Float.self))
        let (weights, biases) = (try weight.pointer(as: Float.self), try bias?.pointer(as: Float.self))
        let slots = try device.arena.allocate(plan.workers * plan.slot * 4, for: .workspace)
        let own = slots.pointer.assumingMemoryBound(to: Float.self)
        fields(plan).withUnsafeBufferPointer { list in
            nonisolated(unsafe) let geometry = list.baseAddress
            device.parallel(plan.workers, work: plan.workers > 1 ? Int.max : 0) {
                table.pointee.conv_depthwise_workers(
                    $0, $1, plan.workers, geometry, from, weights, biases, to, own, plan.slot, plan.listsAt)
            }
        }
    }

    /// Partial sums of the weight gradient, and how many.
    fileprivate func partialWeights(_ o: Conv2dBackwardWeight.Operands, on device: CPUDevice) throws -> (Block?, Int) {
        let unit = Self.unit(device)
        let depthwise = channels == 1 && isDepthwise(unit)
        let plan =
            depthwise
            ? ConvPlan.depthwiseWeight(self, unit, workers: device.threads)
            : ConvPlan.weight(self, unit, workers: device.threads)
        let table = device.table
        let (x, dy) = (try o.x.pointer(as: Float.self), try o.dy.pointer(as: Float.self))
        let sums = try device.arena.allocate(plan.chunks * allOutputs * (depth + 1) * 4, for: .workspace)
        let partials = sums.pointer.assumingMemoryBound(to: Float.self)
        let space = try device.arena.allocate((depth + 32) * 4, for: .workspace)
        let offsets = space.pointer.assumingMemoryBound(to: Int32.self)
        let slots = try device.arena.allocate(plan.workers * plan.slot * 4, for: .workspace)
        let own = slots.pointer.assumingMemoryBound(to: Float.self)
        fields(plan).withUnsafeBufferPointer { list in
            nonisolated(unsafe) let geometry = list.baseAddress
            if depthwise {
                device.parallel(plan.workers, work: plan.workers > 1 ? Int.max : 0) {
                    table.pointee.conv_depthwise_weight_workers(
                        $0, $1, plan.workers, geometry, x, dy, partials, own, plan.slot, plan.listsAt, plan.lanesAt)
                }
                return
            }
            device.alone { table.pointee.conv_offsets_all(geometry, offsets) }
            device.parallel(plan.workers, work: plan.workers > 1 ? Int.max : 0) {
                table.pointee.conv_weight_workers(
                    $0, $1, plan.workers, geometry, x, dy, offsets, partials, own, plan.slot, plan.spotsAt,
                    plan.lanesAt)
            }
        }
        return (sums, plan.chunks)
    }
}
