import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// One pass over training examples, batch by batch: from those on the device, or from pictures that the host decodes or changes ahead of
/// the step that wants them. Where they lie changes no bit.
public final class TrainingPass {
    private let data: DeviceRows
    private let device: Device
    private let batch: Int
    private let classes: Int
    private let views: [ExampleView]
    private let seed: UInt64
    private let epoch: Int
    /// Int32 `[rows]`.
    private let order: View
    /// Of pictures that the host makes.
    private let stream: PictureStream?
    private var position = 0

    /// - Parameters:
    ///   - order: numbers of the examples, in the order wanted.
    ///   - batch: examples of each batch; the last may have fewer.
    ///   - views: those of each picture that are wanted, at least one.
    ///   - seed: draws how examples are changed.
    ///   - epoch: the same examples are changed in another way in each.
    init(
        _ data: DeviceRows, order: [Int32], batch: Int, classes: Int, views: [ExampleView] = [.weak], seed: UInt64,
        epoch: Int, on device: Device
    ) throws {
        self.data = data
        self.device = device
        self.batch = batch
        self.classes = classes
        self.views = views
        self.seed = seed
        self.epoch = epoch
        self.order = try device.compute.view(order, [order.count], .i32)
        stream = try data.stream(
            order, batch: batch, views: views, at: .init(seed: seed, epoch: epoch, step: 0), times: device.dataTimes,
            on: device.compute)
    }

    /// The next batch, augmented.
    /// - Parameter step: of the whole training: what mixtures depend on.
    /// - Throws: `RetortError` 65 or 66 with the file that cannot be decoded.
    func next(step: Int) throws -> TrainingBatch {
        let moment = DeviceRows.Moment(seed: seed, epoch: epoch, step: step)
        let ids = order.slice(position..<min(order.count, position + batch))
        position += ids.count
        let decoded = try stream.map { stream in
            guard let decoded = try stream.next() else {
                throw RetortError.internalBug("a pass was asked for one batch too many")
            }
            return decoded
        }
        return try device.dataTimes.counting(.preparing) {
            try data.batch(ids, at: moment, classes: classes, views: views, decoded: decoded, on: device)
        }
    }
}
