internal import COpenBLAS
internal import CRows

extension Matmul {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let c = o.c.view
        let (m, n, k) = (c.shape[c.rank - 2], c.shape[c.rank - 1], o.a.shape[o.a.rank - 1])
        guard m > 0, n > 0 else { return }
        let (la, lb, lc) = (MatrixLayout(o.a)!, MatrixLayout(o.b)!, MatrixLayout(c)!)
        let (a, b, out) = (
            try o.a.pointer() as UnsafeMutablePointer<Float>, try o.b.pointer() as UnsafeMutablePointer<Float>,
            try c.pointer() as UnsafeMutablePointer<Float>
        )
        let plain = o.bias == nil && o.residual == nil && o.preactivation == nil && activation == .none
        // An epilogue on an accumulated output needs the product by itself first.
        let scratch = !plain && o.c.mode == .accumulate
        let beta: Float = o.c.mode == .accumulate && plain ? 1 : 0

        for batch in MatmulBatch.runs(o) {
            for z in 0..<batch.count {
                let pa = a + batch.offsets.a + z * batch.strides.a
                let pb = b + batch.offsets.b + z * batch.strides.b
                let at = batch.offsets.c + z * batch.strides.c
                if scratch {
                    let product = try device.arena.allocate(m * n * 4, for: .workspace)
                    let p = product.pointer.assumingMemoryBound(to: Float.self)
                    multiply(m, n, k, pa, la, pb, lb, 0, p, n, device)
                    try epilogue(o, batch, z, m, n, p, n, out + at, lc.leading, accumulate: true, device)
                } else {
                    multiply(m, n, k, pa, la, pb, lb, beta, out + at, lc.leading, device)
                    if !plain {
                        try epilogue(
                            o, batch, z, m, n, out + at, lc.leading, out + at, lc.leading, accumulate: false, device)
                    }
                }
            }
        }
    }

    private func multiply(
        _ m: Int, _ n: Int, _ k: Int, _ a: UnsafePointer<Float>, _ la: MatrixLayout, _ b: UnsafePointer<Float>,
        _ lb: MatrixLayout, _ beta: Float, _ c: UnsafeMutablePointer<Float>, _ ldc: Int, _ device: CPUDevice
    ) {
        guard k > 0 else {
            if beta == 0 { device.alone { for r in 0..<m { (c + r * ldc).update(repeating: 0, count: n) } } }
            return
        }
        if FewRows.fit(m, la) {
            let table = device.table.pointee
            guard let kernel = FewRows.readsAcross(n, lb) ? table.gemv_across_columns : table.gemv_along_columns else {
                return
            }
            nonisolated(unsafe) let (a, b, c) = (a, b, c)
            let flags = beta == 0 ? 0 : FewRows.accumulate
            // Columns in whole vectors, so that parts meet at the ends of vectors.
            let vectors = (n + 15) / 16
            return device.parallel(vectors, work: m * n * k / 4) { begin, end in
                kernel(
                    16 * begin, min(n, 16 * end), a, la.leading, b, lb.leading, nil, nil, 0, c, ldc, Int32(m),
                    Int32(k), alpha, flags)
            }
        }
        device.withBLAS(work: m * n * k) {
            copenblas_sgemm(
                la.transposed, lb.transposed, Int32(m), Int32(n), Int32(k), alpha, a, Int32(la.leading), b,
                Int32(lb.leading), beta, c, Int32(ldc))
        }
    }

    private func epilogue(
        _ o: Operands, _ batch: MatmulBatch, _ z: Int, _ m: Int, _ n: Int, _ x: UnsafePointer<Float>, _ ldx: Int,
        _ y: UnsafeMutablePointer<Float>,
        _ ldy: Int, accumulate: Bool, _ device: CPUDevice
    ) throws {
        let bias: UnsafeMutablePointer<Float>? = try o.bias?.pointer()
        let pre: UnsafeMutablePointer<Float>? = try o.preactivation.map {
            try $0.pointer() + batch.place(of: $0, beside: o.c.view, z)
        }
        let residual: UnsafeMutablePointer<Float>? = try o.residual.map {
            try $0.pointer() + batch.place(of: $0, beside: o.c.view, z)
        }
        let ldPre = o.preactivation.map { MatrixLayout($0)!.leading } ?? 0
        let ldResidual = o.residual.map { MatrixLayout($0)!.leading } ?? 0
        let kind = Int32(activation.rawValue)
        device.parallel(m, work: m * n) { begin, end in
            device.table.pointee.epilogue_rows(
                begin, end, x, ldx, Int32(n), bias, pre, ldPre, residual, ldResidual, kind, y, ldy, accumulate ? 1 : 0)
        }
    }
}
