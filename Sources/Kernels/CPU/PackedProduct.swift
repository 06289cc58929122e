internal import CRows

/// Products by the CPU backend's own kernel (gemm.inc in CRows), which is faster than OpenBLAS where it is there. It takes bf16 factors as
/// they lie and applies the epilogue while a block of C is in the cache. What comes out does not depend on the number of threads.
struct PackedProduct {
    private let operands: Matmul.Operands
    /// Of the first matrices; pointers are those of the views.
    private let first: crows_gemm

    /// - Parameter hasEpilogue: C is then written, not added to.
    /// - Throws: `KernelError` when an operand is not in the host's memory.
    init(_ op: Matmul, _ o: Matmul.Operands, _ m: Int, _ n: Int, _ k: Int, hasEpilogue: Bool) throws {
        operands = o
        var g = crows_gemm()
        (g.m, g.n, g.k) = (m, n, k)
        let (a, b, c) = (MatrixLayout(o.a)!, MatrixLayout(o.b)!, MatrixLayout(o.c.view)!)
        (g.a_row, g.a_depth) = a.transposed ? (1, a.leading) : (a.leading, 1)
        (g.b_column, g.b_depth) = b.transposed ? (b.leading, 1) : (1, b.leading)
        (g.a_narrow, g.b_narrow) = (o.a.dtype == .bf16 ? 1 : 0, o.b.dtype == .bf16 ? 1 : 0)
        (g.a, g.b) = (
            UnsafeRawPointer(try o.a.pointer(as: UInt8.self)), UnsafeRawPointer(try o.b.pointer(as: UInt8.self))
        )
        (g.c, g.c_pitch) = (try o.c.view.pointer(), c.leading)
        (g.alpha, g.accumulate) = (op.alpha, o.c.mode == .accumulate ? 1 : 0)
        (g.has_epilogue, g.activation) = (hasEpilogue ? 1 : 0, Int32(op.activation.rawValue))
        if let bias: UnsafeMutablePointer<Float> = try o.bias?.pointer() { g.bias = UnsafePointer(bias) }
        if let view = o.preactivation { (g.pre, g.pre_pitch) = (try view.pointer(), MatrixLayout(view)!.leading) }
        if let view = o.residual {
            let residual: UnsafeMutablePointer<Float> = try view.pointer()
            (g.residual, g.residual_pitch) = (UnsafePointer(residual), MatrixLayout(view)!.leading)
        }
        first = g
    }

    func run(on device: CPUDevice) throws {
        let work = first.m * first.n * first.k
        for batch in MatmulBatch.runs(operands) {
            // Whole products go to the threads where there are enough of them, or each is too little to be shared.
            let isOneEach = batch.count >= device.threads || work < CPUDevice.smallProduct
            let workers = isOneEach ? 1 : device.threads
            let slot = withUnsafePointer(to: first) { device.table.pointee.gemm_slot(workers, $0) }
            let slots = try device.arena.allocate(4 * slot * device.threads, for: .workspace)
            nonisolated(unsafe) let space = slots.pointer.assumingMemoryBound(to: Float.self)
            if isOneEach {
                device.parallelParts(batch.count, work: work / CPUDevice.workUnit * batch.count) { part, begin, end in
                    for z in begin..<end { share(batch, z, 0..<1, of: 1, space + part * slot, slot, device) }
                }
            } else {
                for z in 0..<batch.count {
                    device.parallel(workers, work: work / CPUDevice.workUnit) { begin, end in
                        share(batch, z, begin..<end, of: workers, space, slot, device)
                    }
                }
            }
        }
    }

    private func share(
        _ batch: MatmulBatch, _ z: Int, _ range: Range<Int>, of workers: Int, _ slots: UnsafeMutablePointer<Float>,
        _ slot: Int, _ device: CPUDevice
    ) {
        var g = first
        let (a, b) = (batch.offsets.a + z * batch.strides.a, batch.offsets.b + z * batch.strides.b)
        g.a += a * operands.a.dtype.size
        g.b += b * operands.b.dtype.size
        g.c += batch.offsets.c + z * batch.strides.c
        if let view = operands.preactivation { g.pre += batch.place(of: view, beside: operands.c.view, z) }
        if let view = operands.residual { g.residual += batch.place(of: view, beside: operands.c.view, z) }
        withUnsafePointer(to: g) {
            device.table.pointee.gemm_workers(range.lowerBound, range.upperBound, workers, $0, slots, slot)
        }
    }
}
