import Foundation

/// One step of stochastic gradient descent over a flat array, PyTorch's formula: g ← factor·g + weightDecay·p;
/// m ← momentum·m + (1 − dampening)·g (m ← g at the first step); p −= lr · (nesterov ? g + momentum·m : m).
public struct SGDUpdate: Op {
    public struct Options: Sendable, Equatable {
        public var momentum: Float
        public var dampening: Float
        public var nesterov: Bool
        public var weightDecay: Float
        public init(momentum: Float = 0, dampening: Float = 0, nesterov: Bool = false, weightDecay: Float = 0) {
            self.momentum = momentum
            self.dampening = dampening
            self.nesterov = nesterov
            self.weightDecay = weightDecay
        }
    }
    let options: Options
    let learningRate: Float
    let isFirstStep: Bool

    public init(_ options: Options, learningRate: Float, isFirstStep: Bool) {
        self.options = options
        self.learningRate = learningRate
        self.isFirstStep = isFirstStep
    }

    public struct Operands {
        public let values: View
        public let gradients: View
        public let momentum: View?
        /// `[1]`, multiplies the gradient.
        public let factor: View
        /// Int32 `[1]`; not 0 leaves everything as it is.
        public let skip: View
        public init(values: View, gradients: View, momentum: View?, factor: View, skip: View) {
            self.values = values
            self.gradients = gradients
            self.momentum = momentum
            self.factor = factor
            self.skip = skip
        }
    }
    public var name: String { "sgd" }
    public func validate(_ o: Operands) throws {
        try require(
            o.values.isContiguous && o.gradients.isContiguous && o.values.count == o.gradients.count,
            "flat arrays of one length")
        try require(options.momentum == 0 || o.momentum?.count == o.values.count, "momentum needs its buffer")
        try require(o.skip.dtype == .i32 && o.factor.dtype == .f32, "factor is f32, skip is i32")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 6 * Double(o.values.count), bytes: (options.momentum == 0 ? 12 : 20) * Double(o.values.count))
    }
}

/// One step of Adam or AdamW over a flat array, PyTorch's formula.
public struct AdamUpdate: Op {
    public struct Options: Sendable, Equatable {
        public var beta1: Double
        public var beta2: Double
        public var epsilon: Float
        public var weightDecay: Float
        /// AdamW: decay shrinks the weights; Adam: it is added to the gradient.
        public var decoupled: Bool
        public var amsgrad: Bool
        public init(
            beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Float = 1e-8, weightDecay: Float = 0,
            decoupled: Bool = false,
            amsgrad: Bool = false
        ) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.decoupled = decoupled
            self.amsgrad = amsgrad
        }
    }
    let options: Options
    let learningRate: Float
    /// Counted from 1.
    let step: Int

    public init(_ options: Options, learningRate: Float, step: Int) {
        self.options = options
        self.learningRate = learningRate
        self.step = step
    }

    public struct Operands {
        public let values: View
        public let gradients: View
        public let first: View
        public let second: View
        public let secondMaximum: View?
        public let factor: View
        public let skip: View
        public init(
            values: View, gradients: View, first: View, second: View, secondMaximum: View?, factor: View, skip: View
        ) {
            self.values = values
            self.gradients = gradients
            self.first = first
            self.second = second
            self.secondMaximum = secondMaximum
            self.factor = factor
            self.skip = skip
        }
    }
    public var name: String { options.decoupled ? "adamw" : "adam" }
    public func validate(_ o: Operands) throws {
        let arrays = [o.values, o.gradients, o.first, o.second] + (o.secondMaximum.map { [$0] } ?? [])
        try require(
            arrays.allSatisfy { $0.isContiguous && $0.count == o.values.count && $0.dtype == .f32 },
            "flat f32 arrays of one length")
        try require(!options.amsgrad || o.secondMaximum != nil, "amsgrad needs the maximum of the second moment")
        try require(o.skip.dtype == .i32 && o.factor.dtype == .f32, "factor is f32, skip is i32")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 15 * Double(o.values.count), bytes: (options.amsgrad ? 36 : 28) * Double(o.values.count))
    }

    // Corrections in double: 1 − β₂ᵗ loses digits in single precision for the first steps.
    var stepSize: Float { Float(Double(learningRate) / (1 - pow(options.beta1, Double(step)))) }
    var secondCorrection: Float { Float((1 - pow(options.beta2, Double(step))).squareRoot()) }
}

/// The norm of all gradients and what follows from it: factor = min(1, maximum / (norm + 1e-6)) as PyTorch's `clip_grad_norm_`, or 1
/// when maximum ≤ 0; skip = norm is not finite; nonFinite += skip. Nothing goes to the host.
public struct GradientNorm: Op {
    /// Elements that are summed into one partial, in a fixed order.
    static let block = 4096
    public let maximum: Float
    public init(maximum: Float) { self.maximum = maximum }

    public struct Operands {
        public let gradients: View
        public let norm: View
        public let factor: View
        public let skip: View
        public let nonFinite: View
        public init(gradients: View, norm: View, factor: View, skip: View, nonFinite: View) {
            self.gradients = gradients
            self.norm = norm
            self.factor = factor
            self.skip = skip
            self.nonFinite = nonFinite
        }
    }
    public var name: String { "gradient_norm" }
    public func validate(_ o: Operands) throws {
        try require(o.gradients.isContiguous && o.gradients.dtype == .f32, "gradients must be one flat f32 array")
        try require(o.skip.dtype == .i32 && o.nonFinite.dtype == .i32, "skip and nonFinite are i32")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 2 * Double(o.gradients.count), bytes: 4 * Double(o.gradients.count))
    }
}

/// average ← decay · average + (1 − decay) · value: the weights of an EMA teacher. Contiguous.
public struct MovingAverage: Op {
    public let decay: Double
    public init(decay: Double) { self.decay = decay }
    public struct Operands {
        public let average: View
        public let values: View
        public init(average: View, values: View) {
            self.average = average
            self.values = values
        }
    }
    public var name: String { "moving_average" }
    public func validate(_ o: Operands) throws {
        try requireF32(("average", o.average), ("values", o.values))
        try require(
            o.average.isContiguous && o.values.isContiguous && o.average.count == o.values.count,
            "flat arrays of one length")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 2 * Double(o.values.count), bytes: 12 * Double(o.values.count))
    }
}
