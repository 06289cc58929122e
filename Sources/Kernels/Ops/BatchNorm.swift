/// Batch normalisation with batch statistics, and what follows it in a residual network (Ioffe and Szegedy 2015; He et al. 2016):
///
///     y = (x − mean) · rstd · weight + bias (+ residual), then max(0, ·) with `relu`
///
/// x, residual, y `[n, channels, ...]`, contiguous; mean and biased variance over all dimensions but the second, combined from
/// parts in a fixed order and never as a difference of squares; weight, bias `[channels]`. mean and rstd = 1 / √(variance + epsilon)
/// `[channels]` are kept for backward. The running statistics `[channels]` move by `momentum` towards the batch's mean and
/// *unbiased* variance. An empty batch changes nothing.
public struct BatchNorm: Op {
    public let epsilon: Float
    /// Weight of this batch in the running statistics.
    public let momentum: Float
    public let relu: Bool

    public init(epsilon: Float = 1e-5, momentum: Float = 0.1, relu: Bool = false) {
        self.epsilon = epsilon
        self.momentum = momentum
        self.relu = relu
    }

    public struct Operands {
        public let x: View
        public let weight: View?
        public let bias: View?
        public let residual: View?
        /// Updated in place.
        public let running: RunningStatistics?
        public let y: View
        public let mean: View
        public let rstd: View
        public init(
            x: View, weight: View?, bias: View?, residual: View? = nil, running: RunningStatistics? = nil, y: View,
            mean: View, rstd: View
        ) {
            self.x = x
            self.weight = weight
            self.bias = bias
            self.residual = residual
            self.running = running
            self.y = y
            self.mean = mean
            self.rstd = rstd
        }
    }
    public var name: String { "batch_norm" }
    public func validate(_ o: Operands) throws {
        let images = try Channels(o.x, self)
        try images.require(perElement: [("y", o.y), ("residual", o.residual)], self)
        try images.require(
            perChannel: [
                ("weight", o.weight), ("bias", o.bias), ("mean", o.mean), ("rstd", o.rstd),
                ("running mean", o.running?.mean), ("running variance", o.running?.variance),
            ], self)
        try require(
            images.samples * images.inner != 1,
            "statistics of one value per channel: x is \(o.x.shape); use a larger batch or the running statistics")
    }
    public func cost(_ o: Operands) -> Cost {
        let count = Double(o.x.count)
        return Cost(flops: 8 * count, bytes: (o.residual == nil ? 8 : 12) * count)
    }
}

/// Running statistics of batch normalisation, `[channels]` each.
public struct RunningStatistics: Sendable {
    public let mean: View
    /// Of the unbiased variances.
    public let variance: View
    public init(mean: View, variance: View) {
        self.mean = mean
        self.variance = variance
    }
}

/// Batch normalisation with given statistics: evaluation. As `BatchNorm` otherwise; nothing is updated.
public struct BatchNormInference: Op {
    public let epsilon: Float
    public let relu: Bool

    public init(epsilon: Float = 1e-5, relu: Bool = false) {
        self.epsilon = epsilon
        self.relu = relu
    }

    public struct Operands {
        public let x: View
        public let statistics: RunningStatistics
        public let weight: View?
        public let bias: View?
        public let residual: View?
        public let y: View
        public init(
            x: View, statistics: RunningStatistics, weight: View?, bias: View?, residual: View? = nil, y: View
        ) {
            self.x = x
            self.statistics = statistics
            self.weight = weight
            self.bias = bias
            self.residual = residual
            self.y = y
        }
    }
    public var name: String { "batch_norm_inference" }
    public func validate(_ o: Operands) throws {
        let images = try Channels(o.x, self)
        try images.require(perElement: [("y", o.y), ("residual", o.residual)], self)
        try images.require(
            perChannel: [
                ("weight", o.weight), ("bias", o.bias), ("mean", o.statistics.mean),
                ("variance", o.statistics.variance),
            ], self)
    }
    public func cost(_ o: Operands) -> Cost {
        let count = Double(o.x.count)
        return Cost(flops: 3 * count, bytes: (o.residual == nil ? 8 : 12) * count)
    }
}

/// The gradients of `BatchNorm` and `BatchNormInference`; each output may be absent. The gradient of the residual is that of y where
/// ReLU let it through.
public struct BatchNormBackward: Op {
    public enum Statistics: Sendable, Equatable {
        /// Computed from x: the gradient passes through them. `spread` is rstd.
        case batch
        /// Given: constants. `spread` is the variance.
        case running
    }
    public let statistics: Statistics
    public let epsilon: Float
    public let relu: Bool

    public init(_ statistics: Statistics, epsilon: Float = 1e-5, relu: Bool = false) {
        self.statistics = statistics
        self.epsilon = epsilon
        self.relu = relu
    }

