import Glibc
import RetortSupport

/// The four files of a dataset in IDX format (MNIST, Fashion-MNIST, KMNIST, …), each plain or compressed with gzip.
public struct IDXFiles: Sendable {
    public var trainImages: String
    public var trainLabels: String
    public var testImages: String
    public var testLabels: String

    public init(trainImages: String, trainLabels: String, testImages: String, testLabels: String) {
        self.trainImages = trainImages
        self.trainLabels = trainLabels
        self.testImages = testImages
        self.testLabels = testLabels
    }

    /// The files under their published names: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same with
    /// `t10k`, each as it is or with `.gz`; the plain one where both are there.
    /// - Throws: exit 66 when one is missing.
    public init(folder: String) throws(RetortError) {
        trainImages = try Self.find("train-images-idx3-ubyte", in: folder)
        trainLabels = try Self.find("train-labels-idx1-ubyte", in: folder)
        testImages = try Self.find("t10k-images-idx3-ubyte", in: folder)
        testLabels = try Self.find("t10k-labels-idx1-ubyte", in: folder)
    }

    private static func find(_ name: String, in folder: String) throws(RetortError) -> String {
        guard Folder.exists(folder) else {
            throw .missingInput(
                "there is no folder \(folder.quoted(limit: 200))", help: "It should hold \(name) and its siblings.")
        }
        for candidate in [name, name + ".gz"] where access(folder + "/" + candidate, F_OK) == 0 {
            return folder + "/" + candidate
        }
        throw .missingInput(
            "there is no \(name) and no \(name).gz in \(folder.quoted(limit: 200))",
            help: "The four files are found by the names they were published under, plain or with .gz.")
    }
}

extension ImageSplit {
    /// Reads a folder of IDX files; see `IDXFiles.init(folder:)` for their names and `idx(_:)` for the rest.
    public static func idx(
        folder: String, classNames: [String]? = nil, limits: ImageDataset.Limits = ImageDataset.Limits()
    ) throws(RetortError) -> ImageSplit {
        try idx(IDXFiles(folder: folder), classNames: classNames, limits: limits)
    }

    /// Reads IDX files: images `[count, height, width]` of bytes (one channel) and labels `[count]` of bytes.
    /// - `classNames`: the names of the classes; nil numbers as many as the largest label needs.
    /// - Throws: exit 66 when a file is not there; 65 when its magic number, sizes or length are wrong, the counts of
    ///   images and labels or the sizes of training and test images differ, or a label has no name; 69 when a file is
    ///   compressed and zlib is not installed; 74 on I/O errors.
    public static func idx(
        _ files: IDXFiles, classNames: [String]? = nil, limits: ImageDataset.Limits = ImageDataset.Limits()
    ) throws(RetortError) -> ImageSplit {
        // All headers first: what does not fit together is refused before the pixels are read.
        let train = try IDXPart(images: files.trainImages, labels: files.trainLabels, limits: limits)
        let test = try IDXPart(images: files.testImages, labels: files.testLabels, limits: limits)
        guard train.images.sizes.dropFirst() == test.images.sizes.dropFirst() else {
            throw test.images.stream.failure(
                "its images are \(test.images.sizes[1]) × \(test.images.sizes[2]) pixels; those of"
                    + " \(files.trainImages.quoted(limit: 200)) are \(train.images.sizes[1]) × \(train.images.sizes[2])"
            )
        }
        let (trainLabels, testLabels) = (try train.readLabels(), try test.readLabels())
        let names = classNames ?? numberedClasses(trainLabels, testLabels)
        return ImageSplit(
            train: try train.dataset(labels: trainLabels, classNames: names),
            test: try test.dataset(labels: testLabels, classNames: names))
    }
}

/// Images and their labels, the headers read and checked.
private struct IDXPart {
    let images: IDXFile
    let labels: IDXFile

    init(images: String, labels: String, limits: ImageDataset.Limits) throws(RetortError) {
        self.images = try IDXFile(images, dimensions: 3, content: "images", limits: limits)
        self.labels = try IDXFile(labels, dimensions: 1, content: "labels", limits: limits)
        guard self.images.sizes[0] == self.labels.sizes[0] else {
            throw self.labels.stream.failure(
                "it has \(self.labels.sizes[0]) labels; \(images.quoted(limit: 200)) has \(self.images.sizes[0]) images",
                help: "Perhaps the files belong to different datasets.")
        }
    }

