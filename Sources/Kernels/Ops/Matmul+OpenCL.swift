extension Matmul {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let c = o.c.view
        let (m, n, k) = (c.shape[c.rank - 2], c.shape[c.rank - 1], o.a.shape[o.a.rank - 1])
        guard m > 0, n > 0 else { return }
        for batch in MatmulBatch.runs(o) where batch.count > 0 {
            try launch(o, m, n, k, batch, device)
        }
    }

    /// What the epilogue argument of the kernels holds: these bits, the activation above them.
    private enum EpilogueBit {
        static let bias: Int32 = 1
        static let preactivation: Int32 = 2
        static let residual: Int32 = 4
        static let activationShift: Int32 = 8
    }

    private func launch(
        _ o: Operands, _ m: Int, _ n: Int, _ k: Int, _ batch: MatmulBatch, _ device: OpenCLDevice
    ) throws {
        let c = o.c.view
        let (la, lb, lc) = (MatrixLayout(o.a)!, MatrixLayout(o.b)!, MatrixLayout(c)!)
        if device.family == .vector, FewRows.fit(m, la), batch.count == 1, k > 0,
            activation == .none || activation == .relu, o.preactivation == nil, o.a.dtype == .f32, c.dtype == .f32
        {
            return try launchFewRows(o, m, n, k, batch, la, lb, lc, device)
        }
        let problem = MatmulPlan.Problem(
            m: m, n: n, k: k, batch: batch.count, transposeB: lb.transposed, accumulate: o.c.mode == .accumulate,
            needsSumAlone: activation != .none || o.preactivation != nil, rounds: c.dtype == .bf16)
        let types = (o.a.dtype == .bf16 ? 4 : 0) + (o.b.dtype == .bf16 ? 2 : 0) + (c.dtype == .bf16 ? 1 : 0)
        let units = device.info.computeUnits
        let panel = device.info.vectorWidth < 16 ? MatmulPlan.Panel.narrow : MatmulPlan.Panel()
        let usesMatrixUnits = device.family == .nvptx && m > MatmulPlan.skinnyRows && suitsMatrixUnits(o, batch, la, lb)
        let multiplier: MatmulPlan.Multiplier =
            !usesMatrixUnits ? .arithmetic : o.a.dtype == .bf16 ? .matrixUnits : .matrixUnitsSplit
        let plan =
            device.family == .vector
            ? MatmulPlan.vector(problem, units: units, panel: panel)
            : MatmulPlan.simt(problem, units: units, by: multiplier)

        var epilogue = Int32(activation.rawValue) << EpilogueBit.activationShift
        if o.bias != nil { epilogue |= EpilogueBit.bias }
        if o.preactivation != nil { epilogue |= EpilogueBit.preactivation }
        if o.residual != nil { epilogue |= EpilogueBit.residual }
        // Operands that are absent still need a valid buffer; the epilogue bits keep the kernel from touching it.
        let bias = o.bias ?? c
        func addInputs(to list: inout [KernelArgument]) throws {
            try list.add(o.a, movedBy: batch.offsets.a)
            list += [.int(la.leading), .long(batch.strides.a)]
            try list.add(o.b, movedBy: batch.offsets.b)
            list += [.int(lb.leading), .long(batch.strides.b)]
        }
        func addEnds(to list: inout [KernelArgument]) throws {
            try list.add(c, movedBy: batch.offsets.c)
            list += [.int(lc.leading), .long(batch.strides.c)]
            try list.add(bias)
            try addSide(o.preactivation, o, batch, to: &list)
            try addSide(o.residual, o, batch, to: &list)
            list.append(.int(epilogue))
        }
        let space =
            plan.workspace > 0
            ? View(
                storage: .openCL(try device.arena.allocate(plan.workspace * 4, for: .workspace)),
                shape: [plan.workspace]) : c
        var list: [KernelArgument] = []
        list.reserveCapacity(KernelArgument.usualCount)
        list += [.int(m), .int(n), .int(k), .int(batch.count), .float(alpha), .int(o.c.mode.flag)]
        try addInputs(to: &list)
        try addEnds(to: &list)
        /// For the kernel that adds up partial sums.
        func reduction(_ partials: View, movedBy elements: Int) throws -> [KernelArgument] {
            var list: [KernelArgument] = [
                .int(m), .int(n), .int(batch.count), .int(plan.splits), .float(alpha), .int(o.c.mode.flag),
            ]
            try list.add(partials, movedBy: elements)
            try addEnds(to: &list)
            return list
        }

        if device.family == .vector {
            let options = (panel == .narrow ? Self.narrowPanel : Self.widePanel)[types]
            list += [
                .flag(la.transposed), .flag(lb.transposed), .int(plan.tileM), .int(plan.tileN), .int(plan.blockK),
                .int(plan.splits), .flag(plan.partials),
            ]
            try list.add(space)
            list.append(.long(plan.slot))
            try device.enqueue(
                Launch(
                    "gemm.cl", "gemm_vector", options: options, list, global: (plan.workers, 1, 1), local: (1, 1, 1)))
            if plan.partials {
                try device.enqueue(
                    Launch(
                        "gemm.cl", "gemm_reduce", options: options,
                        reduction(space, movedBy: plan.workers * plan.slot),
                        global: (m * batch.count, 1, 1), local: (1, 1, 1)))
            }
            return
        }
        let aligned = isAligned(o, batch, la, lb, lc)
        let kind =
            16 * types + (la.transposed ? 8 : 0) + (lb.transposed ? 4 : 0) + (aligned ? 2 : 0) + (plan.small ? 1 : 0)
        let options = usesMatrixUnits ? Self.matrixOptions[kind] : Self.tileOptions[kind]
        let kernel = usesMatrixUnits ? "gemm_matrix" : plan.skinny ? "gemm_skinny" : "gemm_simt"
        let items = usesMatrixUnits && plan.small ? 128 : 256
        list.append(.int(plan.splits))
        try list.add(space)
        try device.enqueue(
            Launch(
                "gemm.cl", kernel, options: options, list, global: (plan.workers * items, 1, 1), local: (items, 1, 1)))
        if plan.partials {
            let quads = (n + 3) / 4 * m * batch.count
            try device.enqueue(
                Launch(
                    "gemm.cl", "gemm_reduce", options: options, reduction(space, movedBy: 0),
                    global: (quads.roundedUp(to: 256), 1, 1), local: (256, 1, 1)))
        }
    }

    /// `vector`: one product of few rows.
    private func launchFewRows(
        _ o: Operands, _ m: Int, _ n: Int, _ k: Int, _ batch: MatmulBatch, _ la: MatrixLayout, _ lb: MatrixLayout,
        _ lc: MatrixLayout, _ device: OpenCLDevice
    ) throws {
        let c = o.c.view
        var flags = o.c.mode == .accumulate ? FewRows.accumulate : 0
        if o.bias != nil { flags |= FewRows.bias }
        if o.residual != nil { flags |= FewRows.residual }
        if activation == .relu { flags |= FewRows.relu }
        var list: [KernelArgument] = []
        list.reserveCapacity(KernelArgument.usualCount)
        try list.add(o.a, movedBy: batch.offsets.a)
        try list.add(o.b, movedBy: batch.offsets.b)
        // Absent operands still need a valid buffer; the flags keep the kernel from touching it.
        try list.add(o.bias ?? c)
        try list.add(o.residual ?? c, movedBy: o.residual.map { batch.place(of: $0, beside: c).offset } ?? 0)
        try list.add(c, movedBy: batch.offsets.c)
        list += [
            .long(la.leading), .long(lb.leading), .long(o.residual.map { MatrixLayout($0)!.leading } ?? 0),
            .long(lc.leading), .int(m), .int(k), .float(alpha), .int(flags),
        ]
        try device.launchColumns(
            "gemv.cl", FewRows.readsAcross(n, lb) ? "gemv_across" : "gemv_along",
            options: o.b.dtype == .bf16 ? "-DB_BF16" : "", columns: n, rows: m * k, list)
    }

    private static let widePanel = panelOptions(MatmulPlan.Panel())
    private static let narrowPanel = panelOptions(.narrow)
    private static func panelOptions(_ panel: MatmulPlan.Panel) -> [String] {
        typeOptions.map { "-DPANEL_ROWS=\(panel.rows) -DPANEL_COLUMNS=\(panel.columns)" + $0 }
    }

    /// By bf16 of a (4), b (2) and c (1).
    private static let typeOptions: [String] = (0..<8).map { bits in
        (bits & 4 != 0 ? " -DA_BF16" : "") + (bits & 2 != 0 ? " -DB_BF16" : "") + (bits & 1 != 0 ? " -DC_BF16" : "")
    }

    /// `simt`: by types (16), transposition of a (8) and b (4), alignment (2) and small tiles (1).
    private static let tileOptions: [String] = (0..<128).map { bits in
        let tile = bits & 1 != 0 ? "-DBM=64 -DBN=64 -DBK=16 -DTM=4 -DTN=4" : "-DBM=128 -DBN=128 -DBK=8 -DTM=8 -DTN=8"
        return "-DTA=\(bits >> 3 & 1) -DTB=\(bits >> 2 & 1) -DVEC=\(bits >> 1 & 1) \(tile)" + typeOptions[bits >> 4]
    }

    /// `nvptx`: products on matrix units, as `tileOptions`. An fp32 a takes three times the local memory, for its three planes.
    private static let matrixOptions: [String] = (0..<128).map { bits in
        let isSplit = bits & 64 == 0
        let tile =
            bits & 1 != 0
            ? "-DBM=64 -DBN=64 -DWARP_M=32 -DWARP_N=32 " + (isSplit ? "-DBK=32 -DSTAGES=2" : "-DBK=64 -DSTAGES=3")
            : "-DBM=128 -DBN=128 -DWARP_M=64 -DWARP_N=32 -DSTAGES=2 " + (isSplit ? "-DBK=16" : "-DBK=64")
        return "-DMATRIX_UNITS -DTA=\(bits >> 3 & 1) -DTB=\(bits >> 2 & 1) -DVEC=\(bits >> 1 & 1) \(tile)"
            + typeOptions[bits >> 4]
    }

    /// Buffer, leading dimension and batch stride of a matrix that goes beside c; c itself stands in for an absent one.
    private func addSide(_ view: View?, _ o: Operands, _ batch: MatmulBatch, to list: inout [KernelArgument]) throws {
        guard let view else {
            try list.add(o.c.view)
            list += [.int(1), .long(0)]
            return
        }
        let (offset, stride) = batch.place(of: view, beside: o.c.view)
        try list.add(view, movedBy: offset)
        list += [.int(MatrixLayout(view)!.leading), .long(stride)]
    }

    /// Whether matrix units take the operands: b in bf16, both in pieces of 16 bytes.
    private func suitsMatrixUnits(_ o: Operands, _ batch: MatmulBatch, _ la: MatrixLayout, _ lb: MatrixLayout) -> Bool {
        guard o.b.dtype == .bf16 else { return false }
        func isAligned(_ view: View, _ leading: Int, _ offset: Int, _ stride: Int) -> Bool {
            let piece = 16 / view.dtype.size
            return leading % piece == 0 && (view.offset + offset) % piece == 0
                && (batch.count == 1 || stride % piece == 0)
        }
        return isAligned(o.a, la.leading, batch.offsets.a, batch.strides.a)
            && isAligned(o.b, lb.leading, batch.offsets.b, batch.strides.b)
    }

    /// True when all accesses to four neighbours fall on 16 bytes, so that the kernels may load them as one.
    private func isAligned(
        _ o: Operands, _ batch: MatmulBatch, _ la: MatrixLayout, _ lb: MatrixLayout, _ lc: MatrixLayout
    ) -> Bool {
        var numbers = [la.leading, lb.leading, lc.leading]
        numbers += [o.a.offset + batch.offsets.a, o.b.offset + batch.offsets.b, o.c.view.offset + batch.offsets.c]
        if batch.count > 1 { numbers += [batch.strides.a, batch.strides.b, batch.strides.c] }
        if let bias = o.bias { numbers.append(bias.offset) }
        for view in [o.preactivation, o.residual].compactMap({ $0 }) {
            let (offset, stride) = batch.place(of: view, beside: o.c.view)
            numbers += [view.offset + offset, MatrixLayout(view)!.leading, batch.count > 1 ? stride : 0]
        }
        return numbers.allSatisfy { $0 % 4 == 0 }
    }
}

extension MatmulBatch {
    /// Offset of this run's first matrix in a view of c's shape but other strides, and the distance to the next.
    func place(of view: View, beside c: View) -> (offset: Int, stride: Int) {
        var rest = offsets.c
        var offset = 0
        var step = 0
        for i in 0..<(c.rank - 2) where c.shape[i] > 1 {
            let index = c.strides[i] > 0 ? rest / c.strides[i] : 0
            rest -= index * c.strides[i]
            offset += index * view.strides[i]
            // The innermost batch dimension gives the distance, on this view as on c.
            step = view.strides[i]
        }
        return (offset, step)
    }

    /// Offset of matrix `z` of this run in a view of c's shape but other strides.
    func place(of view: View, beside c: View, _ z: Int) -> Int {
        let (offset, stride) = place(of: view, beside: c)
        return offset + z * stride
    }
}
