import RetortKernels
import RetortRuntime
import RetortSupport

/// Squares of a picture that a loss hides from the student and not from the teacher: masked image modelling (Bao et al. 2021, BEiT,
/// arXiv:2106.08254). As many of every picture, drawn by counter; what is hidden is 0, the mean of normalised pictures.
public struct PatchMask: Sendable, Equatable {
    /// Share of a picture's squares, above 0 and below 1.
    public let share: Float
    /// Side of a square in pixels.
    public let side: Int

    /// - Parameters:
    ///   - firstRow: the first picture's place in the batch.
    /// - Returns: `[rows, 1, height, width]`, 1 where a pixel is hidden.
    /// - Throws: `RetortError` 78 for examples that are not pictures, or that the squares do not tile.
    func draw(
        for x: Tensor, firstRow: Int, seed: UInt64, step: Int, on device: Device
    ) throws -> Tensor {
        guard x.rank == 4 else {
            throw RetortError.recipe(
                "the loss masked-image hides parts of pictures, and the examples are rows of \(x.count / max(1, x.shape[0])) features",
                help: "mask: 0 hides nothing")
        }
        let (rows, height, width) = (x.shape[0], x.shape[2], x.shape[3])
        guard height % side == 0, width % side == 0, height * width > side * side else {
            throw RetortError.recipe(
                "the loss masked-image hides squares of \(side) pixels, which do not tile pictures of \(height) × \(width)",
                help: "patch: a whole part of both sides")
        }
        let (down, across) = (height / side, width / side)
        let hidden = min(down * across - 1, max(1, Int((Float(down * across) * share).rounded())))
        let random = Philox(seed: seed, stream: Philox.stream("hidden patches") &+ UInt64(step))
        var mask = [Float](repeating: 0, count: rows * height * width)
        for row in 0..<rows {
            let first = UInt64((firstRow + row) * down * across)
            let squares = (0..<down * across).map { (random.word(first + UInt64($0)), $0) }.sorted(by: <)
            for (_, square) in squares.prefix(hidden) {
                let corner = (row * height + square / across * side) * width + square % across * side
                for y in 0..<side {
                    for x in 0..<side { mask[corner + y * width + x] = 1 }
                }
            }
        }
        return try Tensor(mask, [rows, 1, height, width], on: device)
    }
}
