extension Conv2d {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        var problem = ConvProblem.forward(geometry, x: o.x, weight: o.weight, y: o.y.view)
        problem.hasBias = o.bias != nil
        problem.relu = activation == .relu
        problem.accumulate = o.y.mode == .accumulate
        try problem.gather(source: o.x, weight: o.weight, bias: o.bias, target: o.y.view, on: device)
    }
}

extension Conv2dBackwardInput {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let problems = try gathers(o, maySpread: device.family == .vector) {
            try Fill(0).openCL(.init(y: $0), on: device)
        }
        for problem in problems {
            try problem.gather(source: o.dy, weight: o.weight, bias: nil, target: o.dx.view, on: device)
        }
    }
}

extension Conv2dBackwardWeight {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        var problem = ConvProblem.forward(geometry, x: o.x, weight: o.dWeight.view, y: o.dy)
        problem.hasBias = o.dBias != nil
        guard problem.allOutputs > 0 else { return }
        let plan = problem.weightPlan(device)
        let sums = problem.allOutputs * (problem.depth + 1)
        let partials = try device.workspace(max(1, plan.chunks * sums))
        if plan.chunks > 0 { try problem.partialWeights(o, plan, into: partials, on: device) }
        let arguments: [KernelArgument] =
            try partials.arguments() + [.int(plan.chunks), .long(problem.allOutputs), .int(problem.depth)]
            + o.dWeight.view.arguments() + [.long(problem.weightStrides.output), .int(o.dWeight.mode.flag)]
            + (o.dBias?.view ?? partials).arguments() + [.flag(o.dBias != nil), .int(o.dBias?.mode.flag ?? 0)]
        switch device.family {
        case .vector:
            try device.launchRows(
                "conv.cl", "conv_weight_sum", options: problem.options(device), rows: problem.allOutputs,
                columns: (problem.depth + 1) * (plan.chunks + 1), arguments)
        case .simt, .nvptx:
            try device.launchElements(
                "conv.cl", "conv_weight_sum", options: problem.weightOptions, count: sums, arguments)
        }
    }
}

extension ConvProblem {
    private static func unit(_ device: OpenCLDevice) -> ConvPlan.Unit {
        device.info.vectorWidth < 16 ? .narrow : ConvPlan.Unit()
    }

    /// Build options of the vector family.
    fileprivate func options(_ device: OpenCLDevice) -> String { "-DCONV_LANES=\(Self.unit(device).lanes)" }

    private func arguments(_ plan: ConvPlan) -> [KernelArgument] { fields(plan).map { .int($0) } }

    // MARK: Forward and input gradient

    fileprivate func gather(source: View, weight: View, bias: View?, target: View, on device: OpenCLDevice) throws {
        guard pixels > 0, allOutputs > 0 else { return }
        switch device.family {
        case .vector: try gatherVector(source, weight, bias, target, device)
        case .simt, .nvptx: try gatherSIMT(source, weight, bias, target, device)
        }
    }

    private func gatherVector(_ source: View, _ weight: View, _ bias: View?, _ target: View, _ device: OpenCLDevice)
        throws
    {
        if isDepthwise(Self.unit(device)) { return try gatherDepthwise(source, weight, bias, target, device) }
        let plan = ConvPlan.gather(self, Self.unit(device), workers: 2 * device.info.computeUnits)
        let fields = arguments(plan)
        let packed = try device.workspace(plan.packed + 1)
        let offsets = try device.workspace(depth + 1)
        let slots = try device.workspace(plan.workers * plan.slot)
        try device.launchRows(
            "conv.cl", "conv_pack", options: options(device), rows: groups * Self.unit(device).panels(outputs),
            columns: Self.unit(device).rows * depth,
            weight.arguments() + packed.arguments() + offsets.arguments() + fields)
        try device.enqueue(
            Launch(
                "conv.cl", "conv_gather", options: options(device),
                source.arguments() + packed.arguments() + offsets.arguments() + (bias ?? source).arguments()
                    + target.arguments() + slots.arguments() + [.long(plan.slot), .long(plan.spotsAt)]
                    + fields,
                global: (plan.workers, 1, 1), local: (1, 1, 1)))
    }

    private func gatherDepthwise(
        _ source: View, _ weight: View, _ bias: View?, _ target: View, _ device: OpenCLDevice
    ) throws {
        let plan = ConvPlan.depthwise(self, workers: 2 * device.info.computeUnits)
        let slots = try device.workspace(plan.workers * plan.slot)
        try device.enqueue(
            Launch(
                "conv.cl", "conv_depthwise", options: options(device),
                source.arguments() + weight.arguments() + (bias ?? source).arguments() + target.arguments()
                    + slots.arguments() + [.long(plan.slot), .long(plan.listsAt)] + arguments(plan),
                global: (plan.workers, 1, 1), local: (1, 1, 1)))
    }

