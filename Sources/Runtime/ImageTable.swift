import RetortKernels

/// What becomes of a pixel: (byte / 255 − mean) / deviation, by channel.
public struct PixelNormalization: Sendable, Equatable {
    /// `[channels]`, of pixels from 0 to 1.
    public let mean: [Float]
    /// `[channels]`, of pixels from 0 to 1; never 0.
    public let deviation: [Float]

    public init(mean: [Float], deviation: [Float]) {
        self.mean = mean
        self.deviation = deviation
    }

    /// `[channels, 256]`: the value of each byte. Three roundings to fp32 in this order, as other frameworks have them.
    public var values: [Float] {
        zip(mean, deviation).flatMap { mean, deviation in (0...255).map { (Float($0) / 255 - mean) / deviation } }
    }
}

/// Pictures that live on a device as bytes, and the batches made of them: fp32, normalised, and for training cropped and flipped
/// at random.
public struct ImageTable {
    /// u8 `[images, channels, height, width]`.
    public let images: View
    /// fp32 `[channels, 256]`.
    let values: View
    public let device: ComputeDevice

    public var count: Int { images.shape[0] }

    /// - `pixels`: row-major, shape `[images, channels, height, width]`.
    /// - Throws: `TensorError` when sizes do not agree or a deviation is not a positive number; `KernelError` of kind `memory` when
    ///   the device has no room for the pictures.
    public init(_ pixels: [UInt8], _ shape: [Int], normalization: PixelNormalization, on device: Device) throws {
        guard shape.count == 4, shape.allSatisfy({ $0 >= 0 }), pixels.count == shape.reduce(1, *) else {
            throw TensorError("\(pixels.count) bytes do not fill pictures of shape \(shape)")
        }
        guard normalization.mean.count == shape[1], normalization.deviation.count == shape[1] else {
            throw TensorError(
                "\(normalization.mean.count) means and \(normalization.deviation.count) deviations for \(shape[1]) channels"
            )
        }
        guard normalization.values.allSatisfy(\.isFinite) else {
            throw TensorError(
                "means \(normalization.mean) and deviations \(normalization.deviation) give no finite pixels")
        }
        self.device = device.compute
        images = try device.compute.view(pixels, shape, .u8)
        values = try device.compute.view(normalization.values, [shape[1], 256])
    }

    /// A batch `[ids, channels, height, width]` of the pictures `ids`, a constant.
    ///
    /// - `samples`: the pictures' numbers in the whole dataset, from 0, where the table is a part of it; nil: their ids.
    /// - `augmentation`: `.none` for evaluation.
    /// - `seed`: the run's; with `epoch` and a picture's number it fixes what becomes of the picture, wherever and in whichever batch it
    ///   is made.
    /// - `epoch`: the pass over the data, from 0.
    /// - Throws: `TensorError` for an id that is no picture, or another number of samples than ids.
    public func batch(
        _ ids: [Int32], samples: [Int32]? = nil, augmentation: ImageAugmentation = .none, seed: UInt64 = 0,
        epoch: Int = 0
    ) throws -> Tensor {
        if let wrong = ids.first(where: { $0 < 0 || Int($0) >= count }) {
            throw TensorError("picture \(wrong) of a table of \(count)")
        }
        guard samples.map({ $0.count == ids.count }) ?? true else {
            throw TensorError("\(samples?.count ?? 0) samples for \(ids.count) pictures")
        }
        guard let epoch = UInt32(exactly: epoch) else { throw TensorError("epoch \(epoch)") }
        let idView = try device.view(ids, [ids.count], .i32)
        let sampleView = try samples.map { try device.view($0, [$0.count], .i32) }
        let y = try device.empty([ids.count] + images.shape.dropFirst())
        let op = GatherImages(augmentation, seed: seed, stream: Self.stream, epoch: epoch)
        try run(op, .init(table: images, ids: idView, samples: sampleView, values: values, y: y), on: device)
        return Tensor(y, device)
    }

    static let stream = Philox.stream("augment")
}
