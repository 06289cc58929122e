/// Groups of one channel or of one output: the depthwise part of kernels/conv.cl.
extension ConvPlan {
    /// Floats of copies in the first-level cache, and of those a weight gradient reads from the second.
    private static let copyLimit = 1 << 11
    private static let weightCopyLimit = 1 << 14
    /// Floats of sums in the first-level cache.
    private static let sumsLimit = 1 << 12
    /// Floats behind a copy: CONV_SLACK.
    private static let slack = 32

    /// `vector` and CPU, forward or input gradient.
    /// - Parameter most: workers that the device can keep busy.
    static func depthwise(_ p: ConvProblem, workers most: Int) -> ConvPlan {
        var plan = ConvPlan()
        plan.copyStrips(p, limit: copyLimit)
        // Two lists of ints and one of weights.
        plan.slot = plan.listsAt + (3 * p.depth).roundedUp(to: 32) + 160
        plan.workers = min(worthwhile(p, most), p.images * p.groups * p.y.count.dividedUp(by: plan.stripRows))
        return plan
    }

    /// `vector` and CPU, weight gradient of a forward problem whose groups have one channel.
    static func depthwiseWeight(_ p: ConvProblem, _ unit: Unit, workers most: Int) -> ConvPlan {
        var plan = ConvPlan()
        plan.copyStrips(p, limit: weightCopyLimit)
        let sumsOfGroup = p.outputs * (p.depth + 1) * unit.lanes
        plan.blockGroups = max(1, min(p.groups, sumsLimit / sumsOfGroup))
        plan.lanesAt = plan.listsAt + (2 * p.depth).roundedUp(to: 32)
        let lanes = plan.stripRows * p.x.count.roundedUp(to: unit.lanes)
        plan.slot = plan.lanesAt + (lanes + plan.blockGroups * sumsOfGroup + 16).roundedUp(to: 32) + 160

        plan.chunks = partialSums(p, blocks: p.images * p.y.count.dividedUp(by: plan.stripRows))
        plan.workers = worthwhile(p, most)
        if plan.chunks < plan.workers { plan.parts = min(p.groups, plan.workers.dividedUp(by: max(1, plan.chunks))) }
        plan.workers = min(plan.workers, max(1, plan.chunks * plan.parts))
        return plan
    }

    /// Rows of outputs so that the copy of what they meet has `limit` floats, as long as what strips share stays a small part of it.
    private mutating func copyStrips(_ p: ConvProblem, limit: Int) {
        let width = p.x.span(p.x.count)
        pitch = p.x.step == 1 ? width : 2 * width.dividedUp(by: 2)
        let reach = (p.y.taps - 1) * abs(p.y.tapStep) / p.y.step
        stripRows = p.y.count
        while stripRows > 4 * reach + 8, p.channels * p.y.span(stripRows) * pitch > limit {
            // Strips begin with a multiple of the spread.
            stripRows = stripRows.dividedUp(by: 2).roundedUp(to: p.y.spread)
        }
        plane = (p.y.span(stripRows) * pitch).roundedUp(to: 16)
        listsAt = (p.channels * plane + Self.slack).roundedUp(to: 32)
    }
}

extension ConvProblem {
    /// Whether the kernels' depthwise part takes it: as few products as make planes and packed weights the larger part of the work. A
    /// map within one vector leaves most lanes empty there, a kernel of one element has nothing to share.
    func isDepthwise(_ unit: ConvPlan.Unit) -> Bool {
        guard min(channels, outputs) == 1, max(channels, outputs) <= Self.mostOfDepthwiseGroup else { return false }
        let (taps, places) = (y.taps * x.taps, y.count * x.count)
        guard taps > 1, places > unit.lanes, x.step * x.spread <= 2, y.spread <= 2 else { return false }
        return x.targetStep == 1 && y.targetStep == 1
    }

    /// Outputs (channels) of a group of one channel (output).
    static let mostOfDepthwiseGroup = 4
}

extension ConvProblem.Axis {
    /// Elements of the source from the first to the last that `count` outputs meet: conv_span in conv.cl.
    fileprivate func span(_ count: Int) -> Int {
        let reach = (taps - 1) * tapStep
        func element(_ place: Int) -> Int { place >= 0 ? place / spread : -((-place + spread - 1) / spread) }
        let last = first + (count - 1) * step + max(0, reach)
        return element(last) - element(first + min(0, reach)) + 1
    }
}