    private func gatherSIMT(_ source: View, _ weight: View, _ bias: View?, _ target: View, _ device: OpenCLDevice)
        throws
    {
        let operands =
            try source.arguments() + weight.arguments() + (bias ?? source).arguments() + target.arguments()
        if isDirect {
            let groups = min((pixels * allOutputs).dividedUp(by: 256), 1 << 16)
            return try device.enqueue(
                Launch(
                    "conv.cl", "conv_direct", operands + arguments(ConvPlan()), global: (groups * 256, 1, 1),
                    local: (256, 1, 1)))
        }
        let tile = Tile(outputs)
        let tiles = pixels.dividedUp(by: tile.columns) * outputs.dividedUp(by: tile.rows) * groups
        try device.enqueue(
            Launch(
                "conv.cl", "conv_gather", options: tile.options,
                operands + Divisor(max(1, y.taps * x.taps)).arguments + Divisor(max(1, x.taps)).arguments
                    + arguments(ConvPlan()),
                global: (tiles * 256, 1, 1), local: (256, 1, 1)))
    }

    // MARK: Weight gradient

    fileprivate func weightPlan(_ device: OpenCLDevice) -> ConvPlan {
        var plan: ConvPlan
        switch device.family {
        case .vector:
            let (unit, workers) = (Self.unit(device), 2 * device.info.computeUnits)
            plan =
                hasDepthwiseWeight(device)
                ? ConvPlan.depthwiseWeight(self, unit, workers: workers)
                : ConvPlan.weight(self, unit, workers: workers)
        case .simt, .nvptx:
            plan = ConvPlan()
            // Enough groups to fill a large device four times over, as long as each sums many pixels.
            let memory = max(1, (1 << 24) / max(1, allOutputs * (depth + 1)))
            plan.chunks = max(1, min(512.dividedUp(by: max(1, weightTiles)), pixels / 1024, memory))
        }
        if pixels == 0 { plan.chunks = 0 }
        return plan
    }

    /// Whether the vector family's depthwise kernel sums the weight gradient.
    private func hasDepthwiseWeight(_ device: OpenCLDevice) -> Bool { channels == 1 && isDepthwise(Self.unit(device)) }

    /// Groups of one chunk of the gradient of the weight.
    private var weightTiles: Int {
        if isDirect { return depth.dividedUp(by: 9) * allOutputs }
        let tile = Tile(outputs, pixels: false)
        return depth.dividedUp(by: tile.columns) * outputs.dividedUp(by: tile.rows) * groups
    }

    fileprivate var weightOptions: String { isDirect ? "" : Tile(outputs, pixels: false).options }

    fileprivate func partialWeights(
        _ o: Conv2dBackwardWeight.Operands, _ plan: ConvPlan, into partials: View, on device: OpenCLDevice
    ) throws {
        let fields = arguments(plan)
        switch device.family {
        case .vector where hasDepthwiseWeight(device):
            let slots = try device.workspace(plan.workers * plan.slot)
            try device.enqueue(
                Launch(
                    "conv.cl", "conv_depthwise_weight", options: options(device),
                    o.x.arguments() + o.dy.arguments() + partials.arguments() + slots.arguments()
                        + [.long(plan.slot), .long(plan.listsAt), .long(plan.lanesAt)] + fields,
                    global: (plan.workers, 1, 1), local: (1, 1, 1)))
        case .vector:
            let offsets = try device.workspace(depth + 1)
            let slots = try device.workspace(plan.workers * plan.slot)
            try device.enqueue(
                Launch(
                    "conv.cl", "conv_offsets", options: options(device), offsets.arguments() + fields,
                    global: (1, 1, 1), local: (1, 1, 1)))
            try device.enqueue(
                Launch(
                    "conv.cl", "conv_weight", options: options(device),
                    o.x.arguments() + o.dy.arguments() + offsets.arguments() + partials.arguments() + slots.arguments()
                        + [.long(plan.slot), .long(plan.spotsAt), .long(plan.lanesAt)] + fields,
                    global: (plan.workers, 1, 1), local: (1, 1, 1)))
        case .simt, .nvptx:
            let operands = try o.x.arguments() + o.dy.arguments() + partials.arguments() + fields
            if depth > 0 {
                try device.enqueue(
                    Launch(
                        "conv.cl", isDirect ? "conv_weight_direct" : "conv_weight", options: weightOptions, operands,
                        global: (weightTiles * plan.chunks * 256, 1, 1), local: (256, 1, 1)))
            }
            if hasBias {
                try device.enqueue(
                    Launch(
                        "conv.cl", "conv_bias", options: weightOptions,
                        try o.dy.arguments() + partials.arguments() + fields,
                        global: (allOutputs * plan.chunks * 256, 1, 1), local: (256, 1, 1)))
            }
        }
    }

    // MARK: simt

    /// So few products that tiles would be empty: a work-item for each output.
    private var isDirect: Bool { groups > 1 && (channels == 1 || outputs < 4) && depth <= 64 }

    /// Tiles after the number of outputs.
    private struct Tile {
        var rows = 64
        var columns = 64
        init(_ outputs: Int, pixels: Bool = true) {
            if outputs <= 16, pixels {
                (rows, columns) = (16, 256)
            } else if outputs <= 32 {
                (rows, columns) = (32, 128)
            }
        }
        var options: String { "-DBM=\(rows) -DBN=\(columns)" }
    }
}

/// Division of numbers below 2^31 by a constant, as a product: conv.cl's `divide`.
private struct Divisor {
    let arguments: [KernelArgument]

    init(_ d: Int) {
        var shift = 0
        while 1 << shift < d { shift += 1 }
        let multiplier = UInt32(((1 << (31 + shift)) + d - 1) / d)
        arguments = [.int(Int32(bitPattern: multiplier)), .int(shift)]
    }
}
