import Foundation
import RetortSupport

/// How much each place of a picture counts for a model, at the places of one of its layers.
public struct HeatMap: Sendable, Equatable {
    public let height: Int
    public let width: Int
    /// `[height, width]`: 0 … 255, the largest 255 unless all are 0.
    public let values: [UInt8]

    /// - `weights`: `[height, width]`; what is below 0 or not finite counts as 0. Scaled so that the largest is 255.
    public init(_ weights: [Float], height: Int, width: Int) {
        precondition(weights.count == height * width, "\(weights.count) weights for \(height) x \(width)")
        self.height = height
        self.width = width
        let positive = weights.map { $0.isFinite ? max(0, $0) : 0 }
        let largest = positive.max() ?? 0
        values = positive.map { largest > 0 ? UInt8((255 * ($0 / largest)).rounded()) : 0 }
    }

    /// The attention map of a layer's output (Zagoruyko & Komodakis 2017, arXiv:1612.03928): the mean over channels of the squares.
    /// - `activations`: `[channels, height, width]`.
    public init(attentionOf activations: ArraySlice<Float>, channels: Int, height: Int, width: Int) {
        let plane = height * width
        var sums = [Float](repeating: 0, count: plane)
        for (k, value) in activations.enumerated() { sums[k % plane] += value * value }
        self.init(sums.map { $0 / Float(max(1, channels)) }, height: height, width: width)
    }

    private init(height: Int, width: Int, values: [UInt8]) {
        self.height = height
        self.width = width
        self.values = values
    }

    /// A veil to lay over the picture: the more a place counts, the less it lets through. The browser stretches it smoothly.
    var png: Data {
        PNG.file(values.flatMap { [255, 96, 0, UInt8(Int($0) * 190 / 255)] }, height: height, width: width)
    }

    var json: JSON {
        [
            "height": .int(height), "width": .int(width), "values": .string(Data(values).base64EncodedString()),
        ]
    }

    init(_ cursor: JSONCursor) throws(RetortError) {
        try cursor.expectKeys(["height", "width", "values"])
        let height = try cursor.member("height").int(in: 1...65536)
        let width = try cursor.member("width").int(in: 1...65536)
        let text = try cursor.member("values")
        guard let values = Data(base64Encoded: try text.string()), values.count == height * width else {
            throw text.failure("it must be a byte for each place, in base64")
        }
        self.init(height: height, width: width, values: [UInt8](values))
    }
}
