import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Labelled examples on a device; pictures that are decoded when they are wanted, or changed by the host, come there batch by batch.
public struct DeviceRows {
    private enum Storage {
        /// `[rows, features]`.
        case table(View)
        /// Bytes `[rows, channels, height, width]` and the value of each byte, `[channels, 256]`.
        case images(View, values: View)
        /// Pictures on disk, of which the device has the value of each byte, `[channels, 256]`.
        case files(values: View)
    }
    private let storage: Storage
    /// Int32 `[rows]`: which of the stored examples these are; nil: all.
    private let selection: View?
    /// Int32 `[rows]`.
    public let labels: View
    /// The labels on the host; nil for a selection.
    private let known: [Int32]?
    /// What the host makes batches of, where it has to; nil: the device has all that is needed.
    private let pictures: ExampleSet?
    /// How training batches of images are changed at random; evaluation sees them as they are.
    private let augmentation: PictureAugmentation
    /// The same of the second view of each; nil: there is none.
    private let strong: PictureAugmentation?
    private let mixing: BatchMixing?

    /// - Parameters:
    ///   - examples: all of them, on the host.
    ///   - normalization: of images.
    ///   - augmentation: how training batches of images are cropped and flipped.
    ///   - randAugment: what follows; nil: nothing.
    ///   - strong: how the second view of each image is changed; nil: there is none.
    ///   - mixing: how the images of a batch are mixed, in both views alike.
    ///   - device: where they are trained on.
    public init(
        _ examples: ExampleSet, normalization: ImageNormalization? = nil, augmentation: ImageAugmentation = .none,
        randAugment: RandAugment? = nil, strong: PictureAugmentation? = nil, mixing: BatchMixing? = nil,
        on device: Device
    ) throws {
        let compute = device.compute
        self.augmentation = PictureAugmentation(augmentation, randAugment: randAugment)
        self.strong = strong
        self.mixing = mixing
        let hostChanges = randAugment != nil || strong?.randAugment != nil
        selection = nil
        switch examples {
        case .table(let data):
            known = data.labels
            pictures = nil
            storage = .table(try compute.view(data.features, [data.rows, data.columns]))
            labels = try compute.view(data.labels, [data.rows], .i32)
        case .images(let data):
            known = data.labels
            pictures = hostChanges ? examples : nil
            let bytes = try compute.view(data.pixels, [data.count, data.channels, data.height, data.width], .u8)
            storage = .images(bytes, values: try Self.values(normalization, channels: data.channels, compute))
            labels = try compute.view(data.labels, [data.count], .i32)
        case .files(let files):
            known = files.labels
            pictures = examples
            storage = .files(values: try Self.values(normalization, channels: files.channels, compute))
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
        pictures = whole.pictures
        known = nil
        self.selection = selection
        self.labels = labels
        augmentation = augmented ? whole.augmentation : .none
        strong = augmented ? whole.strong : nil
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
        case .files: pictures?.sample ?? []
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

    /// Training examples by number, augmented.
    /// - Parameters:
    ///   - ids: int32 `[batch]`.
    ///   - views: those of each picture that are wanted, at least one.
    ///   - decoded: what the host made for these views, of a stream for this moment; nil makes it now.
    /// - Throws: `RetortError` 78 for a strong view where there is none; 65 or 66 with the file that cannot be decoded.
    func batch(
        _ ids: View, at moment: Moment, classes: Int, views: [ExampleView] = [.weak],
        decoded: PictureStream.Batch? = nil, on device: Device
    ) throws -> TrainingBatch {
        let compute = device.compute
        let made = try hostPictures(views, at: moment).map { pictures in
            Made(pictures: pictures, batch: try decoded ?? make(pictures, ids, compute))
        }
        let shown = try views.map { view in
            guard augmentation(of: view) != nil else {
                throw RetortError.recipe(
                    "a loss looks at the strong view of the examples, and they have none",
                    help: "say how it is made: data.strong-augment")
            }
            return (view: view, x: Tensor(view: try gather(ids, view, moment, made, compute), on: device))
        }
        let labels = try chosenLabels(ids, compute)
        guard let mixing, let x = shown.first?.x, x.rank == 4 else {
            return TrainingBatch(views: shown, labels: labels, ids: ids)
        }
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
            views: try shown.map { (view: $0.view, x: try mix.images($0.x)) }, labels: labels, ids: ids,
            targets: targets)
    }

    /// Some examples by number as they are: `[ids, …sample]` and their labels, int32 `[ids]`.
    public func batch(_ ids: View, on device: Device) throws -> (x: Tensor, labels: View) {
        let made = try plainPictures.map { Made(pictures: $0, batch: try make($0, ids, device.compute)) }
        let x = try gather(ids, nil, .none, made, device.compute)
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
        guard let plain = plainPictures,
            let stream = try stream((0..<rows).map(Int32.init), of: plain, batch: part, depth: 1, on: device.compute)
        else {
            for start in stride(from: 0, to: rows, by: part) {
                try body(try examples(start..<min(rows, start + part), on: device))
            }
            return
        }
        while let decoded = try stream.next() {
            let made = Made(pictures: plain, batch: decoded)
            try body(Tensor(view: try gather(decoded.places, nil, .none, made, device.compute), on: device))
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
    }

    private func augmentation(of view: ExampleView) -> PictureAugmentation? { view == .weak ? augmentation : strong }

    /// What the host makes of training batches; nil where the device does all of it.
    private func hostPictures(_ views: [ExampleView], at moment: Moment) -> BatchPictures? {
        guard let pictures else { return nil }
        let wanted = views.compactMap { view in augmentation(of: view).map { (view: view, augmentation: $0) } }
        let held = if case .images = storage { true } else { false }
        return BatchPictures(pictures, views: wanted, held: held, at: moment)
    }

    /// The pictures as they are, where the device does not have them.
    private var plainPictures: BatchPictures? {
        guard case .files = storage else { return nil }
        return pictures.map { BatchPictures(plain: $0) }
    }

    /// What the host makes of training batches, made ahead; nil where the device does all of it.
    /// - Parameters:
    ///   - views: those of each picture that are wanted.
    ///   - moment: its seed and pass; the step changes nothing.
    ///   - times: where it is kept how long that takes, and how long it is waited for.
    func stream(
        _ order: [Int32], batch: Int, views: [ExampleView], at moment: Moment, times: DataTimes?,
        on compute: ComputeDevice
    ) throws -> PictureStream? {
        try hostPictures(views, at: moment).flatMap {
            try stream(order, of: $0, batch: batch, times: times, on: compute)
        }
    }

    /// nil for no rows.
    private func stream(
        _ order: [Int32], of pictures: BatchPictures, batch: Int, depth: Int = 2, times: DataTimes? = nil,
        on compute: ComputeDevice
    ) throws -> PictureStream? {
        guard !order.isEmpty else { return nil }
        let numbers = try selection.map { try compute.read($0, as: Int32.self) }
        return try PictureStream(
            pictures, order: numbers.map { all in order.map { all[Int($0)] } } ?? order, batch: batch, depth: depth,
            times: times, on: compute)
    }

    /// What the host made of a batch, and how.
    private struct Made {
        let pictures: BatchPictures
        let batch: PictureStream.Batch
    }

    /// - Parameters:
    ///   - view: nil: the examples as they are.
    ///   - made: nil where the host makes nothing of it.
    private func gather(
        _ ids: View, _ view: ExampleView?, _ moment: Moment, _ made: Made?, _ compute: ComputeDevice
    ) throws -> View {
        let x = try compute.empty([ids.count] + sample)
        let ids = try stored(ids, compute)
        let geometry = view.flatMap { augmentation(of: $0)?.geometry } ?? ImageAugmentation.none
        func gather(_ table: View, _ values: View, at places: View, _ augmentation: ImageAugmentation) throws {
            let op = GatherImages(
                augmentation, seed: moment.seed, stream: (view ?? .weak).stream("augment"),
                epoch: UInt32(moment.epoch))
            // A picture is changed by its number in the training set, wherever its bytes are.
            try run(op, .init(table: table, ids: places, samples: ids, values: values, y: x), on: compute)
        }
        /// false where the device holds what is wanted.
        func gatherMade(_ values: View) throws -> Bool {
            guard let made, let part = made.pictures.part(of: view) else { return false }
            try gather(
                made.batch.part(part.index), values, at: made.batch.places, part.isChanged ? .none : geometry)
            return true
        }
        switch storage {
        case .table(let features): try run(Gather(), .init(table: features, ids: ids, y: x), on: compute)
        case .images(let bytes, let values):
            if try !gatherMade(values) { try gather(bytes, values, at: ids, geometry) }
        case .files(let values):
            guard try gatherMade(values) else { throw RetortError.internalBug("pictures that nobody decoded") }
        }
        return x
    }

    /// What the host makes of some pictures by number, made here and now.
    private func make(
        _ pictures: BatchPictures, _ ids: View, _ compute: ComputeDevice
    ) throws -> PictureStream.Batch {
        let numbers = try compute.read(try stored(ids, compute), as: Int32.self)
        let pixels = try pictures(numbers.map { Int($0) })
        return .init(
            pictures: try compute.view(pixels, [pictures.parts * numbers.count] + sample, .u8),
            places: try compute.view(numbers.indices.map { Int32($0) }, [numbers.count], .i32))
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
    /// Each view of the examples that was asked for, once: `[batch, …sample]`.
    public let views: [(view: ExampleView, x: Tensor)]
    /// Int32 `[batch]`; of the first picture where two are mixed.
    public let labels: View
    /// Int32 `[batch]`: numbers in the training set.
    public let ids: View
    /// Probabilities `[batch, classes]` where pictures are mixed; nil: the labels alone.
    public var targets: View?

    /// The first of the views, `[batch, …sample]`.
    public var x: Tensor { views[0].x }
}
