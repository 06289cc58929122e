import Glibc
import RetortSupport
import TestSupport
import Testing

@testable import RetortData

/// An IDX file of bytes.
private func idx(_ sizes: [Int], _ elements: [UInt8], magic: [UInt8]? = nil) -> [UInt8] {
    let header = (magic ?? [0, 0, 8, UInt8(sizes.count)])
    return header + sizes.flatMap { size in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } } + elements
}

private let trainPixels = (0..<(5 * 3 * 4)).map { UInt8($0 * 37 % 251) }
private let testPixels = (0..<(2 * 3 * 4)).map { UInt8($0 * 91 % 241) }

/// Five training and two test images of 3 × 4 pixels under the published names; `change` may replace a file.
private func folder(compressed: Bool = false, _ change: (ScratchFolder) throws -> Void = { _ in }) throws
    -> ScratchFolder
{
    let folder = try ScratchFolder()
    let files: [(String, [UInt8])] = [
        ("train-images-idx3-ubyte", idx([5, 3, 4], trainPixels)),
        ("train-labels-idx1-ubyte", idx([5], [3, 0, 1, 1, 2])),
        ("t10k-images-idx3-ubyte", idx([2, 3, 4], testPixels)), ("t10k-labels-idx1-ubyte", idx([2], [4, 0])),
    ]
    for (name, content) in files {
        try folder.write(compressed ? gzip(content) : content, to: compressed ? name + ".gz" : name)
    }
    try change(folder)
    return folder
}

@Suite("IDX files")
struct IDXTests {
    @Test("a folder of plain or compressed files", arguments: [false, true])
    func reads(compressed: Bool) throws {
        let folder = try folder(compressed: compressed)
        let split = try ImageSplit.idx(folder: folder.path)
        #expect(split.train.pixels == trainPixels)
        #expect(split.test.pixels == testPixels)
        #expect(split.train.labels == [3, 0, 1, 1, 2])
        #expect(split.test.labels == [4, 0])
        #expect(split.train.count == 5 && split.test.count == 2)
        #expect((split.train.channels, split.train.height, split.train.width) == (1, 3, 4))
        #expect(split.train.classNames == ["0", "1", "2", "3", "4"])
        #expect(split.train.classNames == split.test.classNames)
        #expect(Array(split.train.image(2)) == Array(trainPixels[24..<36]))
    }

    @Test("class names, and a label without one")
    func names() throws {
        let folder = try folder()
        let names = ["a", "b", "c", "d", "e"]
        #expect(try ImageSplit.idx(folder: folder.path, classNames: names).test.classNames == names)
        let failure = error { _ = try ImageSplit.idx(folder: folder.path, classNames: ["a", "b", "c", "d"]) }
        #expect(failure?.exit == .badData)
        #expect(failure?.why.contains("label 4 of image 0, at byte 8,") == true, "\(failure?.why ?? "")")
    }

    @Test("the first images")
    func first() throws {
        let folder = try folder()
        let train = try ImageSplit.idx(folder: folder.path).train
        let part = try train.first(2)
        #expect(part.labels == [3, 0] && part.pixels == Array(trainPixels[..<24]) && part.classes == 5)
        #expect(error { _ = try train.first(0) }?.exit == .recipe)
        #expect(error { _ = try train.first(6) }?.help.contains("1 to 5") == true)
    }

    @Test("channel statistics against a plain computation")
    func statistics() throws {
        let pixels = (0..<(7 * 3 * 20)).map { UInt8($0 * 53 % 256) }
        let data = try ImageDataset(
            pixels: pixels, labels: [Int32](repeating: 0, count: 7), channels: 3, height: 4, width: 5, classNames: ["x"]
        )
        let found = data.channelStatistics()
        for channel in 0..<3 {
            let values = pixels.indices.filter { $0 / 20 % 3 == channel }.map { Double(pixels[$0]) / 255 }
            let mean = values.reduce(0, +) / Double(values.count)
            let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
            #expect(abs(found.mean[channel] - mean) < 1e-14)
            #expect(abs(found.deviation[channel] - variance.squareRoot()) < 1e-14)
        }
    }

