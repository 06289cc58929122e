extension Binary {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let shape = try Broadcast([o.a, o.b], to: o.y.view.shape, self)
        try device.launchElements(
            "elementwise.cl", operation.kernel, options: o.a.activationOption, count: shape.count,
            o.a.arguments() + o.b.arguments() + o.y.view.arguments() + shape.arguments + [.int(o.y.mode.flag)])
    }
}

extension DivideBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let shape = try Broadcast([o.a, o.b], to: o.dy.shape, self)
        try device.launchElements(
            "elementwise.cl", "binary_div_backward_b", options: o.a.activationOption, count: shape.count,
            o.a.arguments() + o.b.arguments() + o.dy.arguments() + o.db.view.arguments() + shape.arguments
                + [.int(o.db.mode.flag)])
    }
}

extension Broadcast {
    /// Four sizes, then four strides for each operand.
    fileprivate var arguments: [KernelArgument] {
        (paddedSizes + strides.indices.flatMap { padded($0) }).map { .long($0) }
    }
}
