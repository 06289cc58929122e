/// A picture as bytes: planes `[channels, height, width]`, 0…255, 1 channel (grey) or 3 (red, green, blue).
public struct PictureBytes: Sendable, Equatable {
    /// `[channels, height, width]`, row-major.
    public internal(set) var pixels: [UInt8]
    public let channels: Int
    /// In pixels.
    public let height: Int
    /// In pixels.
    public let width: Int

    /// - Parameters:
    ///   - pixels: as many bytes as channels · height · width.
    ///   - channels: 1 or 3.
    ///   - height: in pixels.
    ///   - width: in pixels.
    public init(_ pixels: [UInt8], channels: Int, height: Int, width: Int) {
        precondition(
            pixels.count == channels * height * width, "\(pixels.count) bytes of \(channels) x \(height) x \(width)")
        self.pixels = pixels
        self.channels = channels
        self.height = height
        self.width = width
    }

    var plane: Int { height * width }

    /// The place (i, j) gets what is at (i + down, j + right), j counted from the right end when the picture is flipped as well; black
    /// where that is outside. A crop of the picture with zeros around it, as the op `GatherImages` takes it.
    /// - Parameters:
    ///   - down: lines; negative: what was at the top is lower now.
    ///   - right: columns; negative: what was at the left is further right.
    ///   - flipped: mirrored left to right after the shift.
    public mutating func shift(down: Int, right: Int, flipped: Bool = false) {
        let source = pixels
        for channel in 0..<channels {
            for i in 0..<height {
                let (to, line) = ((channel * height + i) * width, i + down)
                let from = (channel * height + line) * width
                for j in 0..<width {
                    let column = (flipped ? width - 1 - j : j) + right
                    let isInside = line >= 0 && line < height && column >= 0 && column < width
                    pixels[to + j] = isInside ? source[from + column] : 0
                }
            }
        }
    }
}
