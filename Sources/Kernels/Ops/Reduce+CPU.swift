internal import CRows

extension Reduce {
    /// Elements of a row that are summed before they join the row's sum; rows that are fewer than threads and longer than this are
    /// cut at these places. The kernels' REDUCE_BLOCK.
    static let rowBlock = 4096
    /// Rows that are summed into one partial of a column sum.
    static let columnBlock = 64
    /// Columns of one item of the column kernels: sums, and the others.
    static let sumStrip = 1024
    static let strip = 64

    /// A tall column sum goes through partials, so that it can be shared out and stays accurate.
    static func needsPartials(_ a: Axis) -> Bool { a.n > 2 * columnBlock }
    /// So does a long row when there are few rows.
    static func needsRowPartials(_ a: Axis) -> Bool { a.n >= 16 * rowBlock && a.outer < 64 }

    func scale(_ n: Int) -> Float { kind == .mean ? 1 / Float(n) : 1 }

    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        guard a.count > 0 else { return }
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.view.pointer(as: Float.self))
        let table = device.table
        let columns = a.outer * ((a.inner + Self.strip - 1) / Self.strip)
        let work = o.x.count / 2
        switch kind {
        case .sum, .mean: try sum(o, a, x, y, device)
        case .variance(let correction):
            let mean = try o.statistic!.pointer(as: Float.self)
            if a.inner == 1 {
                device.parallel(a.outer, work: work) {
                    table.pointee.variance_rows_rows($0, $1, x, a.n, y, mean, a.n, Float(correction))
                }
            } else {
                device.parallel(columns, work: work) {
                    table.pointee.variance_columns_items($0, $1, x, y, mean, a.n, a.inner, Float(correction))
                }
            }
        case .max, .min:
            try extreme(a, x, y, o.statistic!.pointer(as: Int32.self), smallest: kind == .min, device)
        case .logSumExp:
            if a.inner == 1 {
                device.parallel(a.outer, work: work * 4) {
                    table.pointee.logsumexp_rows_rows($0, $1, x, a.n, y, Int32(a.n))
                }
            } else {
                device.parallel(columns, work: work * 4) {
                    table.pointee.logsumexp_columns_items($0, $1, x, y, a.n, a.inner)
                }
            }
        }
    }

    private func sum(
        _ o: Operands, _ a: Axis, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ device: CPUDevice
    ) throws {
        let table = device.table
        let (flag, scale) = (o.y.mode.flag, scale(a.n))
        if a.inner == 1 {
            guard Self.needsRowPartials(a) else {
                return device.parallel(a.outer, work: o.x.count / 4) {
                    table.pointee.sum_rows_rows($0, $1, x, a.n, y, a.n, flag, scale)
                }
            }
            let blocks = (a.n + Self.rowBlock - 1) / Self.rowBlock
            let space = try device.arena.allocate(a.outer * blocks * 4, for: .workspace)
            let partials = space.pointer.assumingMemoryBound(to: Float.self)
            device.parallel(a.outer * blocks, work: o.x.count / 4) {
                table.pointee.sum_row_blocks_items($0, $1, x, a.n, partials, a.n, blocks)
            }
            return device.alone {
                table.pointee.sum_rows_rows(0, a.outer, partials, blocks, y, blocks, flag, scale)
            }
        }
        let strips = (a.inner + Self.sumStrip - 1) / Self.sumStrip
        guard Self.needsPartials(a) else {
            return device.parallel(a.outer * strips, work: o.x.count / 4) {
                table.pointee.sum_columns_items($0, $1, x, y, a.n, a.inner, a.n, flag, scale)
            }
        }
        let blocks = (a.n + Self.columnBlock - 1) / Self.columnBlock
        let space = try device.arena.allocate(a.outer * blocks * a.inner * 4, for: .workspace)
        let partials = space.pointer.assumingMemoryBound(to: Float.self)
        device.parallel(a.outer * blocks * strips, work: o.x.count / 4) {
            table.pointee.sum_columns_items($0, $1, x, partials, a.n, a.inner, Self.columnBlock, 0, 1)
        }
        device.parallel(a.outer * strips, work: a.outer * blocks * a.inner / 4) {
            table.pointee.sum_columns_items($0, $1, partials, y, blocks, a.inner, blocks, flag, scale)
        }
    }
}

/// Largest (or smallest) elements and their indices.
func extreme(
    _ a: Axis, _ x: UnsafePointer<Float>, _ y: UnsafeMutablePointer<Float>, _ index: UnsafeMutablePointer<Int32>,
    smallest: Bool,
    _ device: CPUDevice
) {
    let table = device.table
    let flag: Int32 = smallest ? 1 : 0
    let work = a.outer * a.n * a.inner / 2
    if a.inner == 1 {
        device.parallel(a.outer, work: work) { table.pointee.extreme_rows_rows($0, $1, x, a.n, y, index, a.n, flag) }
    } else {
        let items = a.outer * ((a.inner + Reduce.strip - 1) / Reduce.strip)
        device.parallel(items, work: work) {
            table.pointee.extreme_columns_items($0, $1, x, y, index, a.n, a.inner, flag)
        }
    }
}

extension ReduceBackward {
    /// Rows as the kernels walk them: whole rows when the reduced dimension is the last, else one for each (outer, n).
    func geometry(_ a: Axis) -> (rows: Int, pitch: Int) {
        a.inner == 1 ? (a.outer, a.n) : (a.outer * a.n, a.inner)
    }

    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        let (rows, pitch) = geometry(a)
        let (x, dy, dx) = (
            try o.x.pointer(as: Float.self), try o.dy.pointer(as: Float.self), try o.dx.view.pointer(as: Float.self)
        )
        let (table, flag, work) = (device.table, o.dx.mode.flag, o.x.count / 2)
        switch kind {
        case .max, .min:
            let index = try o.statistic!.pointer(as: Int32.self)
            device.parallel(rows, work: work) {
                table.pointee.extreme_backward_rows($0, $1, index, dy, dx, pitch, a.n, a.inner, flag)
            }
        default:
            let statistic = try o.statistic?.pointer(as: Float.self) ?? dy
            device.parallel(rows, work: work) {
                table.pointee.reduce_backward_rows(
                    $0, $1, x, pitch, statistic, dy, dx, pitch, a.n, a.inner, code, flag, scale(a.n))
            }
        }
    }
}

extension CumulativeSum {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.view.pointer(as: Float.self))
        let (table, backwards, flag): (_, Int32, Int32) = (device.table, reverse ? 1 : 0, o.y.mode.flag)
        if a.inner == 1 {
            device.parallel(a.outer, work: o.x.count) {
                table.pointee.cumsum_rows_rows($0, $1, x, a.n, y, a.n, a.n, backwards, flag)
            }
        } else {
            let items = a.outer * ((a.inner + Reduce.strip - 1) / Reduce.strip)
            device.parallel(items, work: o.x.count) {
                table.pointee.cumsum_columns_items($0, $1, x, y, a.n, a.inner, backwards, flag)
            }
        }
    }
}

extension ArgMax {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let a = Axis(o.x.shape, o.axis)
        let space = try device.arena.allocate(a.count * 4, for: .workspace)
        extreme(
            a, try o.x.pointer(), space.pointer.assumingMemoryBound(to: Float.self), try o.y.pointer(as: Int32.self),
            smallest: false, device)
    }
}
