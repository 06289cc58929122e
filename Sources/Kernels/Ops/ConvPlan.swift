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
    /// Groups whose planes a worker copies together.
    var blockGroups = 1
    /// Weight gradient: channels whose planes a worker holds at a time.
    var blockChannels = 0
    /// Weight gradient: partial sums.
    var chunks = 1

    /// A worker's floats; where its spots (depthwise: its lists of taps) and its copy of dy begin.
    var slot = 0
    var spotsAt = 0
    var listsAt = 0
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

        /// Height of the panel that begins where `rest` outputs are left: conv_panel in conv.cl.
        private func panel(_ rest: Int) -> Int { rest > rows - 4 && rest >= 3 ? rows : rest >= 3 ? 4 : 1 }

        /// Panels of so many outputs, and their rows together.
        func panels(_ outputs: Int) -> Int { heights(outputs).count }
        func padded(_ outputs: Int) -> Int { heights(outputs).reduce(0, +) }

        private func heights(_ outputs: Int) -> [Int] {
            var heights: [Int] = []
            var at = 0
            while at < outputs {
                heights.append(panel(outputs - at))
                at += panel(outputs - at)
            }
            return heights
        }
    }

    private static let spotInts = 6
    /// Floats of planes and of weights that share the second-level cache (512 KiB and up).
    private static let planesLimit = 1 << 17
    private static let weightsLimit = 1 << 16
    /// Floats of planes of several groups together.
    private static let groupsLimit = 1 << 13
    /// Multiply-adds that are worth another worker.
    private static let leastWork = 1 << 17

    /// `vector` and CPU, forward or input gradient.
    /// - Parameter most: workers that the device can keep busy.
    static func gather(_ p: ConvProblem, _ unit: Unit, workers most: Int) -> ConvPlan {
        var plan = ConvPlan()
        let pixels = p.y.count * p.x.count
        plan.inPlace = p.fitsInPlace(unit)
        // Small images fill vectors together.
        let wanted = plan.inPlace ? 1 : max(1, 32 * unit.lanes / pixels)
        plan.layOut(p, unit, channels: p.channels, images: min(wanted, p.images))
        plan.blockGroups = plan.groupsTogether(p)
        plan.place(
            p, unit,
            planes: plan.inPlace
                ? 0 : plan.blockGroups * p.channels * p.y.phases * p.x.phases * plan.plane + unit.lanes,
            lanesOf: 0)
        plan.weightRows = max(unit.rows, weightsLimit / max(1, p.depth) / unit.rows * unit.rows)
        plan.packed = p.groups * unit.padded(p.outputs) * p.depth

        plan.workers = worthwhile(p, most)
        let blocks = p.images.dividedUp(by: plan.blockImages) * p.y.count.dividedUp(by: plan.stripRows)
        // Each part copies the planes again; fewer than four blocks for each worker may leave one of them alone at the end.
        if blocks < 4 * plan.workers {
            let pieces = p.groups > 1 ? p.groups : p.outputs.dividedUp(by: unit.rows)
            plan.parts = min(pieces, (2 * plan.workers).dividedUp(by: blocks))
        }
        plan.workers = min(plan.workers, blocks * plan.parts)
        return plan
    }

    /// `vector` and CPU, weight gradient of a forward problem.
    static func weight(_ p: ConvProblem, _ unit: Unit, workers most: Int) -> ConvPlan {
        var plan = ConvPlan()
        let pixels = p.y.count * p.x.count
        // The sums of lanes at the end of a block are small beside 96 vectors, and smaller beside 192 where maps leave lanes empty.
        let block = (pixels < 64 && p.depth >= 256 ? 192 : 96) * unit.lanes
        plan.inPlace = pixels >= block && p.fitsInPlace(unit)
        let wanted = plan.inPlace ? 1 : max(1, block / pixels)
        plan.layOut(p, unit, channels: min(p.channels, 16), images: min(wanted, p.images), pixels: 4 * block)
        // Blocks of one size: no chunk is a small rest.
        let imageBlocks = max(1, p.images.dividedUp(by: plan.blockImages))
        plan.blockImages = max(1, p.images.dividedUp(by: imageBlocks))
        plan.blockGroups = plan.groupsTogether(p)
        plan.blockChannels =
            plan.inPlace || plan.blockGroups > 1
            ? p.channels : max(1, min(p.channels, planesLimit / (plan.plane * p.y.phases * p.x.phases)))

        let blocks = p.images.dividedUp(by: plan.blockImages) * p.y.count.dividedUp(by: plan.stripRows)
        plan.chunks = partialSums(p, blocks: blocks)
        plan.workers = worthwhile(p, most)
        let pieces = p.groups > 1 ? p.groups : p.outputs.dividedUp(by: 4)
        if plan.chunks < plan.workers {
            plan.parts = min(pieces, plan.workers.dividedUp(by: max(1, plan.chunks)))
        } else if p.allOutputs >= 64,
            20 * plan.workers * plan.chunks.dividedUp(by: plan.workers) > 23 * plan.chunks
        {
            // The worker with the most chunks would work for 0.15 longer than all do on average: halves of chunks instead.
            plan.parts = min(pieces, 2)
        }
        plan.workers = min(plan.workers, max(1, plan.chunks * plan.parts))
        let channels = plan.blockGroups * plan.blockChannels
        plan.place(
            p, unit, planes: plan.inPlace ? 0 : channels * p.y.phases * p.x.phases * plan.plane + unit.lanes,
            lanesOf: p.groups > 1 ? plan.blockGroups * p.outputs : p.outputs.dividedUp(by: plan.parts) + 4)
        return plan
    }

    /// Partial sums of a weight gradient whose images and strips make so many blocks.
    static func partialSums(_ p: ConvProblem, blocks: Int) -> Int {
        let sums = max(1, p.allOutputs * (p.depth + 1))
        return min(blocks, max(1, min(8, (1 << 22) / sums)))
    }

    /// As many groups as leave their planes in the first-level cache: small ones then share what a copy takes to begin.
    private func groupsTogether(_ p: ConvProblem) -> Int {
        let planes = max(1, p.channels * p.y.phases * p.x.phases) * plane
        return max(1, min(p.groups, 16, Self.groupsLimit / planes))
    }

    static func worthwhile(_ p: ConvProblem, _ most: Int) -> Int {
        let work = Double(p.pixels) * Double(p.allOutputs) * Double(max(1, p.depth))
        return max(1, min(most, Int(work / Double(leastWork))))
    }

    /// Chooses images and rows of a block so that the planes of `channels` stay in the cache.
    private mutating func layOut(
        _ p: ConvProblem, _ unit: Unit, channels: Int, images: Int, pixels: Int = .max
    ) {
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
            while stripRows > 1, blockImages == 1,
                plane(1, stripRows) * phases > 2 * Self.planesLimit || stripRows * p.x.count > pixels,
                // Rows that strips share are copied twice.
                stripRows > 4 * p.y.shift, stripRows * pitch > 16 * unit.lanes
            {
                stripRows = stripRows.dividedUp(by: 2)
            }
        }
        self.plane = inPlace ? p.x.source : plane(blockImages, stripRows)
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

extension ConvProblem {
    /// Whether the source itself can serve as planes: a kernel of one element, whole vectors, and channels that do not fall into the
    /// same few sets of a first-level cache of 64 sets by 8 lines, where a tile's two lines of each of them would not stay.
    fileprivate func fitsInPlace(_ unit: ConvPlan.Unit) -> Bool {
        guard y.count == 1, y.isIdentity, x.isIdentity, x.count % unit.lanes == 0 else { return false }
        let sets = 64 / greatestCommonDivisor(64, x.count.dividedUp(by: 16))
        return 2 * channels <= 8 * sets
    }
}

extension Int {
    /// Division rounded up.
    func dividedUp(by other: Int) -> Int { (self + other - 1) / other }
}
