import RetortData
import RetortKernels
import RetortModels
import RetortRuntime

/// Labelled examples on a device.
public struct DeviceRows {
    private enum Storage {
        /// `[rows, features]`.
        case table(View)
        /// Bytes `[rows, channels, height, width]` and the value of each byte, `[channels, 256]`.
        case images(View, values: View)
    }
    private let storage: Storage
    /// Int32 `[rows]`: which of the stored examples these are; nil: all.
    private let selection: View?
    /// Int32 `[rows]`.
    public let labels: View
    /// How training batches of images are changed at random; evaluation sees them as they are.
    private let augmentation: ImageAugmentation
    private let mixing: BatchMixing?

    /// - `normalization`: of images.
    public init(
        _ examples: ExampleSet, normalization: ImageNormalization? = nil, augmentation: ImageAugmentation = .none,
        mixing: BatchMixing? = nil, on device: Device
    ) throws {
        let compute = device.compute
        self.augmentation = augmentation
        self.mixing = mixing
        selection = nil
        switch examples {
        case .table(let data):
            storage = .table(try compute.view(data.features, [data.rows, data.columns]))
            labels = try compute.view(data.labels, [data.rows], .i32)
        case .images(let data):
            let bytes = try compute.view(data.pixels, [data.count, data.channels, data.height, data.width], .u8)
            let plain = ImageNormalization(
                mean: [Double](repeating: 0, count: data.channels),
                deviation: [Double](repeating: 1, count: data.channels))
            storage = .images(
                bytes, values: try compute.view((normalization ?? plain).table, [data.channels, 256]))
            labels = try compute.view(data.labels, [data.count], .i32)
        }
    }

    public init(_ data: TabularDataset, on device: Device) throws { try self.init(.table(data), on: device) }

    private init(_ whole: DeviceRows, selection: View, labels: View, augmented: Bool) {
        storage = whole.storage
        self.selection = selection
        self.labels = labels
        augmentation = augmented ? whole.augmentation : .none
        mixing = augmented ? whole.mixing : nil
    }

    /// Some of the rows, in the order given, without a copy of the examples: a client's shard, a public set. Rows of the
    /// selection count from 0; augmentation still depends on an example's number in the whole.
    /// - `augmented`: false: training batches are the examples as they are.
    /// - Throws: `KernelError` for a row that is not there.
    public func selecting(_ rows: [Int32], augmented: Bool = true, on device: Device) throws -> DeviceRows {
        try check(rows)
        let ids = try device.compute.view(rows, [rows.count], .i32)
        return DeviceRows(
            self, selection: try stored(ids, device.compute), labels: try chosenLabels(ids, device.compute),
            augmented: augmented)
    }

    public var rows: Int { labels.count }
    /// Shape of one example.
    public var sample: [Int] {
        switch storage {
        case .table(let features): Array(features.shape.dropFirst())
        case .images(let bytes, _): Array(bytes.shape.dropFirst())
        }
    }

    /// Where training stands: what augmentation depends on, besides the example itself.
    public struct Moment: Sendable {
        public var seed: UInt64
        public var epoch: Int
        public var step: Int
    }

    /// Training examples by number, augmented. `ids` int32 `[batch]`.
    public func batch(_ ids: View, at moment: Moment, classes: Int, on device: Device) throws -> TrainingBatch {
        let x = try gather(ids, augmentation, moment, device.compute)
        let labels = try chosenLabels(ids, device.compute)
        guard let mixing, case .images(let bytes, _) = storage else {
            return TrainingBatch(x: Tensor(view: x, on: device), labels: labels, ids: ids)
        }
        let compute = device.compute
        let mix = try BatchMix(
            mixing, rows: ids.count, height: bytes.shape[2], width: bytes.shape[3], seed: moment.seed,
            step: moment.step)
        let partners = try compute.view(mix.partners, [ids.count], .i32)
        let others = try compute.empty([ids.count, 1], .i32)
        try run(Gather(), .init(table: labels.reshaped([ids.count, 1]), ids: partners, y: others), on: compute)
        let targets = try compute.empty([ids.count, classes])
        try run(
            MixTargets(weight: mix.weight), .init(labels: labels, others: others.reshaped([ids.count]), y: targets),
            on: compute)
        return TrainingBatch(
            x: try mix.images(Tensor(view: x, on: device)), labels: labels, ids: ids, targets: targets)
    }

    /// Some examples by number as they are: `[ids, …sample]` and their labels, int32 `[ids]`.
    public func batch(_ ids: View, on device: Device) throws -> (x: Tensor, labels: View) {
        let x = try gather(ids, .none, Moment(seed: 0, epoch: 0, step: 0), device.compute)
        return (Tensor(view: x, on: device), try chosenLabels(ids, device.compute))
    }

    /// - Throws: `KernelError` for a row that is not there.
    public func batch(_ ids: [Int32], on device: Device) throws -> (x: Tensor, labels: View) {
        try check(ids)
        return try batch(try device.compute.view(ids, [ids.count], .i32), on: device)
    }

    /// Examples in order, as they are: `[range, …sample]`.
    public func examples(_ range: Range<Int>, on device: Device) throws -> Tensor {
        if case .table(let features) = storage, selection == nil {
            return Tensor(view: features.slice(range), on: device)
        }
        return try batch(range.map(Int32.init), on: device).x
    }

    private func gather(
        _ ids: View, _ augmentation: ImageAugmentation, _ moment: Moment, _ compute: ComputeDevice
    ) throws -> View {
        let x = try compute.empty([ids.count] + sample)
        let ids = try stored(ids, compute)
        switch storage {
        case .table(let features): try run(Gather(), .init(table: features, ids: ids, y: x), on: compute)
        case .images(let bytes, let values):
            let op = GatherImages(
                augmentation, seed: moment.seed, stream: Philox.stream("augment"), epoch: UInt32(moment.epoch))
            try run(op, .init(table: bytes, ids: ids, values: values, y: x), on: compute)
        }
        return x
    }

    private func chosenLabels(_ ids: View, _ compute: ComputeDevice) throws -> View {
        try chosen(labels, ids, compute)
    }

    /// Where the examples are stored. `ids` int32 `[batch]`, in the selection.
    private func stored(_ ids: View, _ compute: ComputeDevice) throws -> View {
        try selection.map { try chosen($0, ids, compute) } ?? ids
    }

    /// Int32 `[ids]`: these elements of a list.
    private func chosen(_ list: View, _ ids: View, _ compute: ComputeDevice) throws -> View {
        let y = try compute.empty([ids.count, 1], .i32)
        try run(Gather(), .init(table: list.reshaped([list.count, 1]), ids: ids, y: y), on: compute)
        return y.reshaped([ids.count])
    }

    private func check(_ ids: [Int32]) throws {
        if let wrong = ids.first(where: { $0 < 0 || Int($0) >= rows }) {
            throw KernelError(.operands, "row \(wrong) of \(rows) rows")
        }
    }
}

/// One batch as training sees it.
public struct TrainingBatch {
    /// `[batch, …sample]`.
    public let x: Tensor
    /// Int32 `[batch]`; of the first picture where two are mixed.
    public let labels: View
    /// Int32 `[batch]`: numbers in the training set.
    public let ids: View
    /// Probabilities `[batch, classes]` where pictures are mixed; nil: the labels alone.
    public var targets: View?
}
