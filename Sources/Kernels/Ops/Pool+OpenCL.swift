extension AveragePool {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchItems(
            "pool.cl", "average_pool", items: g.planes, results: o.y.count, work: o.x.count + o.y.count,
            o.x.arguments() + o.y.arguments() + g.arguments + [.int(g.divisor(countsPadding: countsPadding))])
    }
}

extension AveragePoolBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchItems(
            "pool.cl", "average_pool_backward", items: g.planes, results: o.dx.view.count,
            work: o.dx.view.count + o.dy.count,
            o.dy.arguments() + o.dx.view.arguments() + g.arguments
                + [.int(g.divisor(countsPadding: countsPadding)), .int(o.dx.mode.flag)])
    }
}

extension MaxPool {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchItems(
            "pool.cl", "max_pool", items: g.planes, results: o.y.count, work: o.x.count + o.y.count,
            o.x.arguments() + o.y.arguments() + o.indices.arguments() + g.arguments)
    }
}

extension MaxPoolBackward {
    public func openCL(_ o: Operands, on device: OpenCLDevice) throws {
        let g = try geometry(o)
        try device.launchItems(
            "pool.cl", "max_pool_backward", items: g.planes, results: o.dx.view.count,
            work: o.dx.view.count + o.dy.count,
            o.dy.arguments() + o.indices.arguments() + o.dx.view.arguments() + g.arguments + [.int(o.dx.mode.flag)])
    }
}

extension PoolGeometry {
    fileprivate var arguments: [KernelArgument] { numbers.map { .int($0) } }
}
