extension GatherImages {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let sizes: [KernelArgument] = o.table.shape.map { .int($0) }
        try device.launchRows(
            "augment.cl", "gather_images", rows: o.planes, columns: o.table.shape[2] * o.table.shape[3],
            o.table.arguments() + o.ids.arguments() + o.samples.arguments() + o.values.arguments() + o.y.arguments()
                + sizes
                + [
                    .long(Int(bitPattern: UInt(seed))), .long(Int(bitPattern: UInt(stream))),
                    .int(Int32(bitPattern: epoch)), .int(augmentation.padding), .long(augmentation.flipThreshold),
                ])
    }
}

extension MixImages {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let box: [KernelArgument] = sizes(o).map { .int($0) }
        try device.launchRows(
            "augment.cl", "mix_images", rows: o.x.shape[0], columns: o.x.shape.dropFirst().product,
            o.x.arguments() + o.pool.arguments() + o.partners.arguments() + o.y.arguments()
                + [.int(o.pool.shape[0])] + box + [.float(weight)])
    }
}

extension MixTargets {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let r = try rows(o.y, "y")
        try device.launchRows(
            "augment.cl", "mix_targets", rows: r.rows, columns: r.columns,
            o.labels.arguments() + o.others.arguments() + o.y.arguments()
                + [.long(r.pitch), .int(r.columns), .float(weight)])
    }
}
