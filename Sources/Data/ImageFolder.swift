import Dispatch
import Glibc
import RetortSupport
import Synchronization

/// Pictures in folders, one a class: `train/<class>/*.png`, `test/<class>/*.jpg`, or one folder of class folders that is split. Its
/// files are listed when it is opened and decoded when they are wanted: all of them by `load`, or batch by batch by `decode`.
///
/// Classes are the folders' names in byte order; within a class, files are in byte order too. Names that begin with a dot are passed
/// over; anything else that is neither `.png`, `.jpg` nor `.jpeg` is an error, because a picture left out silently would quietly
/// spoil a result.
public struct ImageFolder: Sendable {
    public struct Options: Sendable {
        /// What becomes of a picture of another size.
        public enum Sizing: String, Sendable, CaseIterable {
            /// It is resized: bilinear, every pixel of the original counting (`ImageResampler`); the aspect ratio is not kept.
            case resize
            /// It is an error.
            case exact
        }

        /// Where the test pictures are.
        public enum Test: Sendable, Equatable {
            /// In a folder of class folders beside `train`.
            case folder(String)
            /// There are class folders only: of each, the files whose index (from 0) is a multiple of this are for the test.
            case every(Int)
            /// Nowhere: there are class folders only, and all their pictures are in `train`.
            case none
        }

        /// What a file may cost. Exceeding a limit is an error (exit 65), before its pixels are decoded.
        public struct Limits: Sendable {
            /// Bytes of one file.
            public var fileBytes: Int
            /// Pixels of one picture as it is stored.
            public var sourcePixels: Int
            /// Bytes of all decoded pixels of one part; `load` only.
            public var pixelBytes: Int

            public init(fileBytes: Int = 64 << 20, sourcePixels: Int = 1 << 25, pixelBytes: Int = 4 << 30) {
                self.fileBytes = fileBytes
                self.sourcePixels = sourcePixels
                self.pixelBytes = pixelBytes
            }
        }

        /// The largest height and width, in pixels.
        public static let largestSide = 1 << 14

        /// In pixels.
        public var height: Int
        /// In pixels.
        public var width: Int
        /// 1 (grey) or 3 (red, green, blue).
        public var channels: Int
        public var sizing: Sizing
        public var test: Test
        public var limits: Limits

        public init(
            height: Int, width: Int, channels: Int = 3, sizing: Sizing = .resize, test: Test = .folder("test"),
            limits: Limits = Limits()
        ) {
            self.height = height
            self.width = width
            self.channels = channels
            self.sizing = sizing
            self.test = test
            self.limits = limits
        }
    }

    /// One picture: its path and class.
    public struct File: Sendable, Equatable {
        public let path: String
        public let label: Int32
    }

    public let options: Options
    public let classNames: [String]
    /// The first picture of each class, then the second of each, and so on: the first `n` are of all classes alike, so that few rows
    /// of a folder are not all of its first class.
    public let train: [File]
    /// Class by class.
    public let test: [File]

    /// Bytes of one decoded picture.
    public var imageBytes: Int { ImageDecoder(options: options).imageBytes }

    /// Lists the files; opens none of them.
    /// - Throws: exit 66 when a folder is not there; 65 when one holds what does not belong there, a class has no pictures, or a
    ///   test class is no training class; 74 on I/O errors; 78 for impossible options.
    public init(_ path: String, _ options: Options) throws(RetortError) {
        try Self.check(options)
        self.options = options
        switch options.test {
        case .none:
            let classes = try Self.classes(path)
            classNames = classes.map(\.name)
            train = Self.dealt(classes.map(\.files))
            test = []
        case .every(let every):
            let classes = try Self.classes(path)
            classNames = classes.map(\.name)
            var (train, test): ([[String]], [File]) = ([], [])
            for (label, (name, files)) in classes.enumerated() {
                guard files.count >= 2 else {
                    throw Self.misplaced(
                        path + "/" + name, "it has one picture; a split needs two, for training and test", help: "")
                }
                var kept: [String] = []
                for (index, file) in files.enumerated() {
                    if index % every == 0 {
                        test.append(File(path: file, label: Int32(label)))
                    } else {
                        kept.append(file)
                    }
                }
                train.append(kept)
            }
            (self.train, self.test) = (Self.dealt(train), test)
        case .folder(let testName):
            let classes = try Self.classes(path + "/train")
            let names = classes.map(\.name)
            train = Self.dealt(classes.map(\.files))
            let testClasses = try Self.classes(path + "/" + testName)
            var positions: [Int32] = []
            for (name, _) in testClasses {
                guard let position = names.firstIndex(where: { $0.hasSameBytes(as: name) }) else {
                    throw Self.misplaced(
                        path + "/" + testName + "/" + name, "there is no training class \(name.quoted())",
                        help: EditDistance.nearest(to: name, among: names).map { "Did you mean \($0.quoted())?" } ?? "")
                }
                positions.append(Int32(position))
            }
            test = zip(testClasses, positions).flatMap { entry, label in
                entry.files.map { File(path: $0, label: label) }
            }
            classNames = names
        }
    }

