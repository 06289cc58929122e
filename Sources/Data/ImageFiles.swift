import RetortSupport

/// Labelled pictures of a folder that stay on disk and are decoded when they are wanted: what does not fit in memory.
public struct ImageFiles: Sendable {
    private let folder: ImageFolder
    private let files: [ImageFolder.File]

    /// - `files`: of the folder's `train` or `test`.
    public init(_ files: [ImageFolder.File], of folder: ImageFolder) {
        self.files = files
        self.folder = folder
    }

    public var count: Int { files.count }
    public var channels: Int { folder.options.channels }
    /// In pixels.
    public var height: Int { folder.options.height }
    /// In pixels.
    public var width: Int { folder.options.width }
    public var classNames: [String] { folder.classNames }
    /// Bytes of one picture.
    public var imageBytes: Int { folder.imageBytes }
    /// `[count]`.
    public var labels: [Int32] { files.map(\.label) }

    /// The first `count` pictures.
    /// - `key`: what messages call the number.
    /// - Throws: exit 78 when `count` is below 1 or more than there are.
    public func first(_ count: Int, key: String = "train.rows") throws(RetortError) -> ImageFiles {
        try ImageDataset.check(rows: count, of: self.count, key: key)
        return ImageFiles(Array(files[..<count]), of: folder)
    }

    /// All of them in memory. Throws as `ImageFolder.load`.
    public func load() throws(RetortError) -> ImageDataset { try folder.load(files) }

    /// Decodes pictures by number, several at a time, on the calling thread and others.
    /// - Returns: `[numbers, channels, height, width]`.
    /// - Throws: as `ImageFolder.decode`: the error of the first picture that cannot be decoded, with its file.
    public func decode(_ numbers: some Collection<Int>) throws(RetortError) -> [UInt8] {
        let chosen = numbers.map { files[$0] }
        return try Allocation.array(count: chosen.count * imageBytes, of: "\(chosen.count) pictures") {
            (pixels) throws(RetortError) in try folder.decode(chosen, into: pixels)
        }
    }

    /// As `ImageDataset.channelStatistics`, bit for bit, in one pass over all files.
    /// - Throws: as `decode`; exit 75 when a signal asked to stop.
    public func channelStatistics() throws(RetortError) -> (mean: [Double], deviation: [Double]) {
        var statistics = ChannelStatistics(channels: channels, plane: height * width)
        // Enough to keep every decoding thread busy, little enough to be no matter beside a budget of memory.
        let part = max(1, min(256, (64 << 20) / imageBytes))
        for start in stride(from: 0, to: count, by: part) {
            if StopSignal.isRequested { throw .stopped("stopped by \(StopSignal.name ?? "a signal")") }
            let pixels = try decode(start..<min(count, start + part))
            pixels.withUnsafeBufferPointer { statistics.add($0) }
        }
        return statistics.result
    }
}