    @Test("files that are not there")
    func missing() throws {
        #expect(error { _ = try ImageSplit.idx(folder: "/nonexistent") }?.exit == .missingInput)
        let empty = try ScratchFolder()
        let failure = error { _ = try ImageSplit.idx(folder: empty.path) }
        #expect(failure?.exit == .missingInput)
        #expect(failure?.what.contains("no train-images-idx3-ubyte.gz") == true)
    }

    struct Damage: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let file: String
        let content: [UInt8]
        /// What the error must say.
        let says: String
    }

    static let damages: [Damage] = {
        let images = idx([5, 3, 4], trainPixels)
        let labels = idx([5], [3, 0, 1, 1, 2])
        let name = "train-images-idx3-ubyte"
        return [
            Damage(testDescription: "empty", file: name, content: [], says: "it has 0 bytes"),
            Damage(
                testDescription: "cut in the header", file: name, content: Array(images[..<9]),
                says: "the header alone has 16"),
            Damage(
                testDescription: "cut in the pixels", file: name, content: Array(images.dropLast()),
                says: "5 × 3 × 4 bytes, 60; after it come 59"),
            Damage(testDescription: "a byte too many", file: name, content: images + [0], says: "after it come 61"),
            Damage(
                testDescription: "labels for images", file: name, content: labels,
                says: "0x801; images have 0x803"),
            Damage(
                testDescription: "images for labels", file: "train-labels-idx1-ubyte", content: images,
                says: "0x803; labels have 0x801"),
            Damage(
                testDescription: "floats", file: name, content: idx([5, 3, 4], trainPixels, magic: [0, 0, 13, 3]),
                says: "0xd03"),
            Damage(
                testDescription: "a size of 0", file: name, content: idx([5, 0, 4], []),
                says: "dimension 1, at byte 8, is 0"),
            Damage(
                testDescription: "a size that is negative as 32 bits", file: name,
                content: idx([0xFFFF_FFFF, 3, 4], trainPixels), says: "dimension 0, at byte 4, is 4294967295"),
            Damage(
                testDescription: "a size beyond 64 bits", file: name,
                content: idx([0x7FFF_FFFF, 0x7FFF_FFFF, 0x7FFF_FFFF], trainPixels), says: "does not fit in 64 bits"),
            Damage(
                testDescription: "counts that differ", file: "train-labels-idx1-ubyte",
                content: idx([4], [0, 1, 1, 2]),
                says: "it has 4 labels"),
            Damage(
                testDescription: "test images of another size", file: "t10k-images-idx3-ubyte",
                content: idx([2, 4, 3], testPixels), says: "4 × 3 pixels"),
        ]
    }()

    @Test("a malformed file is an error that names it", arguments: damages)
    func malformed(_ damage: Damage) throws {
        let folder = try folder { try $0.write(damage.content, to: damage.file) }
        let failure = error { _ = try ImageSplit.idx(folder: folder.path) }
        #expect(failure?.exit == .badData)
        #expect(failure?.description.contains(damage.file) == true, "\(failure?.description ?? "")")
        #expect(failure?.description.contains(damage.says) == true, "\(failure?.description ?? "")")
    }

    @Test("damaged compression")
    func damagedGzip() throws {
        let content = idx([5, 3, 4], trainPixels)
        let good = gzip(content)
        var checksum = good
        checksum[good.count - 5] ^= 1
        var length = good
        length[good.count - 1] ^= 1
        var block = good
        block[11] ^= 1
        let cases: [(String, [UInt8], String)] = [
            ("checksum", checksum, "incorrect data check"), ("length", length, "incorrect length check"),
            ("block", block, "invalid stored block lengths"),
            ("no end", Array(good.dropLast(3)), "in the middle of the compressed data"),
            ("cut", Array(good[..<40]), "in the middle of the compressed data"),
            ("short content", gzip(Array(content.dropLast(7))), "it ends at byte 69 of its content; 76 are needed"),
            ("long content", gzip(content + [0]), "it goes on after byte 76"),
            ("bytes behind", good + [0, 0], "2 bytes after the end"),
            ("another member behind", good + gzip([1]), "it goes on after byte 76"),
        ]
        for (name, bytes, says) in cases {
            let folder = try folder(compressed: true) { try $0.write(bytes, to: "train-images-idx3-ubyte.gz") }
            let failure = error { _ = try ImageSplit.idx(folder: folder.path) }
            #expect(failure?.exit == .badData, "\(name)")
            #expect(failure?.description.contains("train-images-idx3-ubyte.gz") == true, "\(name)")
            #expect(failure?.description.contains(says) == true, "\(name): \(failure?.description ?? "")")
        }
        // Two members are one content.
        let split = try folder(compressed: true) {
            try $0.write(gzip(Array(content[..<30])) + gzip(Array(content[30...])), to: "train-images-idx3-ubyte.gz")
        }
        #expect(try ImageSplit.idx(folder: split.path).train.pixels == trainPixels)
    }

    @Test("what a compressed file promises is bounded before memory is asked for")
    func bombs() throws {
        let huge = idx([60_000, 3000, 3000], [UInt8](repeating: 0, count: 100))
        let folder = try folder(compressed: true) {
            try $0.write(gzip(huge), to: "train-images-idx3-ubyte.gz")
            try $0.write(gzip(idx([60_000], [UInt8](repeating: 0, count: 60_000))), to: "train-labels-idx1-ubyte.gz")
        }
        let failure = error { _ = try ImageSplit.idx(folder: folder.path) }
        #expect(failure?.exit == .badData)
        #expect(failure?.why.contains("60000 × 3000 × 3000 bytes, 540000000000; after it come") == true)
        let tight = ImageDataset.Limits(pixelBytes: 59)
        let plain = try Self.plain()
        let limited = error { _ = try ImageSplit.idx(folder: plain.path, limits: tight) }
        #expect(limited?.why.contains("the limit is 59 B") == true, "\(limited?.why ?? "")")
    }

    private static func plain() throws -> ScratchFolder { try folder() }

    @Test("without zlib a compressed file is an error, a plain one is read")
    func withoutZlib() async {
        await #expect(processExitsWith: .success) {
            setenv("RETORT_ZLIB_LIBRARY", "/nonexistent.so", 1)
            let plain = try IDXTests.plain()
            let split = try ImageSplit.idx(folder: plain.path)
            let compressed = try ScratchFolder()
            let path = try compressed.write(gzip([1, 2, 3]), to: "x.gz")
            let failure = error { _ = try ByteStream(path: path) }
            #expect(failure?.exit == .device)
            #expect(failure?.help.contains("apt install zlib1g") == true)
            #expect(failure?.what.contains("/nonexistent.so") == true)
            #expect(split.train.count == 5)
        }
    }

    /// The published files, where `RETORT_DATA` names the folder that holds them.
    @Test("Fashion-MNIST", .enabled(if: getenv("RETORT_DATA") != nil))
    func fashionMNIST() throws {
        let folder = try #require(getenv("RETORT_DATA").map { String(cString: $0) }) + "/fashion-mnist"
        let split = try ImageSplit.idx(folder: folder)
        #expect(split.train.count == 60_000 && split.test.count == 10_000)
        #expect((split.train.channels, split.train.height, split.train.width) == (1, 28, 28))
        #expect(split.train.classes == 10)
        for part in [split.train, split.test] {
            let counts = part.labels.reduce(into: [Int](repeating: 0, count: 10)) { $0[Int($1)] += 1 }
            #expect(counts == [Int](repeating: part.count / 10, count: 10))
        }
        // The first labels and the statistics everyone normalises with.
        #expect(Array(split.train.labels.prefix(10)) == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5])
        let statistics = split.train.channelStatistics()
        #expect(abs(statistics.mean[0] - 0.2860) < 5e-5)
        #expect(abs(statistics.deviation[0] - 0.3530) < 5e-5)
        // SHA-256 of what gunzip and Python read after the headers.
        #expect(ContentHash.hexadecimal(of: split.train.pixels).hasPrefix("2e487a6c89124f78f2d75215"))
        #expect(ContentHash.hexadecimal(of: split.test.pixels).hasPrefix("c867c93ff95360594e8ec328"))
        #expect(
            ContentHash.hexadecimal(of: split.train.labels.map { UInt8($0) }).hasPrefix("657fbd221bfc9f4198cc14b5"))
    }
}