    public struct Operands {
        public let x: View
        public let weight: View?
        public let mean: View
        public let spread: View
        /// The forward's output, whose sign is ReLU's mask; needed with `relu` only.
        public let y: View?
        public let dy: View
        public let dx: Output?
        public let dWeight: Output?
        public let dBias: Output?
        public let dResidual: Output?
        public init(
            x: View, weight: View?, mean: View, spread: View, y: View?, dy: View, dx: Output?, dWeight: Output?,
            dBias: Output?, dResidual: Output? = nil
        ) {
            self.x = x
            self.weight = weight
            self.mean = mean
            self.spread = spread
            self.y = y
            self.dy = dy
            self.dx = dx
            self.dWeight = dWeight
            self.dBias = dBias
            self.dResidual = dResidual
        }
    }
    public var name: String { "batch_norm_backward" }
    public func validate(_ o: Operands) throws {
        let images = try Channels(o.x, self)
        try images.require(
            perElement: [("y", o.y), ("dy", o.dy), ("dx", o.dx?.view), ("dResidual", o.dResidual?.view)], self)
        try require(!relu || o.y != nil, "the gradient of ReLU needs y")
        try images.require(
            perChannel: [
                ("weight", o.weight), ("mean", o.mean), ("spread", o.spread), ("dWeight", o.dWeight?.view),
                ("dBias", o.dBias?.view),
            ], self)
    }
    public func cost(_ o: Operands) -> Cost {
        let inputs = relu ? 12 : 8
        let outputs = [o.dx, o.dResidual].compactMap { $0 }.reduce(0) { $0 + ($1.mode == .write ? 4 : 8) }
        return Cost(flops: 12 * Double(o.x.count), bytes: Double(inputs + outputs) * Double(o.x.count))
    }

    /// Whether the sums over the batch are needed.
    func needsSums(_ o: Operands) -> Bool {
        o.dWeight != nil || o.dBias != nil || (statistics == .batch && o.dx != nil)
    }
}

/// A contiguous `[n, channels, ...]` as batch normalisation walks it.
struct Channels {
    let samples: Int
    let channels: Int
    /// Elements of a plane: height · width, or 1.
    let inner: Int

    /// Planes shorter than this fill no vectors; then columns of x seen as `[n, channels · inner]` are walked instead.
    private static let shortPlane = 32
    /// Samples of a column's part, columns of an item: BATCHNORM_BLOCK and BATCHNORM_STRIP of the kernels.
    private static let block = 64
    private static let strip = 64

    init(_ x: View, _ op: some Op) throws {
        guard x.dtype == .f32, x.rank >= 2, x.isContiguous else {
            throw operandError(
                op.name, "x is contiguous f32 [n, channels, ...], not \(x.dtype) \(x.shape), strides \(x.strides)")
        }
        (samples, channels, inner) = (x.shape[0], x.shape[1], x.shape.dropFirst(2).product)
        guard channels > 0, inner > 0, channels * inner <= Int(Int32.max) / 2 else {
            throw operandError(op.name, "x \(x.shape) needs 1 to \(Int32.max / 2) elements per sample")
        }
    }

    func require(perElement views: [(String, View?)], _ op: some Op) throws {
        for case (let label, let view?) in views {
            guard view.dtype == .f32, view.isContiguous, view.shape.starts(with: [samples, channels]),
                view.count == count
            else {
                throw operandError(
                    op.name,
                    "\(label) is contiguous f32 like x, \(samples) x \(channels) x \(inner) elements, not \(view.shape)"
                )
            }
        }
    }

    func require(perChannel views: [(String, View?)], _ op: some Op) throws {
        for case (let label, let view?) in views {
            guard view.dtype == .f32, view.isContiguous, view.count == channels else {
                throw operandError(op.name, "\(label) is contiguous f32 [\(channels)], not \(view.dtype) \(view.shape)")
            }
        }
    }

    var usesColumns: Bool { inner < Self.shortPlane }
    var columns: Int { channels * inner }
    var planes: Int { samples * channels }
    var count: Int { planes * inner }
    /// Neighbouring columns of partials that belong to one channel.
    var fold: Int { usesColumns ? inner : 1 }
    /// Samples of a part. Work-items of a CPU take a plane each, so that memory is read in order; a group of a GPU wants more
    /// elements than a small plane has.
    func samplesPerPart(grouped: Bool) -> Int { usesColumns ? Self.block : grouped ? max(1, 4096 / inner) : 1 }
    /// Planes, or strips of columns: what a CPU's work is counted in.
    var items: Int {
        usesColumns ? (samples + Self.block - 1) / Self.block * ((columns + Self.strip - 1) / Self.strip) : planes
    }
}
