import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Where the examples come from, as a recipe states it.
public struct DataSource: Sendable {
    public enum Kind: Sendable {
        case csv(label: String, scale: Float, testEvery: Int)
        case idx
        case cifar10
        case cifar100(CIFAR100Labels)
        case folder(ImageFolder.Options)
    }

    public let kind: Kind
    /// The file, or the folder.
    public let path: String
    /// Only the first training examples; nil: all.
    public let rows: Int?
    /// For images: per channel mean and deviation of values from 0 to 1; nil: as measured on the training images.
    public let normalization: (mean: [Double], deviation: [Double])?
    /// How training pictures are changed at random; of the weak view.
    public let augmentation: PictureAugmentation
    /// Of the strong view; nil: there is none.
    public let strongAugmentation: PictureAugmentation?
    public let mixing: BatchMixing?
    private let rowsPlace: RetortError.Location?

    init(_ node: RecipeNode, path: String) throws {
        self.path = path
        rows = node["rows"]?.integer
        rowsPlace = node["rows"]?.location
        switch node.required("kind").text {
        case "idx": kind = .idx
        case "cifar10": kind = .cifar10
        case "cifar100": kind = .cifar100(CIFAR100Labels(rawValue: node.required("labels").text) ?? .fine)
        case "images": kind = .folder(DataSchema.folderOptions(node))
        default:
            let scale = node.required("scale")
            guard Float(scale.number) != 0 else {
                throw RetortError.recipe(
                    "data.scale is \(NumberFormat.significant(scale.number))", at: scale.location,
                    why: "every feature is multiplied by it", help: "1 changes nothing.")
            }
            kind = .csv(
                label: node.required("label").text, scale: Float(scale.number),
                testEvery: node.required("test").required("every").integer)
        }
        let channels = kind.channels
        normalization = try node["normalize"].map { section in
            let mean = section.required("mean").list.map(\.number)
            let deviation = section.required("deviation").list.map(\.number)
            guard mean.count == deviation.count else {
                throw RetortError.recipe(
                    "data.normalize has \(NumberFormat.counted(mean.count, "mean", "means")) and "
                        + NumberFormat.counted(deviation.count, "deviation", "deviations"), at: section.location)
            }
            guard mean.count == channels else {
                throw RetortError.recipe(
                    "data.normalize has \(NumberFormat.counted(mean.count, "mean", "means")), but the images have "
                        + NumberFormat.counted(channels, "channel", "channels"), at: section.location)
            }
            return (mean, deviation)
        }
        let augment = node["augment"]
        augmentation = augment.map { PictureAugmentation($0) } ?? PictureAugmentation.none
        strongAugmentation = node["strong-augment"].map { PictureAugmentation($0) }
        let (mixup, cutMix) = (augment?.required("mixup").number ?? 0, augment?.required("cutmix").number ?? 0)
        guard mixup == 0 || cutMix == 0 else {
            throw RetortError.recipe("data.augment has both mixup and cutmix", at: augment?.location)
        }
        mixing = mixup > 0 ? .mixup(alpha: mixup) : cutMix > 0 ? .cutMix(alpha: cutMix) : nil
    }

    /// Reads the files, or lists them where they are decoded later.
    /// - Parameter teacher: what becomes of inputs before a teacher that was trained before. Its normalisation is taken where the recipe
    ///   has none: both see the same pictures.
    /// - Throws: `RetortError` 65, 66, 69 (a library for compressed files is missing), 74, 75 (a signal asked to stop), 78.
    public func load(teacher: Preprocessing? = nil) throws -> Examples {
        if case .csv(let label, let scale, let testEvery) = kind {
            let data = try TabularDataset.csv(path, label: label, scale: scale)
            let (train, test) = try data.split(testEvery: testEvery)
            return Examples(
                train: try first(of: .table(train)), test: .table(test),
                task: ClassificationTask(sample: [data.columns], classes: data.classes),
                classNames: (0..<data.classes).map(String.init), normalization: nil,
                preprocessing: scale == 1 ? nil : .features(scale: Double(scale)))
        }
        let parts = try RetortError.placed(at: rowsPlace) { try kind.images(path, rows: rows) }
        return try examples(parts.train, parts.test, parts.classNames, teacher)
    }

