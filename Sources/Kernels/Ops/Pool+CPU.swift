internal import CRows

extension AveragePool {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let g = try geometry(o)
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let (table, divisor) = (device.table, g.divisor(countsPadding: countsPadding))
        g.parallel(on: device) { table.pointee.average_pool_planes($0, $1, x, y, $2, $3, divisor) }
    }
}

extension AveragePoolBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let g = try geometry(o)
        let (dy, dx) = (try o.dy.pointer(as: Float.self), try o.dx.view.pointer(as: Float.self))
        let (table, divisor) = (device.table, g.divisor(countsPadding: countsPadding))
        g.parallel(on: device) {
            table.pointee.average_pool_backward_planes($0, $1, dy, dx, $2, $3, divisor, o.dx.mode.flag)
        }
    }
}

extension MaxPool {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let g = try geometry(o)
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let (table, indices) = (device.table, try o.indices.pointer(as: Int32.self))
        g.parallel(on: device) { table.pointee.max_pool_planes($0, $1, x, y, indices, $2, $3) }
    }
}

extension MaxPoolBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let g = try geometry(o)
        let (dy, dx) = (try o.dy.pointer(as: Float.self), try o.dx.view.pointer(as: Float.self))
        let (table, indices) = (device.table, try o.indices.pointer(as: Int32.self))
        g.parallel(on: device) {
            table.pointee.max_pool_backward_planes($0, $1, dy, indices, dx, $2, $3, o.dx.mode.flag)
        }
    }
}

extension PoolGeometry {
    /// Calls `body` with ranges of planes, and the numbers of rows and columns.
    fileprivate func parallel(
        on device: CPUDevice, _ body: (Int, Int, UnsafePointer<Int32>, UnsafePointer<Int32>) -> Void
    ) {
        numbers.withUnsafeBufferPointer { numbers in
            nonisolated(unsafe) let rows = numbers.baseAddress!
            device.parallel(planes, work: planes * (inputs + outputs)) { body($0, $1, rows, rows + 5) }
        }
    }
}
