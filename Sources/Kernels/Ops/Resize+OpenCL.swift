extension Resize {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try ResizeGeometry(o.x, o.y, self)
        try device.launchItems(
            "resize.cl", interpolation.kernel, items: g.planes, results: o.y.count, work: o.x.count + o.y.count,
            o.x.arguments() + o.y.arguments() + g.arguments(interpolation))
    }
}

extension ResizeBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try ResizeGeometry(o.dx.view, o.dy, self)
        try device.launchItems(
            "resize.cl", interpolation.kernel + "_backward", items: g.planes, results: o.dx.view.count,
            work: o.dx.view.count + o.dy.count,
            o.dy.arguments() + o.dx.view.arguments() + g.arguments(interpolation) + [.int(o.dx.mode.flag)])
    }
}

extension ResizeGeometry {
    fileprivate func arguments(_ interpolation: Interpolation) -> [KernelArgument] {
        sizes.map { .int($0) } + (interpolation == .nearest ? scales.map { .float($0) } : [])
    }
}
