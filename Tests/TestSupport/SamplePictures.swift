import RetortSupport

/// Small pictures whose class can be learned: a bright band whose place tells it, under noise that a counter gives. And the files that
/// hold such pictures in each format the program reads.
public struct SamplePictures: Sendable {
    public let channels: Int
    public let height: Int
    public let width: Int
    public let classes: Int

    public init(channels: Int, height: Int, width: Int, classes: Int = 3) {
        self.channels = channels
        self.height = height
        self.width = width
        self.classes = classes
    }

    /// The class of a picture by its number.
    public func label(_ number: Int) -> Int { number % classes }

    /// `[channels, height, width]`.
    public func pixels(_ number: Int) -> [UInt8] {
        var state = UInt64(number) &* 0x9E37_79B9_7F4A_7C15 | 1
        let band = label(number) * height / classes
        return (0..<channels * height * width).map { k in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let line = k / width % height
            return UInt8(state >> 57) &+ (line >= band && line < band + max(1, height / classes) ? 110 : 20)
        }
    }

    /// The picture as a PNG file, its data stored without compression.
    public func png(_ number: Int) -> [UInt8] {
        let pixels = pixels(number)
        let plane = height * width
        var lines: [UInt8] = []
        for y in 0..<height {
            lines.append(0)
            for x in 0..<width { for c in 0..<channels { lines.append(pixels[c * plane + y * width + x]) } }
        }
        func big(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
        func chunk(_ name: String, _ content: [UInt8]) -> [UInt8] {
            let body = Array(name.utf8) + content
            return big(UInt32(content.count)) + body + big(Self.crc(body))
        }
        precondition(lines.count < 65_536, "one stored block")
        let length = UInt16(lines.count)
        var (a, b): (UInt32, UInt32) = (1, 0)
        for byte in lines { (a, b) = ((a + UInt32(byte)) % 65_521, (b + (a + UInt32(byte)) % 65_521) % 65_521) }
        let stored: [UInt8] =
            [0x78, 0x01, 1, UInt8(length & 0xFF), UInt8(length >> 8), UInt8(~length & 0xFF), UInt8(~length >> 8)]
            + lines
        return [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
            + chunk("IHDR", big(UInt32(width)) + big(UInt32(height)) + [8, channels == 1 ? 0 : 2, 0, 0, 0])
            + chunk("IDAT", stored + big(b << 16 | a)) + chunk("IEND", [])
    }

    private static func crc(_ bytes: [UInt8]) -> UInt32 {
        var crc: UInt32 = 0xFFFF_FFFF
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        return ~crc
    }

    /// `train/<class>/<number>.png` and `test/<class>/<number>.png` in a folder.
    public func writeFolder(_ folder: ScratchFolder, _ name: String, train: Int, test: Int) throws {
        for number in 0..<(train + test) {
            let part = number < train ? "train" : "test"
            let file = String(1000 + number)
            try folder.write(png(number), to: "\(name)/\(part)/class\(label(number))/\(file).png")
        }
    }

    /// The four files of MNIST's format; of one channel.
    public func writeIDX(_ folder: ScratchFolder, _ name: String, train: Int, test: Int) throws {
        func big(_ value: Int) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
        for (part, numbers) in [("train", 0..<train), ("t10k", train..<(train + test))] {
            try folder.write(
                [0, 0, 8, 3] + big(numbers.count) + big(height) + big(width) + numbers.flatMap(pixels),
                to: "\(name)/\(part)-images-idx3-ubyte")
            try folder.write(
                [0, 0, 8, 1] + big(numbers.count) + numbers.map { UInt8(label($0)) },
                to: "\(name)/\(part)-labels-idx1-ubyte")
        }
    }

    /// CIFAR-100's binary version: both labels, then 3 × 32 × 32 bytes.
    public func writeCIFAR100(_ folder: ScratchFolder, _ name: String, train: Int, test: Int) throws {
        for (part, numbers) in [("train", 0..<train), ("test", train..<(train + test))] {
            try folder.write(
                numbers.flatMap { [UInt8(label($0)), UInt8(label($0) * 5)] + pixels($0) }, to: "\(name)/\(part).bin")
        }
    }
}
