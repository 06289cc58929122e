internal import CRows

extension Resize {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let g = try ResizeGeometry(o.x, o.y, self)
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let (table, sizes, scales) = (device.table, g.sizes, g.scales)
        device.parallel(g.planes, work: o.y.count * 4) {
            switch interpolation {
            case .bilinear: table.pointee.bilinear_planes($0, $1, x, y, sizes[0], sizes[1], sizes[2], sizes[3])
            case .nearest:
                table.pointee.nearest_planes(
                    $0, $1, x, y, sizes[0], sizes[1], sizes[2], sizes[3], scales[0], scales[1])
            }
        }
    }
}

extension ResizeBackward {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let g = try ResizeGeometry(o.dx.view, o.dy, self)
        let (dy, dx) = (try o.dy.pointer(as: Float.self), try o.dx.view.pointer(as: Float.self))
        let (table, sizes, scales) = (device.table, g.sizes, g.scales)
        device.parallel(g.planes, work: (o.dy.count + o.dx.view.count) * 4) {
            switch interpolation {
            case .bilinear:
                table.pointee.bilinear_backward_planes(
                    $0, $1, dy, dx, sizes[0], sizes[1], sizes[2], sizes[3], o.dx.mode.flag)
            case .nearest:
                table.pointee.nearest_backward_planes(
                    $0, $1, dy, dx, sizes[0], sizes[1], sizes[2], sizes[3], scales[0], scales[1], o.dx.mode.flag)
            }
        }
    }
}
