/// How two distributions are compared; P teacher, Q student, both softmax at the op's temperature. `mix` is β or λ.
public enum DivergenceKind: String, Sendable, CaseIterable {
    /// KL(P‖Q) = Σ P (ln P − ln Q).
    case forwardKL = "forward_kl"
    /// −Σ P ln Q: forward KL without the teacher's entropy.
    case forwardCrossEntropy = "forward_ce"
    /// KL(Q‖P).
    case reverseKL = "reverse_kl"
    /// β·KL(P‖M) + (1−β)·KL(Q‖M), M = βP + (1−β)Q; β = 0 means KL(P‖Q), β = 1 means KL(Q‖P) (GKD).
    case jsd = "jsd"
    /// (1−β)·KL(P‖M) + β·KL(Q‖M), same M: continuous at both ends.
    case continuousJSD = "jsd_continuous"
    /// KL(P‖λP + (1−λ)Q) (DistiLLM).
    case skewKL = "skew_kl"
    /// −Σ P ln(λP + (1−λ)Q).
    case skewCrossEntropy = "skew_ce"
    /// KL(Q‖(1−λ)P + λQ) (DistiLLM).
    case skewReverseKL = "skew_reverse_kl"
    /// ½ Σ |P − Q|.
    case totalVariation = "tvd"
    /// (1−λ)·(−Σ P ln Q) + λ·KL(Q‖P).
    case symmetric = "symmetric"
}

extension DivergenceKind {
    /// The plain divergence that a mixture becomes at the ends of its range: exact there, and without logarithms of mixtures.
    func atEnd(_ mix: Float) -> DivergenceKind {
        switch (self, mix) {
        case (.jsd, 0), (.continuousJSD, 0), (.skewKL, 0): .forwardKL
        case (.jsd, 1), (.continuousJSD, 1), (.skewReverseKL, 0): .reverseKL
        case (.skewCrossEntropy, 0): .forwardCrossEntropy
        default: self
        }
    }
}

/// The fused distillation loss: value and gradient of one divergence, mixed with hard labels, in one launch and without a temporary
/// of the logits' size.
///
/// loss[r] = weight[r] · scale · (softWeight · D(P_r, Q_r) + hardWeight · CE_r), CE at temperature 1; gradient = d Σ loss / d student.
/// Fold α·T² into `softWeight` and 1 − α into `hardWeight` for Hinton's loss.
public struct Divergence: Op {
    public let kind: DivergenceKind
    public let mix: Float
    public let temperature: Float
    public let softWeight: Float
    public let hardWeight: Float
    /// What the reported divergence part is multiplied by: T² in Hinton's convention, else 1.
    public let reportedFactor: Float
    public let scale: Float
    public let ignoreIndex: Int32

    public init(
        _ kind: DivergenceKind, mix: Float = 0, temperature: Float = 1, softWeight: Float = 1, hardWeight: Float = 0,
        reportedFactor: Float = 1, scale: Float = 1, ignoreIndex: Int32 = -100
    ) {
        self.kind = kind.atEnd(mix)
        self.mix = mix
        self.temperature = temperature
        self.softWeight = softWeight
        self.hardWeight = hardWeight
        self.reportedFactor = reportedFactor
        self.scale = scale
        self.ignoreIndex = ignoreIndex
    }

    public struct Operands {
        /// `[..., classes]`.
        public let student: View
        /// `[..., classes]`, never differentiated.
        public let teacher: View
        /// Int32 `[rows]`; needed when `hardWeight` is not 0.
        public let labels: View?
        /// `[rows]`; 0 masks a row: no loss, zero gradient, whatever its logits hold.
        public let rowWeights: View?
        /// `[rows]` each.
        public let loss: View
        public let divergence: View
        public let crossEntropy: View
        /// `[..., classes]`; may be the student's own buffer.
        public let gradient: View?

        public init(
            student: View, teacher: View, labels: View?, rowWeights: View?, loss: View, divergence: View,
            crossEntropy: View,
            gradient: View?
        ) {
            self.student = student
            self.teacher = teacher
            self.labels = labels
            self.rowWeights = rowWeights
            self.loss = loss
            self.divergence = divergence
            self.crossEntropy = crossEntropy
            self.gradient = gradient
        }
    }
    public var name: String { "divergence_" + kind.rawValue }
    public func validate(_ o: Operands) throws {
        try requireF32(("student", o.student), ("teacher", o.teacher), ("loss", o.loss))
        let student = try rows(o.student, "student")
        let teacher = try rows(o.teacher, "teacher")
        try require(
            student.columns == teacher.columns && student.rows == teacher.rows,
            "student \(o.student.shape) and teacher \(o.teacher.shape) differ; vocabularies are never padded")
        try require(temperature > 0, "temperature \(temperature) is not positive")
        try require(mix >= 0 && mix <= 1, "mix \(mix) is outside [0, 1]")
        for view in [o.loss, o.divergence, o.crossEntropy] {
            try require(view.isContiguous && view.count == student.rows, "parts are [\(student.rows)]")
        }
        if let labels = o.labels {
            try require(
                labels.dtype == .i32 && labels.isContiguous && labels.count == student.rows,
                "labels are i32 [\(student.rows)]")
        }
        try require(hardWeight == 0 || o.labels != nil, "hard labels are weighed but absent")
        if let weights = o.rowWeights {
            try require(
                weights.dtype == .f32 && weights.isContiguous && weights.count == student.rows,
                "row weights are [\(student.rows)]")
        }
        if let gradient = o.gradient {
            try require(try rows(gradient, "gradient").columns == student.columns, "gradient is like student")
        }
    }
    /// Rows of exponentials that a worker keeps (divergence.cl): forward kinds with a gradient keep the teacher's, and the student's at
    /// temperature 1 where hard labels need them.
    func keptRows(_ o: Operands) -> Int {
        guard o.gradient != nil, kind == .forwardKL || kind == .forwardCrossEntropy else { return 0 }
        return o.labels != nil && temperature != 1 ? 2 : 1
    }

    public func cost(_ o: Operands) -> Cost {
        Cost(flops: 15 * Double(o.student.count), bytes: (o.gradient == nil ? 8 : 12) * Double(o.student.count))
    }
}
