import Glibc
import RetortSupport

/// Which labels of CIFAR-100 are wanted.
public enum CIFAR100Labels: String, Sendable, CaseIterable {
    /// 100 classes.
    case fine
    /// 20 superclasses.
    case coarse
}

extension ImageSplit {
    /// Reads the binary version of CIFAR-10: `data_batch_1.bin` … `data_batch_5.bin`, `test_batch.bin`, records of a label and
    /// 3 × 32 × 32 bytes (red, green, blue planes, row-major), and the class names of `batches.meta.txt`, numbers without it.
    /// - Throws: exit 66 when a file is not there; 65 when a length is not a whole number of records, a label is 10 or more
    ///   or the names are not ten; 74 on I/O errors.
    public static func cifar10(
        folder: String, limits: ImageDataset.Limits = ImageDataset.Limits()
    ) throws(RetortError) -> ImageSplit {
        let layout = CIFARLayout(labelBytes: 1, labelPosition: 0, classes: 10)
        return try layout.split(
            folder, train: (1...5).map { "data_batch_\($0).bin" }, test: "test_batch.bin", names: "batches.meta.txt",
            limits: limits)
    }

    /// Reads the binary version of CIFAR-100: `train.bin` and `test.bin`, records of a coarse label, a fine label and
    /// 3 × 32 × 32 bytes, and the class names of `fine_label_names.txt` or `coarse_label_names.txt`, numbers without it.
    /// - Throws: as `cifar10`.
    public static func cifar100(
        folder: String, labels: CIFAR100Labels = .fine, limits: ImageDataset.Limits = ImageDataset.Limits()
    ) throws(RetortError) -> ImageSplit {
        let layout =
            switch labels {
            case .coarse: CIFARLayout(labelBytes: 2, labelPosition: 0, classes: 20)
            case .fine: CIFARLayout(labelBytes: 2, labelPosition: 1, classes: 100)
            }
        return try layout.split(
            folder, train: ["train.bin"], test: "test.bin", names: "\(labels.rawValue)_label_names.txt", limits: limits)
    }
}

/// What a record looks like.
private struct CIFARLayout {
    let labelBytes: Int
    let labelPosition: Int
    let classes: Int

    static let imageBytes = 3 * 32 * 32
    var recordBytes: Int { labelBytes + Self.imageBytes }
    /// Records read at a time.
    static let block = 256

    func split(
        _ folder: String, train: [String], test: String, names: String, limits: ImageDataset.Limits
    ) throws(RetortError) -> ImageSplit {
        guard Folder.exists(folder) else {
            throw .missingInput(
                "there is no folder \(folder.quoted(limit: 200))",
                help: "It should hold the binary version's files: \((train + [test]).joined(separator: ", ")).")
        }
        let classNames = try self.names(folder + "/" + names)
        var trainFiles: [InputFile] = []
        for name in train { trainFiles.append(try open(folder + "/" + name)) }
        let testFile = try open(folder + "/" + test)
        return ImageSplit(
            train: try read(trainFiles, classNames, limits), test: try read([testFile], classNames, limits))
    }

    private func open(_ path: String) throws(RetortError) -> InputFile {
        let file = try InputFile(path: path)
        guard file.size > 0, file.size % recordBytes == 0 else {
            throw malformed(
                file, "its \(file.size) bytes are not a whole number of records of \(recordBytes)",
                help: file.size % (Self.imageBytes + 3 - labelBytes) == 0 && file.size > 0
                    ? "This may be a file of \(labelBytes == 1 ? "CIFAR-100" : "CIFAR-10")."
                    : "Perhaps an incomplete download, or not the binary version.")
        }
        return file
    }

    private func read(
        _ files: [InputFile], _ classNames: [String], _ limits: ImageDataset.Limits
    ) throws(RetortError) -> ImageDataset {
        let count = files.reduce(0) { $0 + $1.size / recordBytes }
        guard let first = files.first, count <= limits.pixelBytes / Self.imageBytes, count <= Int(Int32.max) else {
            throw .badData(
                "\(count) CIFAR images are too many",
                why: "the limit is \(NumberFormat.bytes(limits.pixelBytes)) of pixels")
        }
        var labels: [Int32] = []
        labels.reserveCapacity(count)
        let pixels: [UInt8] = try Allocation.array(count: count * Self.imageBytes, of: first.path) {
            (pixels) throws(RetortError) in
            for file in files { try read(file, &labels, UnsafeMutableRawBufferPointer(pixels)) }
        }
        return ImageDataset(
            unchecked: pixels, labels: labels, channels: 3, height: 32, width: 32, classNames: classNames)
    }

    /// Appends a file's labels, and puts its pixels where as many images before them end.
    private func read(
        _ file: InputFile, _ labels: inout [Int32], _ pixels: UnsafeMutableRawBufferPointer
    ) throws(RetortError) {
        for start in stride(from: 0, to: file.size / recordBytes, by: Self.block) {
            let records = min(Self.block, file.size / recordBytes - start)
            let bytes = try file.read(offset: start * recordBytes, count: records * recordBytes)
            for record in 0..<records {
                let at = record * recordBytes
                let label = bytes[at + labelPosition]
                guard label < classes else {
                    throw malformed(
                        file,
                        "record \(start + record), at byte \((start + record) * recordBytes), has label \(label);"
                            + " there are \(classes) classes, from 0")
                }
                let image = UnsafeMutableRawBufferPointer(
                    rebasing: pixels[(labels.count * Self.imageBytes)...].prefix(Self.imageBytes))
                image.copyBytes(from: bytes[(at + labelBytes)..<(at + recordBytes)])
                labels.append(Int32(label))
            }
        }
    }

    /// A name a line; empty lines at the end do not count.
    private func names(_ path: String) throws(RetortError) -> [String] {
        guard access(path, F_OK) == 0 else { return (0..<classes).map { "\($0)" } }
        let file = try InputFile(path: path)
        let bytes = try file.readAll(limit: 1 << 16)
        if let offset = UTF8Check.firstInvalidOffset(in: bytes) {
            throw malformed(file, "it is not valid UTF-8 at byte \(offset)")
        }
        var names = String(decoding: bytes, as: UTF8.self).split(omittingEmptySubsequences: false) { $0.isNewline }
            .map(String.init)
        while names.last?.isEmpty == true { names.removeLast() }
        guard names.count == classes, !names.contains("") else {
            throw malformed(file, "it has \(names.count) lines; needed are the names of \(classes) classes, one a line")
        }
        return names
    }

    private func malformed(_ file: InputFile, _ why: String, help: String = "") -> RetortError {
        .badData(
            "\(file.path.quoted(limit: 200)) is malformed", at: RetortError.Location(file: file.path), why: why,
            help: help)
    }
}
