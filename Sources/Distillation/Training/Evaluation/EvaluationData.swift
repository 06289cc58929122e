import Foundation
import RetortData
import RetortModels
import RetortSupport

/// The labelled data of `retort eval`: what `data` of a recipe can name, its kind found out from what is there, sizes and
/// normalisation taken from the model, unless said otherwise.
public struct EvaluationData: Sendable {
    public enum Kind: String, Sendable, CaseIterable {
        case csv, idx, cifar10, cifar100, images
    }
    public enum Split: String, Sendable, CaseIterable {
        case test, train
    }
    /// CIFAR-100's 100 classes or its 20 superclasses.
    public enum Labels: String, Sendable, CaseIterable {
        case fine, coarse
    }

    /// The file, or the folder.
    public var path: String
    public var kind: Kind?
    /// nil: the test part where there is one, else everything.
    public var split: Split?
    /// Of a CSV file: the column that holds the class.
    public var label = "label"
    /// Of a CSV file: every feature is multiplied by this; nil: as the model's directory says.
    public var scale: Double?
    /// Of a CSV file or class folders without a test folder: every n-th tests, as in a recipe.
    public var testEvery: Int?
    /// Of CIFAR-100; nil: what the model has as many classes for.
    public var cifarLabels: Labels?
    /// Of a folder of images, in pixels; nil: the model's.
    public var height: Int?
    /// Of a folder of images, in pixels; nil: the model's.
    public var width: Int?
    /// Of a folder of images; nil: the model's.
    public var channels: Int?
    /// Of images, by channel, with `deviation`; nil: as the model's directory says.
    public var mean: [Double]?
    public var deviation: [Double]?
    /// Bytes of decoded images of a folder to hold; more are decoded while they are measured.
    public var memory = 2 << 30

    public init(_ path: String) { self.path = path }

    /// Labelled examples, before the model's own preprocessing.
    struct Loaded {
        let kind: Kind
        let examples: ExampleSet
        let classNames: [String]
        /// Whether the classes are all that there are: a CSV file or MNIST's format may hold some only.
        let hasAllClasses: Bool

        /// What the classes are called where this kind of data has names for them.
        var stated: ClassNames? {
            switch kind {
            case .csv, .idx: nil
            case .cifar10, .cifar100: ClassNames(unlessNumbers: classNames)
            case .images: ClassNames(classNames)
            }
        }
    }

    /// - Parameters:
    ///   - task: the model's.
    ///   - preprocessing: the model's, for sizes.
    ///   - view: what the model sees of each example.
    /// - Throws: `RetortError` 64 for options that contradict the data, 65 and 66 for the data.
    func load(for task: ClassificationTask, _ preprocessing: Preprocessing?, seeing view: InputView) throws -> Loaded {
        let kind = try kind ?? Self.detect(path)
        try check(kind)
        guard let (source, hasTest) = try source(kind, task, preprocessing, view) else { return try table() }
        let wanted = split ?? (hasTest ? .test : .train)
        guard hasTest || split == nil else {
            throw RetortError.usage(
                "\(path.quoted(limit: 200)) has no parts for training and test, so --split has nothing to choose from",
                help: "give --test-every as in the recipe, or leave --split out to measure on all images")
        }
        let (examples, names) = try source.part(wanted, path)
        return Loaded(kind: kind, examples: examples, classNames: names, hasAllClasses: kind != .idx)
    }

    private func table() throws -> Loaded {
        var rows = try TabularDataset.csv(path, label: label)
        if let testEvery {
            let parts = try rows.split(testEvery: testEvery)
            rows = split == .train ? parts.train : parts.test
        } else if split != nil {
            throw RetortError.usage(
                "a CSV file has no parts for training and test", help: "give --test-every n as in the recipe's test")
        }
        return Loaded(
            kind: .csv, examples: .table(rows), classNames: (0..<rows.classes).map(String.init), hasAllClasses: false)
    }

    /// A source of images and whether it has a test part; nil for a table.
    private func source(
        _ kind: Kind, _ task: ClassificationTask, _ preprocessing: Preprocessing?, _ view: InputView
    ) throws -> (kind: DataSource.Kind, hasTest: Bool)? {
        switch kind {
        case .csv: return nil
        case .idx: return (.idx, true)
        case .cifar10: return (.cifar10, true)
        case .cifar100:
            let isCoarse = cifarLabels.map { $0 == .coarse } ?? (task.classes == 20)
            return (.cifar100(isCoarse ? .coarse : .fine), true)
        case .images:
            let test: ImageFolder.Options.Test =
                testEvery.map { .every($0) } ?? (Folder.exists(path + "/train") ? .folder("test") : .none)
            return (.folder(try folderOptions(test, task, preprocessing, view)), test != .none)
        }
    }

