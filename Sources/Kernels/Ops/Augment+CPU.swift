internal import CRows

extension GatherImages {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let table = try o.table.pointer(as: UInt8.self)
        let (ids, samples) = (try o.ids.pointer(as: Int32.self), try o.samples.pointer(as: Int32.self))
        let (values, y) = (try o.values.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let shape = o.table.shape.map(Int32.init)
        device.parallel(o.planes, work: o.y.count) {
            device.table.pointee.gather_images_planes(
                $0, $1, table, ids, samples, values, y, shape[0], shape[1], shape[2], shape[3],
                Int(bitPattern: UInt(seed)),
                Int(bitPattern: UInt(stream)), Int32(bitPattern: epoch), Int32(augmentation.padding),
                augmentation.flipThreshold)
        }
    }
}

extension MixImages {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (x, pool) = (try o.x.pointer(as: Float.self), try o.pool.pointer(as: Float.self))
        let (partners, y) = (try o.partners.pointer(as: Int32.self), try o.y.pointer(as: Float.self))
        let s = sizes(o)
        device.parallel(o.x.shape[0], work: o.x.count / 4) {
            device.table.pointee.mix_images_rows(
                $0, $1, x, pool, partners, y, Int32(o.pool.shape[0]), s[0], s[1], s[2], s[3], s[4], s[5], s[6], weight)
        }
    }
}

extension MixTargets {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let r = try rows(o.y, "y")
        let (labels, others) = (try o.labels.pointer(as: Int32.self), try o.others.pointer(as: Int32.self))
        let y = try o.y.pointer(as: Float.self)
        device.parallel(r.rows, work: o.y.count / 4) {
            device.table.pointee.mix_targets_rows($0, $1, labels, others, y, r.pitch, Int32(r.columns), weight)
        }
    }
}
