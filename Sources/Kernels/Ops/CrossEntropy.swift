/// Cross entropy of logits against labels, value and gradient in one launch, PyTorch's conventions for class weights, smoothing and
/// ignored labels: loss[r] = f · ((1−e)·w_y·(L − x_y) + e/C · Σ w_c (L − x_c)), L = log Σ exp(x), f = rowWeights[r] · scale.
/// An ignored row has loss 0 and a zero gradient. Labels outside 0..<classes give NaN: check them before they come here.
public struct CrossEntropy: Op {
    public let ignoreIndex: Int32
    public let labelSmoothing: Float
    public let scale: Float

    public init(ignoreIndex: Int32 = -100, labelSmoothing: Float = 0, scale: Float = 1) {
        self.ignoreIndex = ignoreIndex
        self.labelSmoothing = labelSmoothing
        self.scale = scale
    }

    public struct Operands {
        /// `[..., classes]`.
        public let logits: View
        /// Int32 `[rows]`.
        public let labels: View
        /// `[rows]`.
        public let rowWeights: View?
        /// `[classes]`.
        public let classWeights: View?
        /// `[rows]`.
        public let loss: View
        /// `[..., classes]`; may be the logits' own buffer.
        public let gradient: View?

        public init(
            logits: View, labels: View, rowWeights: View? = nil, classWeights: View? = nil, loss: View, gradient: View?
        ) {
            self.logits = logits
            self.labels = labels
            self.rowWeights = rowWeights
            self.classWeights = classWeights
            self.loss = loss
            self.gradient = gradient
        }
    }
    public var name: String { "cross_entropy" }
    public func validate(_ o: Operands) throws {
        try requireF32(("logits", o.logits), ("loss", o.loss))
        let r = try rows(o.logits, "logits")
        try require(
            o.labels.dtype == .i32 && o.labels.isContiguous && o.labels.count == r.rows, "labels are i32 [\(r.rows)]")
        try requireLoss(o.loss, o.rowWeights, o.classWeights, o.gradient, r)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 6 * Double(o.logits.count), bytes: (o.gradient == nil ? 4 : 8) * Double(o.logits.count))
    }
}

/// Cross entropy against target probabilities: loss[r] = f · Σ w_c · t_c · (L − x_c), t smoothed.
public struct SoftCrossEntropy: Op {
    public let labelSmoothing: Float
    public let scale: Float
    public init(labelSmoothing: Float = 0, scale: Float = 1) {
        self.labelSmoothing = labelSmoothing
        self.scale = scale
    }

    public struct Operands {
        public let logits: View
        /// `[..., classes]`.
        public let targets: View
        public let rowWeights: View?
        public let classWeights: View?
        public let loss: View
        public let gradient: View?
        public init(
            logits: View, targets: View, rowWeights: View? = nil, classWeights: View? = nil, loss: View, gradient: View?
        ) {
            self.logits = logits
            self.targets = targets
            self.rowWeights = rowWeights
            self.classWeights = classWeights
            self.loss = loss
            self.gradient = gradient
        }
    }
    public var name: String { "cross_entropy_soft" }
    public func validate(_ o: Operands) throws {
        try requireF32(("logits", o.logits), ("targets", o.targets), ("loss", o.loss))
        let r = try rows(o.logits, "logits")
        let t = try rows(o.targets, "targets")
        try require(
            r.rows == t.rows && r.columns == t.columns, "logits \(o.logits.shape) and targets \(o.targets.shape) differ"
        )
        try requireLoss(o.loss, o.rowWeights, o.classWeights, o.gradient, r)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 6 * Double(o.logits.count), bytes: (o.gradient == nil ? 8 : 12) * Double(o.logits.count))
    }
}

extension Op {
    fileprivate func requireLoss(_ loss: View, _ rowWeights: View?, _ classWeights: View?, _ gradient: View?, _ r: Rows)
        throws
    {
        try require(loss.isContiguous && loss.count == r.rows, "loss is [\(r.rows)]")
        try require(
            rowWeights.map { $0.isContiguous && $0.count == r.rows && $0.dtype == .f32 } ?? true,
            "row weights are [\(r.rows)]")
        try require(
            classWeights.map { $0.isContiguous && $0.count == r.columns && $0.dtype == .f32 } ?? true,
            "class weights are [\(r.columns)]")
        if let gradient {
            let g = try rows(gradient, "gradient")
            try require(g.rows == r.rows && g.columns == r.columns, "gradient \(gradient.shape) is not like the logits")
        }
    }
}

/// Row weights of a mean over valid labels: weights[r] = 1 / Σ w_y over rows whose label is not ignored, 0 for the others.
public struct TokenWeights: Op {
    static let block = 1024
    public let ignoreIndex: Int32
    /// Takes the sum's place where it is known: labels that are a part of a batch.
    public let divisor: Float?
    public init(ignoreIndex: Int32 = -100, divisor: Float? = nil) {
        self.ignoreIndex = ignoreIndex
        self.divisor = divisor
    }

    public struct Operands {
        public let labels: View
        public let classWeights: View?
        public let weights: View
        public init(labels: View, classWeights: View?, weights: View) {
            self.labels = labels
            self.classWeights = classWeights
            self.weights = weights
        }
    }
    public var name: String { "token_weights" }
    public func validate(_ o: Operands) throws {
        try require(o.labels.dtype == .i32 && o.labels.isContiguous, "labels are contiguous i32")
        try require(
            o.weights.dtype == .f32 && o.weights.isContiguous && o.weights.count == o.labels.count,
            "weights are like labels")
        try require(
            divisor.map { $0 > 0 && $0.isFinite } ?? true, "the divisor \(divisor ?? 0) is not a positive number")
    }
    public func cost(_ o: Operands) -> Cost { Cost(bytes: 12 * Double(o.labels.count)) }
}