    /// Sizes: as asked for, else the model's inputs where it sees whole images, else what its directory says of preprocessing.
    private func folderOptions(
        _ test: ImageFolder.Options.Test, _ task: ClassificationTask, _ preprocessing: Preprocessing?, _ view: InputView
    ) throws -> ImageFolder.Options {
        var sizes: [Int?] = [channels, height, width]
        var known: [Int?] = [nil, nil, nil]
        if task.sample.count == 3, view.isWhole {
            known = task.sample
        } else if case .images(let images) = preprocessing {
            known = [images.channels, images.height, images.width]
        }
        for index in sizes.indices where sizes[index] == nil { sizes[index] = known[index] }
        guard let channels = sizes[0], let height = sizes[1], let width = sizes[2] else {
            throw RetortError.usage(
                "the model does not say which images its inputs are taken from",
                help: "give --height, --width and --channels")
        }
        return ImageFolder.Options(
            height: height, width: width, channels: channels, test: test, limits: .init(pixelBytes: memory))
    }

    /// Refuses options that this kind of data has no use for: they would be passed over in silence.
    private func check(_ kind: Kind) throws {
        func refuse(_ option: String, _ isGiven: Bool, _ kinds: Set<Kind>) throws {
            guard isGiven, !kinds.contains(kind) else { return }
            let names = Kind.allCases.filter(kinds.contains).map(\.rawValue).joined(separator: ", ")
            throw RetortError.usage(
                "\(option) is for data of kind \(names), and \(path.quoted(limit: 200)) is \(kind.rawValue)",
                help: "leave it out, or name the kind with --kind")
        }
        try refuse("--scale", scale != nil, [.csv])
        try refuse("--test-every", testEvery != nil, [.csv, .images])
        try refuse("--labels", cifarLabels != nil, [.cifar100])
        try refuse("--mean", mean != nil || deviation != nil, [.idx, .cifar10, .cifar100, .images])
        for (option, value) in [("--height", height), ("--width", width), ("--channels", channels)] {
            try refuse(option, value != nil, [.images])
        }
        guard mean?.count == deviation?.count else {
            throw RetortError.usage(
                "--mean has \(mean?.count ?? 0) numbers, --deviation \(deviation?.count ?? 0)",
                help: "give both, a number for each channel")
        }
    }

    /// What kind of data is there, by the names of the files.
    /// - Throws: `RetortError` 66 when nothing is there, 65 when it cannot be told.
    static func detect(_ path: String) throws -> Kind {
        guard FileManager.default.fileExists(atPath: path) else {
            throw RetortError.missingInput("there is no file or folder \(path.quoted(limit: 200))")
        }
        guard Folder.exists(path) else { return .csv }
        let names = Set(try Folder.names(in: path).filter { !$0.hasPrefix(".") })
        let stems = Set(names.map { $0.hasSuffix(".gz") ? String($0.dropLast(3)) : $0 })
        var found: [Kind] = []
        if stems.contains("t10k-images-idx3-ubyte") || stems.contains("train-images-idx3-ubyte") { found.append(.idx) }
        if names.contains("test_batch.bin") || names.contains("data_batch_1.bin") { found.append(.cifar10) }
        if names.contains("test.bin") || names.contains("train.bin") { found.append(.cifar100) }
        if found.isEmpty, names.contains(where: { Folder.exists(path + "/" + $0) }) { found.append(.images) }
        guard found.count == 1 else {
            let help =
                "a CSV file is named itself, not its folder; --kind "
                + Kind.allCases.map(\.rawValue).joined(separator: " | ")
            throw RetortError.badData(
                "cannot tell what kind of data \(path.quoted(limit: 200)) holds", at: .init(file: path),
                why: found.isEmpty
                    ? "there are no IDX files, no CIFAR binaries and no class folders"
                    : "there are files of " + found.map(\.rawValue).joined(separator: " and "), help: help)
        }
        return found[0]
    }
}

extension DataSource.Kind {
    /// One part of a source of pictures; of a folder nothing else is decoded.
    fileprivate func part(
        _ split: EvaluationData.Split, _ path: String
    ) throws -> (examples: ExampleSet, classNames: [String]) {
        guard case .folder(let options) = self else {
            let parts = try images(path)
            return (split == .test ? parts.test : parts.train, parts.classNames)
        }
        let folder = try ImageFolder(path, options)
        let files = ImageFiles(split == .test ? folder.test : folder.train, of: folder)
        return (try ExampleSet(files, memory: options.limits.pixelBytes), folder.classNames)
    }
}
