/// How a convolution is cut up for a device: blocks of images, strips of rows, parts of the outputs; see kernels/conv.cl. Sums depend on
/// nothing here but `chunks`, and that on the shape alone.
struct ConvPlan {
    /// Images whose planes lie side by side.
    var blockImages = 1
    /// Rows of outputs that a worker computes from one set of planes.
    var stripRows = 1
    /// Elements from one row of a plane, rows from one image and elements from one plane to the next.
    var pitch = 1
    var imageRows = 1
    var plane = 1
    /// Planes are the source itself.
    var inPlace = false
    /// Pieces of the outputs (groups) that are computed apart.
    var parts = 1
    /// Outputs whose weights stay in the cache.
    var weightRows = 0
    /// Weight gradient: channels whose planes a worker holds at a time.
    var blockChannels = 0
    /// Weight gradient: partial sums.
    var chunks = 1

    /// A worker's floats; where its spots and its copy of dy begin.
    var slot = 0
    var spotsAt = 0
    var lanesAt = 0
    var workers = 1
    /// Floats of packed weights.
    var packed = 0

    /// The registers of the vector family.
    struct Unit: Equatable {
        /// Lanes of a vector of pixels, outputs of a panel.
        var lanes = 16
        var rows = 8
        static let narrow = Unit(lanes: 8, rows: 4)

        /// As conv_padded in conv.cl.
        func padded(_ outputs: Int) -> Int {
            var total = 0
            while total < outputs {
                let rest = outputs - total
                total += rest > rows - 4 && rest >= 3 ? rows : rest >= 3 ? 4 : 1
            }
            return total
        }
    }

    private static let spotInts = 6
    /// Floats of planes and of weights that share the second-level cache (512 KiB and up).
    private static let planesLimit = 1 << 17
    private static let weightsLimit = 1 << 16
    /// Multiply-adds that are worth another worker.
    private static let leastWork = 1 << 17

    /// `vector` and CPU, forward or input gradient.
    static func gather(_ p: ConvProblem, _ unit: Unit, units: Int) -> ConvPlan {
        var plan = ConvPlan()
        let pixels = p.y.count * p.x.count
        // Reading in place needs whole vectors, and channels that do not all fall into one set of the cache.
        plan.inPlace =
            p.y.count == 1 && p.y.isIdentity && p.x.isIdentity && pixels % unit.lanes == 0
            && (pixels % 512 != 0 || p.outputs <= 2 * unit.rows)
        // Small images fill vectors together.
        let wanted = plan.inPlace ? 1 : max(1, 32 * unit.lanes / pixels)
        plan.layOut(p, unit, channels: p.channels, images: min(wanted, p.images))
        if p.depth > 0 {
            plan.weightRows = max(unit.rows, weightsLimit / p.depth / unit.rows * unit.rows)
        } else {
            plan.weightRows = 1 << 20
        }
        plan.packed = p.groups * unit.padded(p.outputs) * p.depth

        let work = Double(p.pixels) * Double(p.allOutputs) * Double(max(1, p.depth))
        plan.workers = max(1, min(2 * units, Int(work / Double(leastWork))))
        let blocks = p.images.dividedUp(by: plan.blockImages) * p.y.count.dividedUp(by: plan.stripRows)
        let most = p.groups > 1 ? p.groups : p.outputs.dividedUp(by: unit.rows)
        // Even shares: at least four units for each worker, unless copying planes again would cost more.
        if blocks < 4 * plan.workers { plan.parts = min(most, (2 * plan.workers).dividedUp(by: blocks)) }
        plan.workers = min(plan.workers, blocks * plan.parts)
        return plan
    }

