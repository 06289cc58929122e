extension AveragePool {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchPlanes(
            "average_pool", g, elements: g.outputs,
            o.x.arguments() + o.y.arguments() + g.arguments + [.int(g.divisor(countsPadding: countsPadding))])
    }
}

extension AveragePoolBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchPlanes(
            "average_pool_backward", g, elements: g.inputs,
            o.dy.arguments() + o.dx.view.arguments() + g.arguments
                + [.int(g.divisor(countsPadding: countsPadding)), .int(o.dx.mode.flag)])
    }
}

extension MaxPool {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchPlanes(
            "max_pool", g, elements: g.outputs,
            o.x.arguments() + o.y.arguments() + o.indices.arguments() + g.arguments)
    }
}

extension MaxPoolBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchPlanes(
            "max_pool_backward", g, elements: g.inputs,
            o.dy.arguments() + o.indices.arguments() + o.dx.view.arguments() + g.arguments + [.int(o.dx.mode.flag)])
    }
}

extension PoolGeometry {
    fileprivate var arguments: [KernelArgument] { numbers.map { .int($0) } }
}

extension OpenCLDevice {
    /// `vector` takes whole planes, `simt` one work-item for each of a plane's `elements` that are written.
    fileprivate func launchPlanes(_ kernel: String, _ g: PoolGeometry, elements: Int, _ arguments: [KernelArgument])
        throws
    {
        switch family {
        case .vector: try launchRows("pool.cl", kernel, rows: g.planes, columns: g.inputs + g.outputs, arguments)
        case .simt: try launchElements("pool.cl", kernel, count: g.planes * elements, arguments)
        }
    }
}
