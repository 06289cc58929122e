internal import CRows

extension Fill {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let rows = try rows(o.y, "y")
        let y: UnsafeMutablePointer<Float> = try o.y.pointer()
        let table = device.table
        if rows.isDense {
            device.parallel(o.y.count, work: o.y.count / 8) { table.pointee.fill_range($0, $1, y, value) }
        } else {
            device.alone {
                for r in 0..<rows.rows { table.pointee.fill_range(0, rows.columns, y + r * rows.pitch, value) }
            }
        }
    }
}

extension Copy {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        if o.y.mode == .write, o.x.isContiguous, o.y.view.isContiguous {
            let (count, size) = (o.x.count, o.x.dtype.size)
            let x = UnsafeRawPointer(try o.x.pointer(as: UInt8.self))
            let y = UnsafeMutableRawPointer(try o.y.view.pointer(as: UInt8.self))
            return device.parallel(count, work: count / 8) {
                (y + $0 * size).copyMemory(from: x + $0 * size, byteCount: ($1 - $0) * size)
            }
        }
        let plan = try CopyPlan(o, self)
        let table = device.table
        if o.x.dtype == .bf16 {
            let (x, y) = (try o.x.pointer(as: UInt16.self), try o.y.view.pointer(as: UInt16.self))
            return device.parallel(plan.count, work: plan.count / 8) {
                table.pointee.strided_copy_16_range($0, $1, x, y, plan.sizes, plan.x, plan.y)
            }
        }
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.view.pointer(as: Float.self))
        if let t = plan.transpose {
            device.parallel(t.tiles, work: plan.count / 2) {
                table.pointee.transpose_tiles(
                    $0, $1, x, t.xPitch, t.xBatch, y, t.yPitch, t.yBatch, t.rows, t.columns, o.y.mode.flag)
            }
        } else {
            device.parallel(plan.count, work: plan.count / 4) {
                table.pointee.strided_copy_range($0, $1, x, y, plan.sizes, plan.x, plan.y, o.y.mode.flag)
            }
        }
    }
}

extension Convert {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let table = device.table
        let count = o.x.count
        switch (o.x.dtype, o.y.dtype) {
        case (.f32, _):
            let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: UInt16.self))
            let kernel = o.y.dtype == .f16 ? table.pointee.f16_from_f32_range : table.pointee.bf16_from_f32_range
            device.parallel(count, work: count / 4) { kernel?($0, $1, x, y) }
        case (.f16, _), (.bf16, _):
            let (x, y) = (try o.x.pointer(as: UInt16.self), try o.y.pointer(as: Float.self))
            let kernel = o.x.dtype == .f16 ? table.pointee.f32_from_f16_range : table.pointee.f32_from_bf16_range
            device.parallel(count, work: count / 4) { kernel?($0, $1, x, y) }
        default:
            let (x, y) = (try o.x.pointer(as: UInt8.self), try o.y.pointer(as: Float.self))
            let kernel =
                o.x.dtype == .f8e4m3 ? table.pointee.f32_from_f8_e4m3_range : table.pointee.f32_from_f8_e5m2_range
            device.parallel(count, work: count / 4) { kernel?($0, $1, x, y) }
        }
    }
}
