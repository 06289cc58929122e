import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Labelled examples on a device; pictures that are decoded when they are wanted come there batch by batch.
public struct DeviceRows {
    private enum Storage {
        /// `[rows, features]`.
        case table(View)
        /// Bytes `[rows, channels, height, width]` and the value of each byte, `[channels, 256]`.
        case images(View, values: View)
        /// Pictures on disk and the value of each byte, `[channels, 256]`.
        case files(ImageFiles, values: View)
    }
    private let storage: Storage
    /// Int32 `[rows]`: which of the stored examples these are; nil: all.
    private let selection: View?
    /// Int32 `[rows]`.
    public let labels: View
    /// The labels on the host; nil for a selection.
    private let known: [Int32]?
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
            known = data.labels
            storage = .table(try compute.view(data.features, [data.rows, data.columns]))
            labels = try compute.view(data.labels, [data.rows], .i32)
        case .images(let data):
            known = data.labels
            let bytes = try compute.view(data.pixels, [data.count, data.channels, data.height, data.width], .u8)
            storage = .images(bytes, values: try Self.values(normalization, channels: data.channels, compute))
            labels = try compute.view(data.labels, [data.count], .i32)
        case .files(let files):
            known = files.labels
            storage = .files(files, values: try Self.values(normalization, channels: files.channels, compute))
            labels = try compute.view(files.labels, [files.count], .i32)
        }
    }

    private static func values(
        _ normalization: ImageNormalization?, channels: Int, _ compute: ComputeDevice
    ) throws -> View {
        let plain = ImageNormalization(
            mean: [Double](repeating: 0, count: channels), deviation: [Double](repeating: 1, count: channels))
        return try compute.view((normalization ?? plain).table, [channels, 256])
    }

    public init(_ data: TabularDataset, on device: Device) throws { try self.init(.table(data), on: device) }

    private init(_ whole: DeviceRows, selection: View, labels: View, augmented: Bool) {
        storage = whole.storage
        known = nil
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
    /// The labels as host numbers.
    func labelValues(on device: Device) throws -> [Int32] { try known ?? device.compute.read(labels, as: Int32.self) }
    /// Shape of one example.
    public var sample: [Int] {
        switch storage {
        case .table(let features): Array(features.shape.dropFirst())
        case .images(let bytes, _): Array(bytes.shape.dropFirst())
        case .files(let files, _): [files.channels, files.height, files.width]
        }
    }

    /// Where training stands: what augmentation depends on, besides the example itself.
    public struct Moment: Sendable {
        public var seed: UInt64
        public var epoch: Int
        public var step: Int

        /// Of examples that are taken as they are.
        static let none = Moment(seed: 0, epoch: 0, step: 0)
    }

    /// Training examples by number, augmented. `ids` int32 `[batch]`.
    /// - Parameter decoded: of pictures on disk those that are wanted; nil decodes them.
    func batch(
        _ ids: View, at moment: Moment, classes: Int, decoded: PictureStream.Batch? = nil, on device: Device
    ) throws -> TrainingBatch {
        let x = try gather(ids, augmentation, moment, decoded, device.compute)
        let labels = try chosenLabels(ids, device.compute)
        guard let mixing, x.rank == 4 else {
            return TrainingBatch(x: Tensor(view: x, on: device), labels: labels, ids: ids)
        }
        let compute = device.compute
        let mix = try BatchMix(
            mixing, rows: ids.count, height: x.shape[2], width: x.shape[3], seed: moment.seed, step: moment.step)
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
        let x = try gather(ids, .none, .none, nil, device.compute)
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

    /// All examples in order, as they are, `[part, …sample]` at a time.
    /// - `part`: examples of each call; the last may have fewer.
    /// - Throws: what `body` throws; `RetortError` of a file that cannot be decoded, 75 when a signal asked to stop meanwhile.
    public func forEachPart(of part: Int, on device: Device, _ body: (Tensor) throws -> Void) throws {
        // One batch ahead: parts for measuring are larger than those for training.
        guard let stream = try stream((0..<rows).map(Int32.init), batch: part, depth: 1, on: device.compute) else {
            for start in stride(from: 0, to: rows, by: part) {
                try body(try examples(start..<min(rows, start + part), on: device))
            }
            return
        }
        while let decoded = try stream.next() {
            try body(Tensor(view: try gather(decoded.places, .none, .none, decoded, device.compute), on: device))
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
    }

    /// The pictures on disk, decoded ahead; nil where all examples are on the device.
    /// - `times`: where it is kept how long that takes, and how long it is waited for.
    func stream(
        _ order: [Int32], batch: Int, depth: Int = 2, times: DataTimes? = nil, on compute: ComputeDevice
    ) throws -> PictureStream? {
        guard case .files(let files, _) = storage, !order.isEmpty else { return nil }
        let numbers = try selection.map { try compute.read($0, as: Int32.self) }
        return try PictureStream(
            files, order: numbers.map { all in order.map { all[Int($0)] } } ?? order, batch: batch, depth: depth,
            times: times, on: compute)
    }

    private func gather(
        _ ids: View, _ augmentation: ImageAugmentation, _ moment: Moment, _ decoded: PictureStream.Batch?,
        _ compute: ComputeDevice
    ) throws -> View {
        let x = try compute.empty([ids.count] + sample)
        let ids = try stored(ids, compute)
        func gather(_ table: View, _ values: View, at places: View) throws {
            let op = GatherImages(
                augmentation, seed: moment.seed, stream: Philox.stream("augment"), epoch: UInt32(moment.epoch))
            // A picture is changed by its number in the training set, wherever its bytes are.
            try run(op, .init(table: table, ids: places, samples: ids, values: values, y: x), on: compute)
        }
        switch storage {
        case .table(let features): try run(Gather(), .init(table: features, ids: ids, y: x), on: compute)
        case .images(let bytes, let values): try gather(bytes, values, at: ids)
        case .files(let files, let values):
            let decoded = try decoded ?? decode(ids, files, compute)
            try gather(decoded.pictures, values, at: decoded.places)
        }
        return x
    }

    /// Pictures by number, decoded here and now.
    private func decode(_ ids: View, _ files: ImageFiles, _ compute: ComputeDevice) throws -> PictureStream.Batch {
        let numbers = try compute.read(ids, as: Int32.self)
        let pixels = try files.decode(numbers.lazy.map(Int.init))
        return .init(
            pictures: try compute.view(pixels, [ids.count] + sample, .u8),
            places: try compute.view((0..<ids.count).map(Int32.init), [ids.count], .i32))
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
