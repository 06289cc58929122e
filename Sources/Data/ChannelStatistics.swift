/// Mean and deviation of the channels of pictures, gathered part by part. Exact sums of integers, so the same however the pictures
/// are cut and on every machine.
struct ChannelStatistics {
    private let channels: Int
    private let plane: Int
    private var planes = 0
    private var sums: [Int]
    private var squares: [Int]

    /// - `plane`: pixels of one channel of one picture.
    init(channels: Int, plane: Int) {
        (self.channels, self.plane) = (channels, plane)
        sums = [Int](repeating: 0, count: channels)
        squares = sums
    }

    /// - `pixels`: whole pictures, `[count, channels, height, width]`.
    mutating func add(_ pixels: UnsafeBufferPointer<UInt8>) {
        for start in stride(from: 0, to: pixels.count, by: plane) {
            // At most 255² · plane in each: far from overflow for planes that fit in memory.
            var (sum, square) = (0, 0)
            for pixel in pixels[start..<(start + plane)] {
                sum &+= Int(pixel)
                square &+= Int(pixel) &* Int(pixel)
            }
            sums[start / plane % channels] += sum
            squares[start / plane % channels] += square
        }
        planes += pixels.count / plane
    }

    /// Mean and standard deviation (of the population), `[channels]`, with pixels from 0 to 1.
    var result: (mean: [Double], deviation: [Double]) {
        let values = Double(max(1, planes / channels * plane))
        let means = sums.map { Double($0) / values }
        // A channel of one value can come out a rounding below zero.
        let deviations = zip(squares, means).map { max(0, Double($0) / values - $1 * $1).squareRoot() / 255 }
        return (means.map { $0 / 255 }, deviations)
    }
}
