/// Changes the size of a plane of bytes: each output pixel is a weighted mean of the input around its centre, by a triangle as wide
/// as the larger of an input and an output pixel on each side. Enlarging, this is bilinear interpolation; reducing, every input
/// pixel counts (no aliasing). The columns first, then the lines, each rounded to bytes; weights in fixed point of 22 bits, so the
/// result is the same on every machine. Pillow's `resize` with `BILINEAR` gives the same bytes, or one more or less where it takes the
/// lines first.
struct ImageResampler {
    private let columns: Weights
    private let lines: Weights

    /// Sizes in pixels, all 1 or more.
    init(height: Int, width: Int, toHeight: Int, toWidth: Int) {
        columns = Weights(from: width, to: toWidth)
        lines = Weights(from: height, to: toHeight)
    }

    /// - Parameters:
    ///   - plane: `[height, width]`.
    ///   - result: `[toHeight, toWidth]`.
    func resize(_ plane: UnsafeBufferPointer<UInt8>, into result: UnsafeMutableBufferPointer<UInt8>) {
        let (height, width) = (lines.from, columns.from)
        let (toHeight, toWidth) = (lines.ranges.count, columns.ranges.count)
        // Columns first: `[height, toWidth]`.
        var narrow = [UInt8](repeating: 0, count: height * toWidth)
        for j in 0..<toWidth {
            let range = columns.ranges[j]
            for i in 0..<height {
                var sum = Weights.half
                for k in 0..<range.count {
                    sum += Int(plane[i * width + range.lowerBound + k]) * columns.values[j * columns.most + k]
                }
                narrow[i * toWidth + j] = Weights.byte(sum)
            }
        }
        var sums = [Int](repeating: 0, count: toWidth)
        for i in 0..<toHeight {
            let range = lines.ranges[i]
            for j in 0..<toWidth { sums[j] = Weights.half }
            for k in 0..<range.count {
                let weight = lines.values[i * lines.most + k]
                let start = (range.lowerBound + k) * toWidth
                for j in 0..<toWidth { sums[j] += Int(narrow[start + j]) * weight }
            }
            for j in 0..<toWidth { result[i * toWidth + j] = Weights.byte(sums[j]) }
        }
    }

    /// Which input pixels make each output pixel of a line, and with what weights.
    private struct Weights {
        let from: Int
        /// Of input pixels, by output pixel.
        var ranges: [Range<Int>] = []
        /// The largest number of input pixels that make one.
        let most: Int
        /// `[output, most]`, in 2⁻²²; a row adds up to 1, but for rounding.
        var values: [Int]

        static let bits = 22
        static let half = 1 << (bits - 1)
        static func byte(_ sum: Int) -> UInt8 { UInt8(clamping: sum >> bits) }

        init(from: Int, to: Int) {
            self.from = from
            let scale = Double(from) / Double(to)
            let reach = max(1, scale)
            most = Int(reach.rounded(.up)) * 2 + 1
            values = [Int](repeating: 0, count: to * most)
            for position in 0..<to {
                let centre = (Double(position) + 0.5) * scale
                let first = max(0, Int(centre - reach + 0.5))
                let last = min(from, Int(centre + reach + 0.5))
                let triangle = (first..<last).map { max(0, 1 - abs((Double($0) - centre + 0.5) * (1 / reach))) }
                let total = triangle.reduce(0, +)
                for (k, weight) in triangle.enumerated() {
                    values[position * most + k] = Int(weight / total * Double(1 << Self.bits) + 0.5)
                }
                ranges.append(first..<last)
            }
        }
    }
}
