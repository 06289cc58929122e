import Glibc
import RetortSupport
import TestSupport
import Testing

@testable import RetortData

/// The committed pictures.
private enum Pictures {
    static let folder: String = {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        return "/" + tests + "/Fixtures/images"
    }()

    static func path(_ name: String) -> String { folder + "/" + name }
    static func bytes(_ name: String) throws -> [UInt8] { try InputFile.read(path(name), limit: 1 << 20) }
}

private func decode(_ path: String, _ options: ImageFolder.Options) throws -> [UInt8] {
    let decoder = ImageDecoder(options: options)
    var result = [UInt8](repeating: 0xA5, count: decoder.imageBytes)
    try result.withUnsafeMutableBufferPointer { try decoder.decode(path, into: $0) }
    return result
}

private func decode(_ bytes: [UInt8], from path: String, _ options: ImageFolder.Options) throws -> [UInt8] {
    let decoder = ImageDecoder(options: options)
    var result = [UInt8](repeating: 0xA5, count: decoder.imageBytes)
    try result.withUnsafeMutableBufferPointer { try decoder.decode(bytes, from: path, into: $0) }
    return result
}

@Suite("Pictures")
struct ImageDecoderTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let file: String
        let options: ImageFolder.Options
        let tolerance: Int
        let pixels: [Int]
        var testDescription: String { "\(file) as \(options.channels)x\(options.height)x\(options.width)" }
    }

    static func cases() throws -> [Case] {
        let path = Pictures.path("expected.json")
        return try JSONCursor(JSON.read(path), file: path).member("cases").elements().map { entry in
            Case(
                file: try entry.member("file").string(),
                options: ImageFolder.Options(
                    height: try entry.member("height").int(), width: try entry.member("width").int(),
                    channels: try entry.member("channels").int()),
                tolerance: try entry.member("tolerance").int(),
                pixels: try entry.member("pixels").elements().map { try $0.int() })
        }
    }

    @Test("the list is there")
    func list() throws { #expect(try Self.cases().count >= 30) }

    @Test("what another library reads", arguments: try cases())
    func agrees(_ test: Case) throws {
        let pixels = try decode(Pictures.path(test.file), test.options)
        try #require(pixels.count == test.pixels.count)
        let worst = zip(pixels, test.pixels).map { abs(Int($0) - $1) }.max() ?? 0
        #expect(worst <= test.tolerance)
    }

    @Test("pictures of another size are refused when asked")
    func exactSize() throws {
        let options = ImageFolder.Options(height: 17, width: 23, sizing: .exact)
        #expect(try decode(Pictures.path("larger.png"), options).count == 3 * 17 * 23)
        let failure = error { _ = try decode(Pictures.path("rgb8.png"), options) }
        #expect(failure?.exit == .badData)
        #expect(failure?.description.contains("rgb8.png") == true)
        #expect(failure?.why == "it is 7 × 5 pixels; wanted are 23 × 17")
    }

    @Test("sizes that lie, and CMYK, are refused before decoding")
    func refused() {
        let options = ImageFolder.Options(height: 8, width: 8)
        for (name, says) in [
            ("bad_large.png", "30000 × 30000 pixels; the limit"), ("bad_huge.jpg", "65500 × 65500 pixels; the limit"),
            ("cmyk.jpg", "CMYK"),
        ] {
            let failure = error { _ = try decode(Pictures.path(name), options) }
            #expect(failure?.exit == .badData)
            #expect(failure?.description.contains(name) == true)
            #expect(failure?.why.contains(says) == true, "\(failure?.description ?? "")")
        }
        // Beyond libpng's own limit of a million: its words.
        let huge = error { _ = try decode(Pictures.path("bad_huge.png"), options) }
        #expect(huge?.exit == .badData && huge?.description.contains("bad_huge.png") == true)
    }

    @Test("every file cut short or with a wrong byte is read or an error that names it, never a crash")
    func damaged() throws {
        let options = ImageFolder.Options(height: 6, width: 6)
        for name in ["rgb8.png", "palette.png", "interlaced.png", "baseline444.jpg", "progressive420.jpg", "grey.jpg"] {
            let good = try Pictures.bytes(name)
            var cutsRead = 0
            for length in 0..<good.count {
                do {
                    _ = try decode(Array(good[..<length]), from: name, options)
                    cutsRead += 1
                } catch let failure as RetortError {
                    #expect(failure.exit == .badData && failure.description.contains(name))
                }
            }
            // A PNG is whole without its last chunk of 12 bytes, and its data's own checksums may be missing too.
            #expect(cutsRead <= (name.hasSuffix("png") ? 24 : 2), "\(name): \(cutsRead) cut files were read")
            var generator = SystemRandomNumberGenerator()
            for _ in 0..<200 {
                var mutated = good
                mutated[Int.random(in: 0..<good.count, using: &generator)] = UInt8.random(
                    in: 0...255, using: &generator)
                do {
                    _ = try decode(mutated, from: name, options)
                } catch let failure as RetortError {
                    #expect(failure.exit == .badData && failure.description.contains(name))
                }
            }
        }
    }

    @Test("a wrong checksum in PNG data")
    func checksum() throws {
        var bytes = try Pictures.bytes("rgb8.png")
        // The last chunk has 12 bytes; before it ends the data's checksum.
        bytes[bytes.count - 13] ^= 1
        let file = try TemporaryFile(bytes)
        let failure = error { _ = try decode(file.path, ImageFolder.Options(height: 5, width: 7)) }
        #expect(failure?.what.contains("a damaged PNG file") == true)
        #expect(failure?.why.contains("CRC") == true, "\(failure?.why ?? "")")
    }

    @Test("files that are no pictures")
    func others() throws {
        for content in [[], Array("GIF89a".utf8), [0xFF, 0xD8], Array("<!DOCTYPE html>".utf8)] {
            let file = try TemporaryFile(content)
            let failure = error { _ = try decode(file.path, ImageFolder.Options(height: 5, width: 7)) }
            #expect(failure?.exit == .badData && failure?.what.contains("cannot be used") == true)
        }
        let large = error {
            var options = ImageFolder.Options(height: 5, width: 7)
            options.limits.fileBytes = 100
            _ = try decode(Pictures.path("larger.png"), options)
        }
        #expect(large?.why.contains("the limit here is 100 B") == true)
    }

    @Test("without the libraries: an error that names the package")
    func withoutLibraries() async {
        await #expect(processExitsWith: .success) {
            setenv("RETORT_PNG_LIBRARY", "/nonexistent.so", 1)
            setenv("RETORT_TURBOJPEG_LIBRARY", "/nonexistent.so", 1)
            for (name, package) in [("rgb8.png", "libpng16-16"), ("grey.jpg", "libturbojpeg0")] {
                let failure = error { _ = try decode(Pictures.path(name), ImageFolder.Options(height: 5, width: 7)) }
                #expect(failure?.exit == .device)
                #expect(failure?.help.contains("apt install " + package) == true)
                #expect(failure?.what.contains("/nonexistent.so") == true)
            }
        }
    }
}