    /// What `data.rows` leaves.
    private func first(of train: ExampleSet) throws -> ExampleSet {
        try rows.map { try train.first($0, key: DataSource.rowsKey, at: rowsPlace) } ?? train
    }

    fileprivate static let rowsKey = "data.rows"

    private func examples(
        _ train: ExampleSet, _ test: ExampleSet, _ classNames: [String], _ teacher: Preprocessing?
    ) throws -> Examples {
        guard classNames.count > 1 else {
            throw RetortError.badData(
                "the pictures are of one class", at: .init(file: path),
                help: "A classifier needs two classes or more: a folder for each.")
        }
        let shape = train.sample
        var given = normalization.map { ImageNormalization(mean: $0.mean, deviation: $0.deviation) }
        if given == nil, case .images(let images) = teacher, images.channels == shape[0] {
            given = ImageNormalization(images)
        }
        let used = try given ?? train.measuredNormalization()
        return Examples(
            train: train, test: test, task: ClassificationTask(sample: shape, classes: classNames.count),
            classNames: classNames, normalization: used,
            preprocessing: .images(used.preprocessing(height: shape[1], width: shape[2])))
    }

    /// Training examples on a device, changed at random as the recipe says.
    /// - Parameters:
    ///   - rows: some or all of them.
    ///   - normalization: of images.
    func rows(_ rows: ExampleSet, normalization: ImageNormalization?, on device: Device) throws -> DeviceRows {
        try DeviceRows(
            rows, normalization: normalization, augmentation: augmentation.geometry,
            randAugment: augmentation.randAugment, strong: strongAugmentation, mixing: mixing, on: device)
    }

    /// A name for the content: of the file, or of all files of the folder by name.
    func contentHash() throws -> String {
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue else {
            return try ContentHash.hexadecimal(ofFile: path)
        }
        let names = (FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String } ?? []).sorted()
        var lines = ""
        for name in names {
            let file = path + "/" + name
            guard FileManager.default.fileExists(atPath: file, isDirectory: &isFolder), !isFolder.boolValue else {
                continue
            }
            lines += "\(try ContentHash.hexadecimal(ofFile: file))  \(name)\n"
        }
        return ContentHash.hexadecimal(of: Array(lines.utf8))
    }
}

extension DataSource.Kind {
    /// Of its pictures; 0 for a table.
    var channels: Int {
        switch self {
        case .csv: 0
        case .idx: 1
        case .cifar10, .cifar100: 3
        case .folder(let options): options.channels
        }
    }

    /// What the classes are called where this kind of data has names for them: folders always, CIFAR where its list of names is there.
    func stated(_ names: [String]) -> ClassNames? {
        switch self {
        case .csv, .idx: nil
        case .cifar10, .cifar100: ClassNames(unlessNumbers: names)
        case .folder: ClassNames(names)
        }
    }

    /// The parts of a source of pictures. Those of a folder stay on disk where the folder's limit has no room for them.
    /// - Parameter rows: only the first training pictures; nil: all.
    func images(_ path: String, rows: Int? = nil) throws -> (
        train: ExampleSet, test: ExampleSet, classNames: [String]
    ) {
        let split: ImageSplit
        switch self {
        case .csv: preconditionFailure("a table has no pictures")
        case .idx: split = try .idx(folder: path)
        case .cifar10: split = try .cifar10(folder: path)
        case .cifar100(let labels): split = try .cifar100(folder: path, labels: labels)
        case .folder(let options):
            let folder = try ImageFolder(path, options)
            let memory = options.limits.pixelBytes
            let test = try ExampleSet(ImageFiles(folder.test, of: folder), memory: memory)
            var train = ImageFiles(folder.train, of: folder)
            if let rows { train = try train.first(rows, key: DataSource.rowsKey) }
            return (try ExampleSet(train, memory: memory - test.heldBytes), test, folder.classNames)
        }
        let train = try rows.map { try split.train.first($0, key: DataSource.rowsKey) } ?? split.train
        return (.images(train), .images(split.test), train.classNames)
    }
}

/// What a data source holds.
public struct Examples: Sendable {
    public let train: ExampleSet
    public let test: ExampleSet
    public let task: ClassificationTask
    public let classNames: [String]
    /// For images.
    public let normalization: ImageNormalization?
    /// What a model that is trained on them has to be told of its inputs; nil: they are taken as they are.
    public let preprocessing: Preprocessing?
}