    func readLabels() throws(RetortError) -> [Int32] { try labels.content().map(Int32.init) }

    func dataset(labels: [Int32], classNames: [String]) throws(RetortError) -> ImageDataset {
        if let position = labels.firstIndex(where: { Int($0) >= classNames.count }) {
            throw self.labels.stream.failure(
                "label \(labels[position]) of image \(position), at byte \(self.labels.headerBytes + position), has no"
                    + " name: there are \(classNames.count) classes, from 0")
        }
        return ImageDataset(
            unchecked: try images.content(), labels: labels, channels: 1, height: images.sizes[1],
            width: images.sizes[2], classNames: classNames)
    }
}

/// An IDX file of bytes: two zero bytes, the element type (8: unsigned bytes), the number of dimensions, each dimension
/// as 32 bits, most significant byte first; then the elements, row-major, to the end of the file.
private struct IDXFile {
    let stream: ByteStream
    let sizes: [Int]
    let headerBytes: Int
    private let bytes: Int

    init(
        _ path: String, dimensions: Int, content: String, limits: ImageDataset.Limits
    ) throws(RetortError) {
        stream = try ByteStream(path: path)
        headerBytes = 4 + 4 * dimensions
        let header = try Self.header(stream, headerBytes, dimensions, content)
        sizes = (0..<dimensions).map { dimension in
            header[(4 + 4 * dimension)..<(8 + 4 * dimension)].reduce(0) { $0 << 8 | Int($1) }
        }
        for (dimension, size) in sizes.enumerated() where size < 1 || size > Int(Int32.max) {
            throw stream.failure(
                "dimension \(dimension), at byte \(4 + 4 * dimension), is \(size); it must be 1 or more and fit in 31 bits"
            )
        }
        bytes = try CheckedSize(shape: sizes, bitsPerElement: 8, of: path.quoted(limit: 200)).bytes
        let shape = sizes.map { "\($0)" }.joined(separator: " × ")
        // A compressed file can only promise its size: what its bytes cannot hold at any ratio is refused unread.
        if stream.isPlain ? bytes != stream.largestSize - headerBytes : bytes > stream.largestSize {
            throw stream.failure(
                "its header says \(shape) bytes, \(bytes); after it come "
                    + (stream.isPlain ? "\(stream.largestSize - headerBytes)" : "\(stream.largestSize) at most"),
                help: "Perhaps an incomplete download.")
        }
        guard bytes <= limits.pixelBytes else {
            throw stream.failure(
                "its header says \(shape) bytes; the limit is \(NumberFormat.bytes(limits.pixelBytes))")
        }
    }

    private static func header(
        _ stream: ByteStream, _ count: Int, _ dimensions: Int, _ content: String
    ) throws(RetortError) -> [UInt8] {
        // The magic number first: a small file of another kind is told what it is, not that it is short.
        let magic = try stream.read(min(4, stream.largestSize))
        let wanted: [UInt8] = [0, 0, 8, UInt8(dimensions)]
        guard magic == wanted || magic.count < 4 else {
            let found = magic.reduce(0) { $0 << 8 | Int($1) }
            let help =
                switch found {
                case 0x801: "This is a file of labels."
                case 0x803: "This is a file of images of one channel."
                case 0x0800...0x0EFF: "This is an IDX file of other elements or dimensions."
                default: "This is not an IDX file of bytes."
                }
            throw stream.failure(
                "its magic number, at byte 0, is 0x\(String(found, radix: 16)); \(content) have 0x80\(dimensions)",
                help: help)
        }
        guard stream.largestSize >= count else {
            throw stream.failure(
                "it has \(stream.largestSize) bytes; the header alone has \(count)",
                help: "Perhaps an incomplete download.")
        }
        return try magic + stream.read(count - 4)
    }

    /// All elements; the file must end with them.
    func content() throws(RetortError) -> [UInt8] {
        let content = try stream.read(bytes)
        try stream.requireEnd()
        return content
    }
}