@Suite("Folders of pictures")
struct ImageFolderTests {
    private let options = ImageFolder.Options(height: 5, width: 7)

    private func folder(_ files: [(String, String)]) throws -> ScratchFolder {
        let folder = try ScratchFolder()
        for (name, source) in files { try folder.write(try Pictures.bytes(source), to: name) }
        return folder
    }

    @Test("train and test folders: classes and files in byte order, dots passed over")
    func parts() throws {
        let folder = try folder([
            ("train/Zebra/b.png", "rgb8.png"), ("train/Zebra/a.JPG", "grey.jpg"), ("train/apple/1.png", "grey8.png"),
            ("train/äpfel/1.jpeg", "baseline444.jpg"), ("train/.hidden/x", "grey8.png"),
            ("train/apple/.DS_Store", "grey8.png"), ("test/apple/7.png", "rgba8.png"),
            ("test/äpfel/7.png", "palette.png"),
        ])
        let split = try ImageSplit.folder(folder.path, options)
        #expect(split.train.classNames == ["Zebra", "apple", "äpfel"])
        #expect(split.test.classNames == split.train.classNames)
        #expect(split.train.labels == [0, 1, 2, 0])
        #expect(split.test.labels == [1, 2])
        let expected = try ["grey.jpg", "grey8.png", "baseline444.jpg", "rgb8.png"].flatMap {
            try decode(Pictures.path($0), options)
        }
        #expect(split.train.pixels == expected)
    }