    /// `vector` and CPU, weight gradient of a forward problem.
    static func weight(_ p: ConvProblem, _ unit: Unit, units: Int) -> ConvPlan {
        var plan = ConvPlan()
        let pixels = p.y.count * p.x.count
        plan.inPlace = p.y.count == 1 && p.y.isIdentity && p.x.isIdentity && pixels % unit.lanes == 0
        // The sums of lanes at the end of a block are small beside 96 vectors.
        let wanted = plan.inPlace ? 1 : max(1, 96 * unit.lanes / pixels)
        plan.layOut(p, unit, channels: min(p.channels, 16), images: min(wanted, p.images))
        plan.blockChannels =
            plan.inPlace ? p.channels : max(1, min(p.channels, planesLimit / (plan.plane * p.y.phases * p.x.phases)))

        let blocks = p.images.dividedUp(by: plan.blockImages) * p.y.count.dividedUp(by: plan.stripRows)
        let sums = max(1, p.allOutputs * (p.depth + 1))
        plan.chunks = min(blocks, max(1, min(8, (1 << 22) / sums)))
        let work = Double(p.pixels) * Double(p.allOutputs) * Double(max(1, p.depth))
        plan.workers = max(1, min(2 * units, Int(work / Double(leastWork))))
        let most = p.groups > 1 ? p.groups : p.outputs.dividedUp(by: 4)
        if plan.chunks < plan.workers { plan.parts = min(most, plan.workers.dividedUp(by: max(1, plan.chunks))) }
        plan.workers = min(plan.workers, max(1, plan.chunks * plan.parts))
        let planes = plan.inPlace ? 0 : plan.blockChannels * p.y.phases * p.x.phases * plan.plane + unit.lanes
        plan.place(
            p, unit, planes: planes, lanesOf: p.groups > 1 ? p.outputs : (p.outputs.dividedUp(by: plan.parts) + 4))
        return plan
    }

    /// Chooses images and rows of a block so that the planes of `channels` stay in the cache.
    private mutating func layOut(_ p: ConvProblem, _ unit: Unit, channels: Int, images: Int) {
        pitch = p.x.pitch
        imageRows = p.y.count == 1 && p.y.taps == 1 ? 1 : p.y.pitch
        let phases = max(1, channels * p.y.phases * p.x.phases)
        func plane(_ images: Int, _ rows: Int) -> Int {
            let elements =
                (images - 1) * imageRows * pitch + (rows + p.y.shift) * pitch + max(0, p.x.count + p.x.shift - pitch)
            // An odd number of cache lines: planes then spread over all sets of the cache.
            let lines = elements.dividedUp(by: 16)
            return (lines | 1) * 16
        }
        blockImages = max(1, images)
        stripRows = max(1, p.y.count)
        if !inPlace {
            while blockImages > 1, plane(blockImages, stripRows) * phases > Self.planesLimit { blockImages -= 1 }
            while stripRows > 1, blockImages == 1, plane(1, stripRows) * phases > 2 * Self.planesLimit,
                // Rows that strips share are copied twice.
                stripRows > 4 * p.y.shift, stripRows * pitch > 16 * unit.lanes
            {
                stripRows = stripRows.dividedUp(by: 2)
            }
        }
        self.plane = inPlace ? p.x.source : plane(blockImages, stripRows)
        place(p, unit, planes: inPlace ? 0 : p.channels * p.y.phases * p.x.phases * self.plane + unit.lanes, lanesOf: 0)
    }

    /// Where planes, spots and a copy of dy lie in a slot.
    private mutating func place(_ p: ConvProblem, _ unit: Unit, planes: Int, lanesOf outputs: Int) {
        // Each row of outputs begins a spot at most once more than its columns fill.
        let spots = blockImages * stripRows * (p.x.count / unit.lanes + 2)
        spotsAt = planes.roundedUp(to: 32)
        lanesAt = spotsAt + (spots * Self.spotInts).roundedUp(to: 32)
        slot = lanesAt + (outputs * spots * unit.lanes).roundedUp(to: 32)
        // Slots of two workers that are a power of two apart would compete for the same sets of a shared cache.
        slot += 160
    }
}

extension Int {
    /// Division rounded up.
    func dividedUp(by other: Int) -> Int { (self + other - 1) / other }
}
