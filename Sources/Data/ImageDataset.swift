import RetortSupport

/// Pictures of one size with a class each: what an image classifier is trained on. Held in memory as the bytes of the
/// files, in file order; nothing here is random, and nothing is normalised.
public struct ImageDataset: Sendable {
    /// What a dataset may cost. Exceeding a limit is an error (exit 65), before memory is asked for.
    public struct Limits: Sendable {
        /// Bytes of all pixels of one part.
        public var pixelBytes: Int

        public init(pixelBytes: Int = 4 << 30) {
            self.pixelBytes = pixelBytes
        }
    }

    /// `[count, channels, height, width]`, row-major, 0…255.
    public let pixels: [UInt8]
    /// `[count]`, each in `0..<classes`.
    public let labels: [Int32]
    /// 1 (grey) or 3 (red, green, blue).
    public let channels: Int
    /// In pixels.
    public let height: Int
    /// In pixels.
    public let width: Int
    /// `[classes]`: the name of each class; its number where the files give none.
    public let classNames: [String]

    public var count: Int { labels.count }
    public var classes: Int { classNames.count }
    /// Bytes of one picture: channels · height · width.
    public var imageBytes: Int { channels * height * width }

    /// A dataset from memory.
    /// - Throws: exit 65 when a size is below 1, the sizes do not agree or a label is outside `0..<classNames.count`.
    public init(
        pixels: [UInt8], labels: [Int32], channels: Int, height: Int, width: Int, classNames: [String]
    ) throws(RetortError) {
        let shape = [labels.count, channels, height, width]
        guard shape.dropFirst().allSatisfy({ $0 > 0 }) else {
            throw .badData("images of \(channels) × \(height) × \(width)", why: "every size must be 1 or more")
        }
        let wanted = try CheckedSize.elements(of: shape, of: "the images")
        guard pixels.count == wanted else {
            throw .badData("there are \(pixels.count) pixel values", why: "images of shape \(shape) need \(wanted)")
        }
        if let position = labels.firstIndex(where: { $0 < 0 || Int($0) >= classNames.count }) {
            throw .badData(
                "image \(position) has label \(labels[position])",
                why: "there are \(classNames.count) classes, from 0")
        }
        self.init(
            unchecked: pixels, labels: labels, channels: channels, height: height, width: width, classNames: classNames)
    }

    init(unchecked pixels: [UInt8], labels: [Int32], channels: Int, height: Int, width: Int, classNames: [String]) {
        self.pixels = pixels
        self.labels = labels
        self.channels = channels
        self.height = height
        self.width = width
        self.classNames = classNames
    }

    /// The first `count` images: `train: {rows: n}`.
    /// - `key`: what messages call the number.
    /// - Throws: exit 78 when `count` is below 1 or more than there are.
    public func first(_ count: Int, key: String = "train.rows") throws(RetortError) -> ImageDataset {
        try Self.check(rows: count, of: self.count, key: key)
        guard count < self.count else { return self }
        return ImageDataset(
            unchecked: Array(pixels[..<(count * imageBytes)]), labels: Array(labels[..<count]), channels: channels,
            height: height, width: width, classNames: classNames)
    }

    static func check(rows count: Int, of all: Int, key: String) throws(RetortError) {
        guard count >= 1, count <= all else {
            throw .recipe(
                "\(key) is \(count)", why: "there are \(all) training images",
                help: "Use a number from 1 to \(all), or leave it out for all.")
        }
    }

    /// The pixels of one image, `[channels, height, width]`.
    public func image(_ index: Int) -> ArraySlice<UInt8> {
        pixels[(index * imageBytes)..<((index + 1) * imageBytes)]
    }

    /// Mean and standard deviation (of the population) of each channel, `[channels]`, with pixels from 0 to 1: what
    /// pictures are usually normalised with. Exact sums of integers, so the same on every machine.
    public func channelStatistics() -> (mean: [Double], deviation: [Double]) {
        var statistics = ChannelStatistics(channels: channels, plane: height * width)
        pixels.withUnsafeBufferPointer { statistics.add($0) }
        return statistics.result
    }
}

/// A training and a test part with the same image size and classes.
public struct ImageSplit: Sendable {
    public let train: ImageDataset
    public let test: ImageDataset

    init(train: ImageDataset, test: ImageDataset) {
        self.train = train
        self.test = test
    }
}

extension ImageSplit {
    /// Class names where the files have none: the labels themselves, as many as occur.
    static func numberedClasses(_ labels: [Int32]...) -> [String] {
        (0...(labels.joined().max() ?? 0)).map { "\($0)" }
    }
}
