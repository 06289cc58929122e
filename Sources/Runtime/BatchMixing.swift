import RetortKernels

/// Two ways to train on mixtures of pictures and of their labels.
public enum BatchMixing: Sendable, Equatable {
    /// x = λ·x + (1 − λ)·x′, likewise the targets; λ from Beta(α, α), one for the batch. Zhang et al. 2018, "mixup: Beyond empirical
    /// risk minimization".
    case mixup(alpha: Double)
    /// A box of x′ pasted into x, its centre uniform, its sides √(1 − λ) of the picture's, cut off at the edges; the targets are mixed
    /// by the area that remained. λ from Beta(α, α). Yun et al. 2019, "CutMix: Regularization strategy to train strong classifiers with
    /// localizable features".
    case cutMix(alpha: Double)
}

/// What is mixed in one batch: a function of (seed, step), the same on every device.
public struct BatchMix: Sendable, Equatable {
    /// `[rows]`: which picture of the batch is x′ for each; a permutation.
    public let partners: [Int32]
    /// The share of a picture's own target.
    public let weight: Float
    /// What is pasted; nil where all of the picture is blended.
    public let box: ImageBox?

    /// Draws the mixture of a batch. The counters: λ from stream "mix/lambda", block `step`; the box's line and column from
    /// "mix/box", `integer(2 · step)` and `integer(2 · step + 1)`; the partners from "mix/partners", a stream of its own for each step.
    ///
    /// - `rows`: pictures in the whole batch, its micro-batches taken together.
    /// - `step`: the number of the batch in the run, from 0; below 2^38.
    /// - Throws: `TensorError` for an α that is not a positive number, or sizes below 1.
    public init(
        _ mixing: BatchMixing, rows: Int, height: Int, width: Int, seed: UInt64, step: Int
    ) throws {
        let alpha =
            switch mixing {
            case .mixup(let alpha), .cutMix(let alpha): alpha
            }
        guard alpha > 0, alpha.isFinite else { throw TensorError("mixing with alpha \(alpha)") }
        guard rows > 0, rows <= Int(Int32.max), height > 0, width > 0, step >= 0, step < 1 << 38 else {
            throw TensorError("mixing \(rows) pictures of \(height) x \(width) at step \(step)")
        }
        let lambda = Philox(seed: seed, stream: Philox.stream("mix/lambda")).beta(UInt64(step), alpha, alpha)
        partners = Philox(seed: seed, stream: Philox.stream("mix/partners/\(step)")).permutation(rows)
        guard case .cutMix = mixing else {
            (weight, box) = (Float(lambda), nil)
            return
        }
        let places = Philox(seed: seed, stream: Philox.stream("mix/box"))
        func side(_ length: Int, _ index: Int) -> Range<Int> {
            let half = Int(Double(length) * (1 - lambda).squareRoot()) / 2
            let centre = Int(places.integer(UInt64(2 * step + index), below: UInt32(length)))
            return max(0, centre - half)..<min(length, centre + half)
        }
        let box = ImageBox(lines: side(height, 0), columns: side(width, 1))
        weight = Float(1 - Double(box.lines.count * box.columns.count) / Double(height * width))
        self.box = box
    }

    /// The mixed pictures, `[rows, channels, height, width]`, a constant.
    /// - Parameter x: the whole batch.
    /// - Throws: `TensorError` for a batch of another size.
    public func images(_ x: Tensor) throws -> Tensor {
        guard x.rank == 4, partners.count == x.shape[0] else {
            throw TensorError("mixing pictures \(x.shape) with \(partners.count)")
        }
        let (device, own) = (x.device, try x.contiguousView())
        let y = try device.empty(x.shape)
        let partnerView = try device.view(partners, [partners.count], .i32)
        try run(
            MixImages(weight: box == nil ? weight : 0, box: box),
            .init(x: own, pool: own, partners: partnerView, y: y), on: device)
        return Tensor(y, device)
    }
}
