internal import COpenBLAS
internal import CRows

extension Matmul {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let c = o.c.view
        let (m, n, k) = (c.shape[c.rank - 2], c.shape[c.rank - 1], o.a.shape[o.a.rank - 1])
        guard m > 0, n > 0 else { return }
        let (la, lb, lc) = (MatrixLayout(o.a)!, MatrixLayout(o.b)!, MatrixLayout(c)!)
        let isPacked = k > 0 && !FewRows.fit(m, la) && device.multipliesItself
        let narrow = o.b.dtype == .bf16 && FewRows.fit(m, la)
        guard c.dtype == .f32, isPacked || o.a.dtype == .f32 && (o.b.dtype == .f32 || narrow) else {
            return try reduced(o, isPacked: isPacked, on: device)
        }
        let plain = o.bias == nil && o.residual == nil && o.preactivation == nil && activation == .none
        // An epilogue on an accumulated output needs the product by itself first.
        let scratch = !plain && o.c.mode == .accumulate
        if isPacked, !scratch { return try PackedProduct(self, o, m, n, k, hasEpilogue: !plain).run(on: device) }
        let out: UnsafeMutablePointer<Float> = try c.pointer()
        let beta: Float = o.c.mode == .accumulate && plain ? 1 : 0
        for batch in MatmulBatch.runs(o) {
            // Whole products go to the threads where there are many.
            if plain, k > 0, !FewRows.fit(m, la), batch.count >= 4 * device.threads, OpenBLAS.isCalledByMany {
                let (x, y): (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) =
                    (try o.a.pointer(), try o.b.pointer())
                device.parallel(batch.count, work: m * n * k / CPUDevice.workUnit * batch.count) { begin, end in
                    for z in begin..<end {
                        copenblas_sgemm(
                            la.transposed, lb.transposed, Int32(m), Int32(n), Int32(k), alpha,
                            x + batch.offsets.a + z * batch.strides.a, Int32(la.leading),
                            y + batch.offsets.b + z * batch.strides.b, Int32(lb.leading), beta,
                            out + batch.offsets.c + z * batch.strides.c, Int32(lc.leading))
                    }
                }
                continue
            }
            for z in 0..<batch.count {
                let at = batch.offsets.c + z * batch.strides.c
                let a = o.a.matrix(batch.offsets.a + z * batch.strides.a)
                let b = o.b.matrix(batch.offsets.b + z * batch.strides.b)
                if scratch {
                    let product = try View.workspace([m, n], on: device)
                    if isPacked {
                        try Matmul(alpha: alpha).cpu(.init(a: a, b: b, c: .write(product)), on: device)
                    } else {
                        try multiply(m, n, k, a, la, b, lb, 0, product.pointer(), n, device)
                    }
                    try epilogue(
                        o, batch, z, m, n, product.pointer(as: Float.self), n, out + at, lc.leading, accumulate: true,
                        device)
                } else {
                    try multiply(m, n, k, a, la, b, lb, beta, out + at, lc.leading, device)
                    if !plain {
                        try epilogue(
                            o, batch, z, m, n, out + at, lc.leading, out + at, lc.leading, accumulate: false, device)
                    }
                }
            }
        }
    }

    /// Numbers of B that are widened at a time: they stay in the caches until they are multiplied.
    private static let widenedBlock = 1 << 20

    /// A product with bf16 operands as fp32 products of blocks of columns: operands are widened into workspace, results rounded once.
    /// - Parameter isPacked: bf16 operands are widened as they are packed.
    private func reduced(_ o: Operands, isPacked: Bool, on device: CPUDevice) throws {
        let c = o.c.view
        let (n, k) = (c.shape[c.rank - 1], o.a.shape[o.a.rank - 1])
        let a = isPacked ? o.a : try o.a.widened(on: device)
        let columns = max(64, Self.widenedBlock / max(1, max(k, c.shape[c.rank - 2])) / 16 * 16)
        func part(_ view: View, _ range: Range<Int>) -> View { view.narrowed(view.rank - 1, range) }
        for start in stride(from: 0, to: n, by: columns) {
            let range = start..<min(n, start + columns)
            let target = part(c, range)
            let rounds = c.dtype == .bf16
            let accumulates = o.c.mode == .accumulate
            let sum =
                rounds
                ? accumulates ? try target.widened(on: device) : try View.workspace(target.shape, on: device) : target
            let pre = try o.preactivation.map {
                rounds ? try View.workspace(target.shape, on: device) : part($0, range)
            }
            let b = part(o.b, range)
            try cpu(
                .init(
                    a: a, b: isPacked ? b : try b.widened(on: device), c: Output(sum, o.c.mode),
                    bias: o.bias.map { part($0, range) },
                    residual: try o.residual.map { try part($0, range).widened(on: device) },
                    preactivation: pre), on: device)
            guard rounds else { continue }
            try sum.round(into: target, on: device)
            if let pre, let kept = o.preactivation { try pre.round(into: part(kept, range), on: device) }
        }
    }

    private func multiply(
        _ m: Int, _ n: Int, _ k: Int, _ a: View, _ la: MatrixLayout, _ b: View, _ lb: MatrixLayout, _ beta: Float,
        _ c: UnsafeMutablePointer<Float>, _ ldc: Int, _ device: CPUDevice
    ) throws {
        guard k > 0 else {
            if beta == 0 { device.alone { for r in 0..<m { (c + r * ldc).update(repeating: 0, count: n) } } }
            return
        }
        let x: UnsafeMutablePointer<Float> = try a.pointer()
        if FewRows.fit(m, la) {
            let table = device.table.pointee
            let flags = beta == 0 ? 0 : FewRows.accumulate
            let across = FewRows.readsAcross(n, lb)
            // Columns in whole vectors, so that parts meet at the ends of vectors.
            let vectors = (n + 15) / 16
            nonisolated(unsafe) let (x, c) = (x, c)
            func share<B>(
                _ b: UnsafeMutablePointer<B>,
                _ kernel: (
                    (
                        Int, Int, UnsafePointer<Float>?, Int, UnsafePointer<B>?, Int, UnsafePointer<Float>?,
                        UnsafePointer<Float>?, Int, UnsafeMutablePointer<Float>?, Int, Int32, Int32, Float, Int32
                    ) -> Void
                )?
            ) {
                nonisolated(unsafe) let b = b
                device.parallel(vectors, work: m * n * k / 4) { begin, end in
                    kernel?(
                        16 * begin, min(n, 16 * end), x, la.leading, b, lb.leading, nil, nil, 0, c, ldc, Int32(m),
                        Int32(k), alpha, flags)
                }
            }
            if b.dtype == .bf16 {
                let kernel = across ? table.gemv_across_columns_bf16 : table.gemv_along_columns_bf16
                return share(try b.pointer(as: UInt16.self), kernel)
            }
            return share(try b.pointer(), across ? table.gemv_across_columns : table.gemv_along_columns)
        }
        let y: UnsafeMutablePointer<Float> = try b.pointer()
        device.shareProduct(m, n, work: m * n * k) { rows, columns in
            copenblas_sgemm(
                la.transposed, lb.transposed, Int32(rows.count), Int32(columns.count), Int32(k), alpha,
                x + rows.lowerBound * (la.transposed ? 1 : la.leading), Int32(la.leading),
                y + columns.lowerBound * (lb.transposed ? lb.leading : 1), Int32(lb.leading), beta,
                c + rows.lowerBound * ldc + columns.lowerBound, Int32(ldc))
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

extension View {
    /// A matrix of a batch, so many elements behind the first.
    fileprivate func matrix(_ elements: Int) -> View {
        View(
            storage: storage, offset: offset + elements, shape: shape.suffix(2),
            strides: strides.suffix(2),
            dtype: dtype)
    }

    fileprivate static func workspace(_ shape: Dimensions, on device: CPUDevice) throws -> View {
        let block = try device.arena.allocate(shape.product * DType.f32.size, for: .workspace)
        return View(storage: .host(block), shape: shape)
    }

    /// The same numbers in fp32, in workspace, in the order in which they are stored; itself where it is fp32.
    fileprivate func widened(on device: CPUDevice) throws -> View {
        guard dtype == .bf16 else { return self }
        if rank >= 2, MatrixLayout(self)?.transposed == true { return try transposed.widened(on: device).transposed }
        let wide = try View.workspace(shape, on: device)
        let kernel = device.table.pointee.f32_from_bf16_range
        try forEachRow(beside: wide, as: UInt16.self, Float.self, on: device) { count, x, y in kernel?(0, count, x, y) }
        return wide
    }

    /// Rounds fp32 numbers to the bf16 of a view of the same shape whose rows are contiguous.
    fileprivate func round(into target: View, on device: CPUDevice) throws {
        let kernel = device.table.pointee.bf16_from_f32_range
        try forEachRow(beside: target, as: Float.self, UInt16.self, on: device) { count, x, y in
            kernel?(0, count, x, y)
        }
    }

    private func forEachRow<X, Y>(
        beside other: View, as: X.Type, _: Y.Type, on device: CPUDevice,
        _ body: (Int, UnsafeMutablePointer<X>, UnsafeMutablePointer<Y>) -> Void
    ) throws {
        guard let (from, to) = rows.flatMap({ x in other.rows.map { (x, $0) } }) else {
            for i in 0..<shape[0] {
                try slice(i..<(i + 1)).dropped.forEachRow(
                    beside: other.slice(i..<(i + 1)).dropped, as: X.self, Y.self, on: device, body)
            }
            return
        }
        let (x, y) = (try pointer(as: X.self), try other.pointer(as: Y.self))
        device.parallel(from.rows, work: count / 4) { begin, end in
            for r in begin..<end { body(from.columns, x + r * from.pitch, y + r * to.pitch) }
        }
    }

    /// Without the first dimension, which is 1.
    private var dropped: View {
        View(
            storage: storage, offset: offset, shape: shape.dropFirst(), strides: strides.dropFirst(),
            dtype: dtype)
    }
}