    @Test("a split of one folder")
    func every() throws {
        let folder = try folder(
            (0..<5).map { ("a/\($0).png", "rgb8.png") } + (0..<3).map { ("b/\($0).png", "grey8.png") })
        var options = options
        options.test = .every(3)
        let opened = try ImageFolder(folder.path, options)
        #expect(
            opened.test.map { String($0.path.dropFirst(folder.path.count)) } == ["/a/0.png", "/a/3.png", "/b/0.png"])
        #expect(opened.train.map(\.label) == [0, 1, 0, 1, 0])
        // Few rows are of all classes, held in memory or not.
        let files = ImageFiles(opened.train, of: opened)
        #expect(try files.first(4).load().labels == [0, 1, 0, 1])
        #expect(try files.load().first(3).labels == [0, 1, 0])
        options.test = .every(1)
        #expect(error { _ = try ImageFolder(folder.path, options) }?.exit == .recipe)
    }

    @Test("what does not belong there")
    func misplaced() throws {
        let good = [("train/a/1.png", "rgb8.png"), ("train/b/1.png", "rgb8.png"), ("test/a/1.png", "rgb8.png")]
        let cases: [([(String, String)], String, String)] = [
            ([("train/a/x.webp", "rgb8.png")], "train/a/x.webp", "only .png"),
            ([("train/loose.png", "rgb8.png")], "train/loose.png", "only class folders"),
            ([("train/a/deeper/1.png", "rgb8.png")], "train/a/deeper", "only .png"),
            ([("test/c/1.png", "rgb8.png")], "test/c", "no training class 'c'"),
        ]
        for (more, path, says) in cases {
            let folder = try folder(good + more)
            let failure = error { _ = try ImageFolder(folder.path, options) }
            #expect(failure?.exit == .badData)
            #expect(failure?.location?.file == folder.path + "/" + path)
            #expect(failure?.why.contains(says) == true, "\(failure?.description ?? "")")
        }
        let empty = try folder(good)
        try empty.folder("train/c")
        #expect(error { _ = try ImageFolder(empty.path, options) }?.why == "a class without pictures")
        #expect(error { _ = try ImageFolder("/nonexistent", options) }?.exit == .missingInput)
        let noTest = try folder([good[0]])
        #expect(error { _ = try ImageFolder(noTest.path, options) }?.exit == .missingInput)
    }

    @Test("the first damaged file is named, whatever the order of the work; limits hold")
    func failures() throws {
        var files = (10..<40).map { ("train/a/\($0).png", "rgb8.png") } + [("test/a/1.png", "rgb8.png")]
        files += [("train/a/17.png", "cmyk.jpg"), ("train/a/33.png", "expected.json")]
        let folder = try folder(files)
        for _ in 0..<5 {
            let failure = error { _ = try ImageSplit.folder(folder.path, options) }
            #expect(failure?.description.contains("train/a/17.png") == true, "\(failure?.description ?? "")")
        }
        var tight = options
        tight.limits.pixelBytes = 29 * 105
        #expect(
            error { _ = try ImageSplit.folder(folder.path, tight) }?.what == "30 pictures of 105 bytes are too many")
        let short = error {
            var buffer = [UInt8](repeating: 0, count: 7)
            let opened = try ImageFolder(folder.path, options)
            try buffer.withUnsafeMutableBufferPointer { try opened.decode(opened.test, into: $0) }
        }
        #expect(short?.exit == .internalBug)
    }
}