    /// Decodes files, several at a time.
    /// - `result`: `[files, channels, height, width]`.
    /// - Throws: of the files that cannot be decoded, the first one's error: exit 66 when it is not there; 65 when it is damaged,
    ///   beyond a limit, no picture, or of another size where that is refused; 69 when the library for it is not installed; 74 on
    ///   I/O errors. 70 when `result` has another size.
    public func decode(_ files: [File], into result: UnsafeMutableBufferPointer<UInt8>) throws(RetortError) {
        let decoder = ImageDecoder(options: options)
        let bytes = decoder.imageBytes
        guard result.count == files.count * bytes else {
            throw .internalBug("\(result.count) bytes for \(files.count) pictures of \(bytes)")
        }
        let failure = Mutex<(index: Int, error: RetortError)?>(nil)
        nonisolated(unsafe) let result = result
        DispatchQueue.concurrentPerform(iterations: files.count) { index in
            // After a failure only earlier files matter: the error is the same however the work was cut.
            guard failure.withLock({ $0.map { index < $0.index } ?? true }) else { return }
            let part = UnsafeMutableBufferPointer(rebasing: result[(index * bytes)..<((index + 1) * bytes)])
            do throws(RetortError) {
                try decoder.decode(files[index].path, into: part)
            } catch {
                failure.withLock { if $0.map({ index < $0.index }) ?? true { $0 = (index, error) } }
            }
        }
        if let failure = failure.withLock({ $0 }) { throw failure.error }
    }

    /// Decodes everything into memory. Throws as `decode`, and exit 65 beyond `limits.pixelBytes`.
    public func load() throws(RetortError) -> ImageSplit {
        ImageSplit(train: try load(train), test: try load(test))
    }

    /// Decodes some files, of `train` or `test`, into memory. Throws as `load`.
    public func load(_ files: [File]) throws(RetortError) -> ImageDataset {
        let (count, size) = (files.count, imageBytes)
        guard count <= options.limits.pixelBytes / size else {
            throw .badData(
                "\(count) pictures of \(size) bytes are too many",
                why: "the limit is \(NumberFormat.bytes(options.limits.pixelBytes))",
                help: "Make the pictures smaller, or use fewer.")
        }
        let pixels: [UInt8] = try Allocation.array(count: count * size, of: "\(count) pictures") {
            (buffer) throws(RetortError) in try decode(files, into: buffer)
        }
        return ImageDataset(
            unchecked: pixels, labels: files.map(\.label), channels: options.channels, height: options.height,
            width: options.width, classNames: classNames)
    }

    private static func check(_ options: Options) throws(RetortError) {
        guard options.channels == 1 || options.channels == 3 else {
            throw .recipe("\(options.channels) channels", why: "pictures have 1 (grey) or 3 (red, green, blue)")
        }
        for (name, size) in [("height", options.height), ("width", options.width)]
        where size < 1 || size > Options.largestSide {
            throw .recipe("a \(name) of \(size) pixels", why: "it must be from 1 to \(Options.largestSide)")
        }
        if case .every(let every) = options.test, every < 2 {
            throw .recipe(
                "test.every is \(every)", why: "every picture would be for the test, or none",
                help: "Use 2 or more; 5 keeps a fifth of the pictures for the test.")
        }
    }

    /// - `classes`: by class, its files.
    /// - Returns: the first of each class, then the second of each where there is one, and so on.
    private static func dealt(_ classes: [[String]]) -> [File] {
        let longest = classes.map(\.count).max() ?? 0
        return (0..<longest).flatMap { turn in
            classes.enumerated().compactMap { label, files in
                turn < files.count ? File(path: files[turn], label: Int32(label)) : nil
            }
        }
    }

    /// The class folders of a folder, with the paths of their files.
    private static func classes(_ folder: String) throws(RetortError) -> [(name: String, files: [String])] {
        var classes: [(name: String, files: [String])] = []
        for name in try Folder.names(in: folder) where !name.hasPrefix(".") {
            let path = folder + "/" + name
            guard Folder.exists(path) else {
                throw misplaced(path, "only class folders belong here", help: "Move or remove it.")
            }
            var files: [String] = []
            for file in try Folder.names(in: path) where !file.hasPrefix(".") {
                guard [".png", ".jpg", ".jpeg"].contains(where: { file.lowercased().hasSuffix($0) }) else {
                    throw misplaced(
                        path + "/" + file, "only .png, .jpg and .jpeg files belong here",
                        help: "Convert, move or remove it.")
                }
                files.append(path + "/" + file)
            }
            guard !files.isEmpty else { throw misplaced(path, "a class without pictures", help: "Remove the folder.") }
            classes.append((name, files))
        }
        guard !classes.isEmpty else {
            throw misplaced(folder, "it has no class folders", help: "It needs a folder for each class.")
        }
        return classes
    }

    private static func misplaced(_ path: String, _ why: String, help: String) -> RetortError {
        .badData(
            "\(path.quoted(limit: 200)) is not as a folder of pictures should be", at: RetortError.Location(file: path),
            why: why, help: help)
    }
}

extension ImageSplit {
    /// Reads a folder of pictures into memory. Throws as `ImageFolder.init` and `ImageFolder.load`.
    public static func folder(_ path: String, _ options: ImageFolder.Options) throws(RetortError) -> ImageSplit {
        try ImageFolder(path, options).load()
    }
}
