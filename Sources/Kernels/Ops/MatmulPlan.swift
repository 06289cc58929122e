/// How a product is cut up for a device. A pure function of the shape and the device, so that one shape always sums in one order.
struct MatmulPlan: Equatable {
    var tileM = 0
    var tileN = 0
    /// vector: depth of a packed block of B.
    var blockK = 0
    /// Pieces of k that are summed apart and added in order by a second kernel.
    var splits = 1
    /// Whether sums go to the workspace first.
    var partials = false
    /// vector: work-items; simt: work-groups.
    var workers = 0
    /// vector: floats of packing space for each worker.
    var slot = 0
    /// Floats of workspace.
    var workspace = 0
    /// simt: 64 × 64 tiles instead of 128 × 128.
    var small = false
    /// simt: the kernel for at most `skinnyRows` rows.
    var skinny = false
    static let skinnyRows = 8

    struct Problem: Equatable {
        var m, n, k, batch: Int
        var transposeB: Bool
        var accumulate: Bool
        /// The epilogue cannot be applied to a sum that already holds the old output.
        var needsSumAlone: Bool
        /// C is rounded: only finished sums may go there.
        var rounds = false
    }

    // Tile sides that keep a packed block of B in the second-level cache; found by measurement (docs/PERFORMANCE.md).
    private static let largestTileM = 768
    private static let largestTileN = 512
    private static let largestBlockK = 384

    /// The block of C that the innermost loop keeps in registers: 12 × 32 with AVX-512, 6 × 16 for narrower units.
    struct Panel: Equatable {
        var rows = 12
        var columns = 32
        static let narrow = Panel(rows: 6, columns: 16)
    }

    /// `vector`: the tiling of least estimated time among equal tilings. Unit: multiply-adds of 16 lanes, about a cycle each.
    static func vector(_ p: Problem, units: Int, panel: Panel = Panel()) -> MatmulPlan {
        var best = MatmulPlan()
        var bestCost = Double.infinity
        var splits = 1
        while splits <= 2 * units, splits == 1 || p.k / splits >= 256 {
            defer { splits *= 2 }
            // An empty sum is planned like one of a single term.
            let k = max(1, p.k)
            let depth = k.divided(by: splits)
            guard k.divided(by: depth) == splits else { continue }
            let blockK = depth.divided(by: depth.divided(by: largestBlockK))
            let partials = splits > 1 || p.rounds || (p.accumulate && p.needsSumAlone)
            let fewestM = p.m.divided(by: largestTileM)
            let fewestN = p.n.divided(by: largestTileN)
            for cutsM in fewestM...max(fewestM, min(fewestM + units, p.m.divided(by: 4))) {
                let tileM = p.m.divided(by: cutsM).roundedUp(to: 4)
                // Rows the kernel really computes: whole panels, then panels of 4 rows for a short rest.
                let rest = tileM % panel.rows
                let short = (panel.rows - 1) / 4 * 4
                let rows = Double(tileM - rest + (rest > short ? panel.rows : rest.roundedUp(to: 4)))
                for cutsN in fewestN...max(fewestN, min(fewestN + units, p.n.divided(by: 16))) {
                    let tileN = p.n.divided(by: cutsN).roundedUp(to: 16)
                    let tiles =
                        Double(p.m.divided(by: tileM)) * Double(p.n.divided(by: tileN)) * Double(splits * p.batch)
                    let columns = Double(tileN)
                    let packing = rows * 0.5 + columns * (p.transposeB ? 0.5 : 0.25)
                    var cost =
                        (tiles / Double(units)).rounded(.up) * ((rows * columns / 16 + packing) * Double(depth) + 500)
                    if tiles > 1 { cost += 20_000 }  // waking the other workers
                    if partials {
                        cost += 40_000 + Double(p.m * p.n * p.batch * (splits + 1)) / 4 / Double(units)
                    }
                    guard cost < bestCost * 0.999 else { continue }
                    bestCost = cost
                    best.tileM = tileM
                    best.tileN = tileN
                    best.blockK = blockK
                    best.splits = splits
                    best.partials = partials
                    // Two workers for each unit even out a core that is disturbed.
                    best.workers = Int(min(tiles, Double(2 * units)))
                    best.slot = ((tileN + panel.columns + 48) * blockK + 16).roundedUp(to: 32)
                    best.workspace =
                        best.workers * best.slot
                        + (partials ? p.m * p.n.roundedUp(to: 4) * p.batch * splits : 0)
                }
            }
        }
        return best
    }

    /// What multiplies on a GPU, and nanoseconds that a unit of an H200 takes for a step of k of a 64 × 64 tile, one of 128 × 128 being
    /// three times as long. On slower cards all of it grows alike.
    enum Multiplier: Double {
        case arithmetic = 33
        /// A of bf16.
        case matrixUnits = 5
        /// A of fp32, in three planes.
        case matrixUnitsSplit = 18
    }
    /// Nanoseconds that a second kernel adds, and bytes that are read or written in one.
    private static let launch = 20_000.0
    private static let bandwidth = 3000.0

    /// `simt` and `nvptx`: tiles, and pieces of k where tiles alone leave units without work, by least estimated time.
    static func simt(_ p: Problem, units: Int, by multiplier: Multiplier = .arithmetic) -> MatmulPlan {
        var plan = MatmulPlan()
        var groups = 0
        plan.skinny = p.m <= skinnyRows
        if plan.skinny {
            groups = p.n.divided(by: p.transposeB ? 8 : 128) * p.batch
            if groups <= units { plan.splits = min(64, max(1, p.k / 256), (2 * units).divided(by: groups)) }
        } else {
            var best = Double.infinity
            for side in [128, 64] {
                let tiles = p.m.divided(by: side) * p.n.divided(by: side) * p.batch
                for splits in 1...(tiles <= units ? min(64, max(1, p.k / 256)) : 1) {
                    let turns = Double((tiles * splits).divided(by: units) * (side == 64 ? 1 : 3))
                    var time = turns * Double(p.k) / Double(splits) * multiplier.rawValue
                    if splits > 1 { time += launch + Double(splits * p.m * p.n * p.batch * 8) / bandwidth }
                    guard time < best else { continue }
                    best = time
                    (plan.tileM, plan.tileN, plan.small, plan.splits) = (side, side, side == 64, splits)
                    groups = tiles
                }
            }
        }
        plan.partials = plan.splits > 1
        plan.workers = groups * plan.splits
        if plan.partials { plan.workspace = p.m * p.n.roundedUp(to: 4) * p.batch * plan.splits }
        return plan
    }
}

/// Products of so few rows that their time is that of reading B: gemv.cl on CPUs and the family `vector`.
enum FewRows {
    /// More rows are worth packing B.
    static let most = 4

    /// Whether rows of A, stored like this, are such.
    static func fit(_ m: Int, _ a: MatrixLayout) -> Bool { m <= most && !a.transposed }

    /// Whether the numbers of a column of B are neighbours.
    static func readsAcross(_ n: Int, _ b: MatrixLayout) -> Bool { b.transposed || n == 1 && b.leading == 1 }

    // Bits of the kernels' flags.
    static let bias: Int32 = 1
    static let residual: Int32 = 2
    static let accumulate: Int32 = 4
    static let relu: Int32 = 8
}

extension Int {
    /// Division rounded up.
    fileprivate func divided(by other: Int) -> Int { (self + other - 1) / other }
}
