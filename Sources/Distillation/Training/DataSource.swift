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
    public let augmentation: ImageAugmentation
    public let mixing: BatchMixing?

    init(_ node: RecipeNode, path: String) throws {
        self.path = path
        rows = node["rows"]?.integer
        switch node.required("kind").text {
        case "idx": kind = .idx
        case "cifar10": kind = .cifar10
        case "cifar100": kind = .cifar100(CIFAR100Labels(rawValue: node.required("labels").text) ?? .fine)
        case "images": kind = .folder(DataSchema.folderOptions(node))
        default:
            kind = .csv(
                label: node.required("label").text, scale: Float(node.required("scale").number),
                testEvery: node.required("test").required("every").integer)
        }
        normalization = try node["normalize"].map { section in
            let mean = section.required("mean").list.map(\.number)
            let deviation = section.required("deviation").list.map(\.number)
            guard mean.count == deviation.count else {
                throw RetortError.recipe(
                    "data.normalize has \(mean.count) means and \(deviation.count) deviations", at: section.location)
            }
            return (mean, deviation)
        }
        let augment = node["augment"]
        augmentation = ImageAugmentation(
            padding: augment?.required("crop").integer ?? 0, flipProbability: augment?.required("flip").number ?? 0)
        let (mixup, cutMix) = (augment?.required("mixup").number ?? 0, augment?.required("cutmix").number ?? 0)
        guard mixup == 0 || cutMix == 0 else {
            throw RetortError.recipe("data.augment has both mixup and cutmix", at: augment?.location)
        }
        mixing = mixup > 0 ? .mixup(alpha: mixup) : cutMix > 0 ? .cutMix(alpha: cutMix) : nil
    }

    /// Reads the files.
    /// - Throws: `RetortError` 65, 66, 69 (a library for compressed files is missing), 74, 78.
    public func load() throws -> Examples {
        switch kind {
        case .csv(let label, let scale, let testEvery):
            let data = try TabularDataset.csv(path, label: label, scale: scale)
            let (train, test) = try data.split(testEvery: testEvery)
            return Examples(
                train: .table(try rows.map { try train.first(rows: $0) } ?? train), test: .table(test),
                task: ClassificationTask(sample: [data.columns], classes: data.classes),
                classNames: (0..<data.classes).map(String.init), normalization: nil)
        case .idx: return try examples(.idx(folder: path))
        case .cifar10: return try examples(.cifar10(folder: path))
        case .cifar100(let labels): return try examples(.cifar100(folder: path, labels: labels))
        case .folder(let options): return try examples(.folder(path, options))
        }
    }

    private func examples(_ split: ImageSplit) throws -> Examples {
        let train = try rows.map { try split.train.first($0) } ?? split.train
        let measured = normalization ?? train.channelStatistics()
        guard measured.mean.count == train.channels else {
            throw RetortError.recipe(
                "data.normalize has \(measured.mean.count) means, but the images have \(train.channels) channels")
        }
        return Examples(
            train: .images(train), test: .images(split.test),
            task: ClassificationTask(sample: [train.channels, train.height, train.width], classes: train.classes),
            classNames: train.classNames,
            normalization: ImageNormalization(mean: measured.mean, deviation: measured.deviation))
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

/// What a data source holds.
public struct Examples: Sendable {
    public let train: ExampleSet
    public let test: ExampleSet
    public let task: ClassificationTask
    public let classNames: [String]
    /// For images.
    public let normalization: ImageNormalization?
}

/// Labelled examples on the host.
public enum ExampleSet: Sendable {
    case table(TabularDataset)
    case images(ImageDataset)

    public var count: Int {
        switch self {
        case .table(let data): data.rows
        case .images(let data): data.count
        }
    }

    /// The first `count` examples.
    /// - Throws: `RetortError` 78 when there are fewer.
    public func first(_ count: Int) throws -> ExampleSet {
        switch self {
        case .table(let data): .table(try data.first(rows: count))
        case .images(let data): .images(try data.first(count))
        }
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

    /// The value of each byte, `[channels, 256]`. A channel that never varies is only shifted.
    var table: [Float] {
        zip(mean, deviation).flatMap { mean, deviation in
            (0..<256).map { Float((Double($0) / 255 - mean) / (deviation > 0 ? deviation : 1)) }
        }
    }
}
