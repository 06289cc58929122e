import Glibc
import RetortSupport
import TestSupport
import Testing

@testable import RetortData

/// RandAugment's operations: against what Pillow makes of small pictures, and against their definitions in double.
@Suite("Operations on pictures")
struct PictureOperationTests {
    // MARK: Pillow

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let picture: PictureBytes
        let operation: PictureOperation
        let expected: [UInt8]
        var testDescription: String { name }
    }

    static func cases() throws -> [Case] {
        let tests = #filePath.split(separator: "/").dropLast(2).joined(separator: "/")
        let file = try JSONCursor.read("/" + tests + "/Fixtures/images/operations.json")
        func bytes(_ cursor: JSONCursor) throws -> [UInt8] {
            let digits = Array(try cursor.string())
            return try stride(from: 0, to: digits.count, by: 2).map {
                try #require(UInt8(String(digits[$0...($0 + 1)]), radix: 16))
            }
        }
        var pictures: [String: PictureBytes] = [:]
        for (name, entry) in try file.member("pictures").members() {
            pictures[name] = PictureBytes(
                try bytes(entry.member("pixels")), channels: try entry.member("channels").int(),
                height: try entry.member("height").int(), width: try entry.member("width").int())
        }
        return try file.member("cases").elements().map { entry in
            let (picture, word) = (try entry.member("picture").string(), try entry.member("operation").string())
            let value = try entry.member("value")
            let numbers = word == "cut" ? try value.elements().map { try $0.double() } : [try value.double()]
            return Case(
                name: "\(picture) \(word) \(numbers)", picture: try #require(pictures[picture]),
                operation: try #require(operation(word, numbers), "an operation that nobody knows: \(word)"),
                expected: try bytes(entry.member("pixels")))
        }
    }

    private static func operation(_ word: String, _ values: [Double]) -> PictureOperation? {
        let value = values[0]
        switch word {
        case "identity": return .identity
        case "autocontrast": return .autocontrast
        case "equalize": return .equalize
        case "rotate": return .rotate(degrees: value)
        case "solarize": return .solarize(threshold: value)
        case "color": return .color(value)
        case "posterize": return .posterize(bits: Int(value))
        case "contrast": return .contrast(value)
        case "brightness": return .brightness(value)
        case "sharpness": return .sharpness(value)
        case "shear-x": return .shearX(value)
        case "shear-y": return .shearY(value)
        case "translate-x": return .translateX(value)
        case "translate-y": return .translateY(value)
        case "cut":
            let ends = values.map { Int($0) }
            return .cut(lines: ends[0]..<(ends[1] + 1), columns: ends[2]..<(ends[3] + 1))
        default: return nil
        }
    }

    @Test("all of them are there")
    func list() throws {
        let words = Set(try Self.cases().compactMap { $0.name.split(separator: " ").dropFirst().first })
        #expect(words.count == 15, "\(words)")
    }

    @Test("what Pillow makes of it, byte for byte", arguments: try cases())
    func pillow(_ test: Case) {
        var picture = test.picture
        picture.apply(test.operation)
        #expect(picture.pixels == test.expected)
    }

    // MARK: Definitions

    /// Bytes that a counter gives, of all levels or of a few.
    private func made(
        _ channels: Int, _ height: Int, _ width: Int, levels: Int = 256, from: Int = 0
    ) -> PictureBytes {
        var state: UInt64 = 12345
        let pixels = (0..<(channels * height * width)).map { _ -> UInt8 in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(from + Int(state >> 33) % levels)
        }
        return PictureBytes(pixels, channels: channels, height: height, width: width)
    }

    private var pictures: [PictureBytes] {
        [
            made(3, 7, 5), made(1, 1, 1), made(3, 1, 13), made(1, 41, 17), made(3, 19, 23, levels: 60, from: 70),
            made(3, 16, 16, levels: 2, from: 250), made(1, 3, 3), made(3, 2, 2),
        ]
    }

    private func changed(_ picture: PictureBytes, _ operation: PictureOperation) -> [UInt8] {
        var picture = picture
        picture.apply(operation)
        return picture.pixels
    }

    /// Holds each byte against a number: the byte is it, cut to a whole number; one that is whole but for rounding may go either way.
    private func expectCut(_ bytes: [UInt8], _ exact: [Double], _ what: String) {
        let wrong = zip(bytes, exact).filter { byte, exact in
            let value = min(255, max(0, exact))
            return Double(byte) != value.rounded(.down)
                && !(abs(value - value.rounded()) < 1e-4 && abs(Double(byte) - value) < 1.0001)
        }
        #expect(bytes.count == exact.count && wrong.isEmpty, "\(what): \(wrong.prefix(3))")
    }

    private func luma(_ picture: PictureBytes) -> [Double] {
        let size = picture.height * picture.width
        guard picture.channels == 3 else { return picture.pixels.map(Double.init) }
        return (0..<size).map { place in
            let (red, green, blue) = (
                Double(picture.pixels[place]), Double(picture.pixels[size + place]),
                Double(picture.pixels[2 * size + place])
            )
            return ((19595 * red + 38470 * green + 7471 * blue) / 65536 + 0.5).rounded(.down)
        }
    }

    @Test("mixtures: base + factor · (byte − base)", arguments: [0, 0.05, 0.3, 0.62, 0.95, 1, 1.27, 1.9])
    func mixtures(_ factor: Double) {
        for picture in pictures {
            let (size, own) = (picture.height * picture.width, picture.pixels.map(Double.init))
            let factor = Double(Float(factor))
            func mixed(_ base: (Int) -> Double) -> [Double] {
                own.indices.map { base($0) + factor * (own[$0] - base($0)) }
            }
            let what = "\(picture.channels) x \(picture.height) x \(picture.width), factor \(factor)"
            expectCut(changed(picture, .brightness(factor)), mixed { _ in 0 }, "brightness of " + what)
            let grey = luma(picture)
            expectCut(changed(picture, .color(factor)), mixed { grey[$0 % size] }, "color of " + what)
            let mean = (grey.reduce(0, +) / Double(size) + 0.5).rounded(.down)
            expectCut(changed(picture, .contrast(factor)), mixed { _ in mean }, "contrast of " + what)
            let smooth = own.indices.map { place -> Double in
                let (i, j) = (place % size / picture.width, place % picture.width)
                guard i > 0, j > 0, i < picture.height - 1, j < picture.width - 1 else { return own[place] }
                var sum = 0.0
                for down in -1...1 {
                    for right in -1...1 {
                        sum += own[place + down * picture.width + right] * (down == 0 && right == 0 ? 5 : 1)
                    }
                }
                return (sum / 13 + 0.5).rounded(.down)
            }
            expectCut(changed(picture, .sharpness(factor)), mixed { smooth[$0] }, "sharpness of " + what)
        }
    }

    @Test("levels: stretched, spread, inverted, cut")
    func levels() {
        for picture in pictures {
            let size = picture.height * picture.width
            var (stretched, spread): ([Double], [Double]) = ([], [])
            for channel in 0..<picture.channels {
                let plane = picture.pixels[(channel * size)..<((channel + 1) * size)].map(Double.init)
                let (low, high) = (plane.min() ?? 0, plane.max() ?? 0)
                stretched += plane.map { high > low ? 255 * ($0 - low) / (high - low) : $0 }
                let below = plane.filter { $0 < high }.count
                let step = below / 255
                spread += plane.map { byte in
                    let rank = plane.filter { $0 < byte }.count
                    return step > 0 ? Double((step / 2 + rank) / step) : byte
                }
            }
            expectCut(changed(picture, .autocontrast), stretched, "autocontrast")
            #expect(changed(picture, .equalize).map(Double.init) == spread.map { min(255, $0) })
            for threshold in [0.0, 0.5, 100, 200.25, 256] {
                let expected = picture.pixels.map { Double($0) >= threshold ? UInt8(255 - Int($0)) : $0 }
                #expect(changed(picture, .solarize(threshold: threshold)) == expected)
            }
            for bits in 1...8 {
                let part = 1 << (8 - bits)
                #expect(changed(picture, .posterize(bits: bits)) == picture.pixels.map { UInt8(Int($0) / part * part) })
            }
        }
        // Many pixels of one level below the lightest: the last levels go beyond 255 and are cut.
        let steep = PictureBytes(
            [UInt8](repeating: 9, count: 509) + [UInt8](repeating: 30, count: 3), channels: 1, height: 16, width: 32)
        #expect(Set(changed(steep, .equalize)) == [0, 255])
    }

    /// Where each pixel comes from, (column, line) in pixels, not yet cut to whole ones. One so near to a border that rounding decides may come
    /// from either side.
    private func expectMoved(
        _ picture: PictureBytes, _ operation: PictureOperation, _ source: (_ x: Double, _ y: Double) -> (Double, Double)
    ) {
        let result = changed(picture, operation)
        let size = picture.height * picture.width
        var wrong = 0
        for i in 0..<picture.height {
            for j in 0..<picture.width {
                let (x, y) = source(Double(j) + 0.5, Double(i) + 0.5)
                let slack = 2e-5 * Double(picture.height + picture.width)
                var possible: Set<[UInt8]> = []
                for (dx, dy) in [(-slack, -slack), (slack, -slack), (-slack, slack), (slack, slack)] {
                    let (column, line) = (Int((x + dx).rounded(.down)), Int((y + dy).rounded(.down)))
                    let isInside = column >= 0 && column < picture.width && line >= 0 && line < picture.height
                    possible.insert(
                        (0..<picture.channels).map {
                            isInside ? picture.pixels[$0 * size + line * picture.width + column] : 0
                        })
                }
                let got = (0..<picture.channels).map { result[$0 * size + i * picture.width + j] }
                if !possible.contains(got) { wrong += 1 }
            }
        }
        #expect(wrong == 0, "\(operation) of \(picture.height) x \(picture.width)")
    }

    @Test("places: turned, sheared, shifted; nearest pixel, black outside")
    func places() {
        for picture in pictures {
            let (middle, centre) = (Double(picture.width) / 2, Double(picture.height) / 2)
            for degrees in [-30.0, -7.7, 0, 3.2, 29, 90, 211] {
                let angle = degrees * Double.pi / 180
                expectMoved(picture, .rotate(degrees: degrees)) { x, y in
                    // Counter-clockwise on a page whose lines count downwards; back to where a pixel was.
                    let (right, down) = (x - middle, y - centre)
                    return (
                        middle + right * cos(angle) - down * sin(angle), centre + right * sin(angle) + down * cos(angle)
                    )
                }
            }
            for slope in [-0.3, -0.011, 0, 0.2] {
                expectMoved(picture, .shearX(slope)) { x, y in (x + slope * y, y) }
                expectMoved(picture, .shearY(slope)) { x, y in (x, y + slope * x) }
            }
            for pixels in [-3.2, -1, -0.4, 0, 0.6, 2, 40] {
                expectMoved(picture, .translateX(pixels)) { x, y in (x + pixels, y) }
                expectMoved(picture, .translateY(pixels)) { x, y in (x, y + pixels) }
            }
        }
    }

    @Test("crops and flips of a picture with zeros around it")
    func shifts() {
        for picture in pictures {
            for (down, right, flipped) in [(0, 0, true), (2, -1, false), (-3, 2, true), (0, 50, false)] {
                var shifted = picture
                shifted.shift(down: down, right: right, flipped: flipped)
                var expected: [UInt8] = []
                for channel in 0..<picture.channels {
                    for i in 0..<picture.height {
                        let line = (0..<picture.width).map { j -> UInt8 in
                            let isInside =
                                (0..<picture.height).contains(i + down) && (0..<picture.width).contains(j + right)
                            guard isInside else { return 0 }
                            let start = (channel * picture.height + i + down) * picture.width
                            return picture.pixels[start + j + right]
                        }
                        expected += flipped ? line.reversed() : line
                    }
                }
                #expect(shifted.pixels == expected)
            }
        }
    }

    @Test("a square of one colour")
    func cut() {
        let picture = made(3, 6, 5)
        let result = changed(picture, .cut(lines: 1..<4, columns: 4..<5))
        for place in picture.pixels.indices {
            let (i, j) = (place % 30 / 5, place % 5)
            let isInside = (1..<4).contains(i) && j == 4
            #expect(result[place] == (isInside ? [125, 123, 114][place / 30] : picture.pixels[place]))
        }
        #expect(changed(made(1, 2, 2), .cut(lines: 0..<2, columns: 0..<2)) == [123, 123, 123, 123])
    }
}
