extension RotaryAppend {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let (rx, rq) = (try rows(o.x, "x"), try rows(o.queries, "queries"))
        let width = rx.columns / (heads + 2 * keyValueHeads)
        var arguments: [KernelArgument] = []
        arguments.reserveCapacity(KernelArgument.usualCount)
        for view in [o.x, o.positions, o.cosines, o.sines, o.queries, o.keys, o.values] { try arguments.add(view) }
        arguments += [
            .long(rx.pitch), .long(rq.pitch), .long(o.keys.strides[0]), .long(o.keys.strides[1]), .int(o.keys.shape[1]),
            .int(heads), .int(keyValueHeads), .int(width), .int(o.cosines.shape[0]), .flag(pairing == .interleaved),
        ]
        switch device.family {
        case .vector:
            try device.launchRows(
                "rope.cl", "rope_append", options: o.x.activationOption, rows: rx.rows, columns: rx.columns, arguments)
        case .simt, .nvptx:
            try device.launchElements(
                "rope.cl", "rope_append", options: o.x.activationOption, count: rx.rows * rx.columns / 2, arguments)
        }
    }
}
