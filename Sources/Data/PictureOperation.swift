import Glibc

/// A change of a picture's bytes, of those that RandAugment draws from (Cubuk et al. 2020, "RandAugment: Practical automated data
/// augmentation with a reduced search space"), each byte for byte as Pillow does it, whose functions the published ones are.
///
/// Where a change mixes a picture with another one, byte = base + factor · (byte − base): product and sum rounded to fp32, the
/// result cut to a whole number, then to 0…255. So the factor 1 changes nothing, 0 leaves the base, and above 1 the picture moves away
/// from it. Where places move, each takes the nearest pixel, and black (0) where that is outside the picture.
public enum PictureOperation: Sendable, Equatable {
    /// Nothing.
    case identity
    /// In each channel the darkest byte becomes 0, the lightest 255, the others by a straight line between them, cut to whole numbers.
    case autocontrast
    /// In each channel the levels are spread so that all are about as frequent.
    case equalize
    /// About the picture's middle, counter-clockwise; sine and cosine rounded to 16 bits behind the point.
    case rotate(degrees: Double)
    /// Bytes from the threshold on are inverted.
    case solarize(threshold: Double)
    /// A mixture with the grey picture; ITU-R 601's luma in 16 bits behind the point.
    case color(Double)
    /// Each byte keeps its upper bits, 1 to 8 of them.
    case posterize(bits: Int)
    /// A mixture with the mean of the luma, rounded to a whole number.
    case contrast(Double)
    /// A mixture with black.
    case brightness(Double)
    /// A mixture with the picture smoothed by 3 × 3 weights, 5 in the middle and 1 around it, over 13, rounded; pixels at the border
    /// stay as they are.
    case sharpness(Double)
    /// Line i comes from columns further right by the slope times i + ½; the slope rounded to 16 bits behind the point.
    case shearX(Double)
    /// Column j comes from lines further down by the slope times j + ½.
    case shearY(Double)
    /// Each pixel comes from so many pixels further right, rounded to whole ones.
    case translateX(Double)
    /// Each pixel comes from so many pixels further down, rounded to whole ones.
    case translateY(Double)
    /// A rectangle of one colour, red 125, green 123, blue 114, in grey pictures 123: Cutout (DeVries & Taylor 2017) as FixMatch has it.
    case cut(lines: Range<Int>, columns: Range<Int>)
}

extension PictureBytes {
    /// Changes the picture in place.
    /// - Parameter operation: its lines and columns are inside the picture.
    public mutating func apply(_ operation: PictureOperation) {
        switch operation {
        case .identity: break
        case .autocontrast: replaceLevels(Self.stretched)
        case .equalize: replaceLevels(Self.equalized)
        case .rotate(let degrees): rotate(degrees)
        case .solarize(let threshold):
            pixels = pixels.map { Double($0) < threshold ? $0 : 255 - $0 }
        case .color(let factor):
            let grey = luma
            let size = grey.count
            blend(factor) { grey[$0 % size] }
        case .posterize(let bits):
            let mask = UInt8(truncatingIfNeeded: 0xFF << (8 - bits))
            pixels = pixels.map { $0 & mask }
        case .contrast(let factor):
            let sum = luma.reduce(0) { $0 + Int($1) }
            let mean = UInt8((2 * sum + plane) / (2 * plane))
            blend(factor) { _ in mean }
        case .brightness(let factor): blend(factor) { _ in 0 }
        case .sharpness(let factor):
            let smooth = smoothed
            blend(factor) { smooth[$0] }
        case .shearX(let slope): move((1, slope, 0), (0, 1, 0))
        case .shearY(let slope): move((1, 0, 0), (slope, 1, 0))
        case .translateX(let pixels): shift(down: 0, right: Int((pixels + 0.5).rounded(.down)))
        case .translateY(let pixels): shift(down: Int((pixels + 0.5).rounded(.down)), right: 0)
        case .cut(let lines, let columns): cut(lines, columns)
        }
    }

    /// `[height, width]`.
    private var luma: [UInt8] {
        guard channels == 3 else { return Array(pixels[..<plane]) }
        return (0..<plane).map { place in
            let red = Int(pixels[place]) * 19595
            let green = Int(pixels[plane + place]) * 38470
            let blue = Int(pixels[2 * plane + place]) * 7471
            return UInt8((red + green + blue + 0x8000) >> 16)
        }
    }