/// Labelled examples on the host.
public enum ExampleSet: Sendable {
    case table(TabularDataset)
    case images(ImageDataset)
    /// Pictures that are decoded when they are wanted.
    case files(ImageFiles)

    /// Decoded now where all of them are at most `memory` bytes.
    init(_ files: ImageFiles, memory: Int) throws {
        self = files.count <= max(0, memory) / files.imageBytes ? .images(try files.load()) : .files(files)
    }

    public var count: Int {
        switch self {
        case .table(let data): data.rows
        case .images(let data): data.count
        case .files(let files): files.count
        }
    }

    /// Shape of one example.
    public var sample: [Int] {
        switch self {
        case .table(let data): [data.columns]
        case .images(let data): [data.channels, data.height, data.width]
        case .files(let files): [files.channels, files.height, files.width]
        }
    }

    /// Bytes of decoded pixels.
    var heldBytes: Int { if case .images(let data) = self { data.pixels.count } else { 0 } }

    /// The first `count` examples.
    /// - Parameters:
    ///   - count: how many.
    ///   - key: what messages call the number.
    ///   - place: where it stands in the recipe.
    /// - Throws: `RetortError` 78 when there are fewer.
    public func first(
        _ count: Int, key: String = "train.rows", at place: RetortError.Location? = nil
    ) throws -> ExampleSet {
        try RetortError.placed(at: place) { try first(count, called: key) }
    }

    private func first(_ count: Int, called key: String) throws -> ExampleSet {
        switch self {
        case .table(let data): .table(try data.first(rows: count, key: key))
        case .images(let data): .images(try data.first(count, key: key))
        case .files(let files): .files(try files.first(count, key: key))
        }
    }

    /// Pictures by number, `[numbers, channels, height, width]`; nothing of a table.
    /// - Throws: `RetortError` when a file cannot be decoded.
    func pixels(of numbers: [Int]) throws -> [UInt8] {
        switch self {
        case .table: return []
        case .images(let data):
            var pixels: [UInt8] = []
            pixels.reserveCapacity(numbers.count * data.imageBytes)
            for number in numbers { pixels += data.image(number) }
            return pixels
        case .files(let files): return try files.decode(numbers)
        }
    }

    /// Pictures by number, `[channels, height, width]` each.
    /// - Throws: `RetortError` when a file cannot be decoded.
    func pictures(_ numbers: [Int]) throws -> [[UInt8]] {
        switch self {
        case .table: return []
        case .images(let data): return numbers.map { Array(data.image($0)) }
        case .files(let files):
            let pixels = try files.decode(numbers)
            return numbers.indices.map { Array(pixels[($0 * files.imageBytes)..<(($0 + 1) * files.imageBytes)]) }
        }
    }

    /// The normalisation that gives these pictures mean 0 and deviation 1 in each channel.
    /// - Throws: `RetortError` when a file cannot be decoded; 75 when a signal asked to stop.
    func measuredNormalization() throws -> ImageNormalization {
        let measured: (mean: [Double], deviation: [Double])
        switch self {
        case .table: return ImageNormalization(mean: [], deviation: [])
        case .images(let data): measured = data.channelStatistics()
        case .files(let files): measured = try files.channelStatistics()
        }
        return ImageNormalization(mean: measured.mean, deviation: measured.deviation)
    }
}

/// (byte / 255 − mean) / deviation, channel by channel.
public struct ImageNormalization: Sendable, Equatable {
    public let mean: [Double]
    public let deviation: [Double]

    public init(mean: [Double], deviation: [Double]) {
        self.mean = mean
        self.deviation = deviation
    }

    init(_ images: ImagePreprocessing) { self.init(mean: images.mean, deviation: images.deviation) }

    /// A channel that never varies is only shifted.
    private var divisors: [Double] { deviation.map { $0 > 0 ? $0 : 1 } }

    /// The value of each byte, `[channels, 256]`.
    var table: [Float] {
        zip(mean, divisors).flatMap { mean, deviation in
            (0..<256).map { Float((Double($0) / 255 - mean) / deviation) }
        }
    }

    /// The same, as a model's directory keeps it.
    func preprocessing(height: Int, width: Int) -> ImagePreprocessing {
        ImagePreprocessing(mean: mean, deviation: divisors, height: height, width: width)
    }
}
