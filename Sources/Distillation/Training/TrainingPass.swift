import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// One pass over training examples, batch by batch: from those on the device, or from files that are decoded ahead of the step that
/// wants them. Both give the same bits.
public final class TrainingPass {
    private let data: DeviceRows
    private let device: Device
    private let batch: Int
    private let classes: Int
    /// Int32 `[rows]`.
    private let order: View
    /// Of pictures on disk.
    private let stream: PictureStream?
    private var position = 0

    /// - Parameters:
    ///   - order: numbers of the examples, in the order wanted.
    ///   - batch: examples of each batch; the last may have fewer.
    init(_ data: DeviceRows, order: [Int32], batch: Int, classes: Int, on device: Device) throws {
        self.data = data
        self.device = device
        self.batch = batch
        self.classes = classes
        self.order = try device.compute.view(order, [order.count], .i32)
        stream = try data.stream(order, batch: batch, times: device.dataTimes, on: device.compute)
    }

    /// The next batch, augmented.
    /// - Throws: `RetortError` 65 or 66 with the file that cannot be decoded.
    func next(at moment: DeviceRows.Moment) throws -> TrainingBatch {
        let ids = order.slice(position..<min(order.count, position + batch))
        position += ids.count
        let decoded = try stream.map { stream in
            guard let decoded = try stream.next() else {
                throw RetortError.internalBug("a pass was asked for one batch too many")
            }
            return decoded
        }
        return try device.dataTimes.counting(.preparing) {
            try data.batch(ids, at: moment, classes: classes, decoded: decoded, on: device)
        }
    }
}