    /// `[channels, height, width]`.
    private var smoothed: [UInt8] {
        guard height > 2, width > 2 else { return pixels }
        var result = pixels
        for channel in 0..<channels {
            for i in 1..<(height - 1) {
                for j in 1..<(width - 1) {
                    let place = (channel * height + i) * width + j
                    var sum = 4 * Int(pixels[place])
                    for middle in stride(from: place - width, through: place + width, by: width) {
                        sum += Int(pixels[middle - 1]) + Int(pixels[middle]) + Int(pixels[middle + 1])
                    }
                    result[place] = UInt8((2 * sum + 13) / 26)
                }
            }
        }
        return result
    }

    /// - Parameter base: by place in `[channels, height, width]`.
    private mutating func blend(_ factor: Double, _ base: (Int) -> UInt8) {
        let factor = Float(factor)
        for place in pixels.indices {
            let other = Int(base(place))
            let moved = factor * Float(Int(pixels[place]) - other)
            pixels[place] = UInt8(clamping: Int(Float(other) + moved))
        }
    }

    /// - Parameter table: from how often each byte occurs in a channel to what each becomes there.
    private mutating func replaceLevels(_ table: (_ counts: [Int]) -> [UInt8]) {
        for channel in 0..<channels {
            let range = (channel * plane)..<((channel + 1) * plane)
            var counts = [Int](repeating: 0, count: 256)
            for place in range { counts[Int(pixels[place])] += 1 }
            let levels = table(counts)
            for place in range { pixels[place] = levels[Int(pixels[place])] }
        }
    }

    private static let unchanged = (0..<256).map { UInt8($0) }

    private static func stretched(_ counts: [Int]) -> [UInt8] {
        guard let low = counts.firstIndex(where: { $0 > 0 }), let high = counts.lastIndex(where: { $0 > 0 }), low < high
        else { return unchanged }
        let scale = 255 / Double(high - low)
        let offset = -Double(low) * scale
        return (0..<256).map { UInt8(clamping: Int(Double($0) * scale + offset)) }
    }

    private static func equalized(_ counts: [Int]) -> [UInt8] {
        let lightest = counts.last { $0 > 0 } ?? 0
        // Of the pixels below the lightest level each 255th part is to be a level.
        let step = (counts.reduce(0, +) - lightest) / 255
        guard step > 0 else { return unchanged }
        var below = step / 2
        return counts.map { count in
            let level = UInt8(clamping: below / step)
            below += count
            return level
        }
    }

    private mutating func rotate(_ degrees: Double) {
        var turn = degrees.truncatingRemainder(dividingBy: 360)
        if turn < 0 { turn += 360 }
        let angle = -(turn * (Double.pi / 180))
        let (cosine, sine) = (cos(angle), sin(angle))
        let (x, y) = (Double(width) / 2, Double(height) / 2)
        move((cosine, sine, cosine * -x + sine * -y + x), (-sine, cosine, -sine * -x + cosine * -y + y))
    }

    /// The place (line i, column j) gets the pixel at column a·(j + ½) + b·(i + ½) + c, by the three numbers of `column`, and likewise line,
    /// all rounded to 16 bits behind the point and then added; black where that is outside.
    private mutating func move(_ column: (Double, Double, Double), _ line: (Double, Double, Double)) {
        func fixed(_ value: Double) -> Int { Int((value * 65536 + 0.5).rounded(.down)) }
        let across = (fixed(column.0), fixed(column.1), fixed(column.2 + column.0 * 0.5 + column.1 * 0.5))
        let down = (fixed(line.0), fixed(line.1), fixed(line.2 + line.0 * 0.5 + line.1 * 0.5))
        let source = pixels
        let size = plane
        for i in 0..<height {
            for j in 0..<width {
                let x = (across.2 + across.1 * i + across.0 * j) >> 16
                let y = (down.2 + down.1 * i + down.0 * j) >> 16
                let isInside = x >= 0 && x < width && y >= 0 && y < height
                for start in stride(from: 0, to: channels * size, by: size) {
                    pixels[start + i * width + j] = isInside ? source[start + y * width + x] : 0
                }
            }
        }
    }

    private mutating func cut(_ lines: Range<Int>, _ columns: Range<Int>) {
        let colour: [UInt8] = channels == 3 ? [125, 123, 114] : [UInt8](repeating: 123, count: channels)
        for channel in 0..<channels {
            for i in lines {
                for j in columns { pixels[(channel * height + i) * width + j] = colour[channel] }
            }
        }
    }
}
