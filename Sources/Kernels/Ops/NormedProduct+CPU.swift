internal import CRows

extension NormedProduct {
    public func cpu(_ o: Operands, on device: CPUDevice) throws {
        let (rx, rw, ry) = (try rows(o.x, "x"), try rows(o.weight, "weight"), try rows(o.y, "y"))
        let (m, k, n) = (rx.rows, rx.columns, ry.columns)
        guard m > 0, n > 0 else { return }
        let (x, y) = (try o.x.pointer(as: Float.self), try o.y.pointer(as: Float.self))
        let (norm, bias) = (try o.norm?.pointer(as: Float.self), try o.bias?.pointer(as: Float.self))
        // Columns in whole vectors, so that parts meet at the ends of vectors.
        let vectors = (n + 15) / 16
        let block = try device.arena.allocate(min(vectors, device.threads) * m * k * 4, for: .workspace)
        let normed = block.pointer.assumingMemoryBound(to: Float.self)
        func multiply<B>(
            _ kernel: (
                Int, Int, UnsafePointer<Float>?, Int, UnsafePointer<Float>?, UnsafePointer<B>?, Int,
                UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int, UnsafeMutablePointer<Float>?, Int, Int32,
                Int32, Float, Int32, Int32, Int32
            ) -> Void
        ) throws {
            let weight = try o.weight.pointer(as: B.self)
            device.parallelParts(vectors, work: m * rw.rows * k / 4) { part, begin, end in
                kernel(
                    16 * begin, min(n, 16 * end), x, rx.pitch, norm, weight, rw.pitch, bias, y, ry.pitch,
                    normed + part * m * k, n, Int32(m), Int32(k), epsilon, norm == nil ? 0 : 1, bias == nil ? 0 : 1,
                    gateCode)
            }
        }
        if o.weight.dtype == .bf16 {
            try multiply(device.table.pointee.normed_product_columns_bf16)
        } else {
            try multiply(device.table.pointee.normed_product_columns)
        }
        withExtendedLifetime(block) {}
    }
}
