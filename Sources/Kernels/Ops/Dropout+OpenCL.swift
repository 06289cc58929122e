extension Dropout {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        try device.launchElements(
            "dropout.cl", "dropout", options: o.x.activationOption, count: o.x.count,
            o.x.arguments() + o.y.view.arguments()
                + [
                    .long(Int(bitPattern: UInt(seed))), .long(Int(bitPattern: UInt(stream))), .long(firstElement),
                    .long(threshold), .int(o.y.mode.flag), .float(scale),
                ])
    }
}
