extension Resize {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try ResizeGeometry(o.x, o.y, self)
        try device.launchResize(
            interpolation.kernel, g, written: g.elements.outputs,
            o.x.arguments() + o.y.arguments() + g.arguments(interpolation))
    }
}

extension ResizeBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try ResizeGeometry(o.dx.view, o.dy, self)
        try device.launchResize(
            interpolation.kernel + "_backward", g, written: g.elements.inputs,
            o.dy.arguments() + o.dx.view.arguments() + g.arguments(interpolation) + [.int(o.dx.mode.flag)])
    }
}

extension ResizeGeometry {
    fileprivate func arguments(_ interpolation: Interpolation) -> [KernelArgument] {
        sizes.map { .int($0) } + (interpolation == .nearest ? scales.map { .float($0) } : [])
    }
}

extension OpenCLDevice {
    /// `vector` takes whole planes, `simt` one work-item for each of a plane's elements that are written.
    fileprivate func launchResize(_ kernel: String, _ g: ResizeGeometry, written: Int, _ arguments: [KernelArgument])
        throws
    {
        switch family {
        case .vector:
            try launchRows(
                "resize.cl", kernel, rows: g.planes, columns: g.elements.inputs + g.elements.outputs, arguments)
        case .simt: try launchElements("resize.cl", kernel, count: g.planes * written, arguments)
        }
    }
}
