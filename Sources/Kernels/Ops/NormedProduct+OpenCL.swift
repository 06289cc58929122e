extension NormedProduct {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, rw, ry) = (try rows(o.x, "x"), try rows(o.weight, "weight"), try rows(o.y, "y"))
        let (m, k, n) = (rx.rows, rx.columns, ry.columns)
        guard m > 0, n > 0 else { return }
        var arguments: [KernelArgument] = []
        arguments.reserveCapacity(KernelArgument.usualCount)
        // Absent operands still need a valid buffer; the flags keep the kernel from touching it.
        for view in [o.x, o.norm ?? o.x, o.weight, o.bias ?? o.x, o.y] { try arguments.add(view) }
        arguments += [
            .long(rx.pitch), .long(rw.pitch), .long(ry.pitch), .int(m), .int(k), .float(epsilon),
            .flag(o.norm != nil), .flag(o.bias != nil), .int(gateCode),
        ]
        let options = o.weight.dtype == .bf16 ? "-DB_BF16" : ""
        switch device.family {
        case .vector:
            let (items, perItem) = device.columnRanges(n, rows: m * k * parts)
            try arguments.add(device.workspace(items * m * k))
            try device.enqueue(
                Launch(
                    "gemv.cl", "normed_product", options: options, range: (n, perItem), arguments,
                    global: (items, 1, 1), local: (1, 1, 1)))
        case .simt, .nvptx:
            let width = Self.teams / parts
            let isAligned =
                (o.x.offset | rx.pitch | (o.norm?.offset ?? 0) | o.weight.offset | rw.pitch) % 4 == 0
            try device.enqueue(
                Launch(
                    "gemv.cl", "normed_product", options: isAligned ? Self.aligned(options) : options, range: (n, 1),
                    arguments, global: ((n + width - 1) / width * 256, 1, 1), local: (256, 1, 1)))
        }
    }

    /// Teams of work-items in a group, one for each row of the weight: the kernel's NORMED_TEAMS.
    private static let teams = 8

    private static func aligned(_ options: String) -> String {
        options.isEmpty ? "-DVEC=1" : "-DB_BF16 -DVEC=1"
    }
}
