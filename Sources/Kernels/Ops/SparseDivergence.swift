/// What becomes of the classes that a teacher's top-k list leaves out.
public enum SparseTail: Int, Sendable, CaseIterable {
    /// They are one outcome more on both sides, with the mass that the teacher gave them together: a lower bound of the divergence over
    /// all classes, never negative.
    case bucket = 0
    /// The teacher's kept classes are normalised among themselves, the student over all; forward kinds only.
    case renormalizedTeacher = 1
    /// Both are normalised over the kept classes; the others get no soft gradient.
    case renormalizedBoth = 2
    /// The sum over the kept classes, and nothing for the others: may be negative; forward kinds only.
    case truncated = 3
}

extension DivergenceKind {
    /// Its number in kernels.
    var number: Int { Self.allCases.firstIndex(of: self) ?? 0 }

    /// Kinds that weigh logarithms with the teacher's probabilities alone: what the teacher leaves out adds nothing.
    public var isForward: Bool { self == .forwardKL || self == .forwardCrossEntropy }
}

/// The fused distillation loss from a teacher of whom only the likeliest classes of each row are known, and what the others weigh
/// together: value and gradient of one divergence over these k + 1 outcomes, mixed with hard labels, in one launch.
///
/// loss[r] = weight[r] · scale · (softWeight · D(P_r, Q_r) + hardWeight · CE_r), as `Divergence`. By the chain rule KL over all classes is
/// KL over the outcomes plus the rest's mass times KL within the rest.
public struct SparseDivergence: Op {
    public let kind: DivergenceKind
    public let tail: SparseTail
    public let mix: Float
    public let temperature: Float
    public let softWeight: Float
    public let hardWeight: Float
    /// What the reported divergence part is multiplied by: T² in Hinton's convention, else 1.
    public let reportedFactor: Float
    public let scale: Float
    public let ignoreIndex: Int32

    public init(
        _ kind: DivergenceKind, tail: SparseTail = .bucket, mix: Float = 0, temperature: Float = 1,
        softWeight: Float = 1, hardWeight: Float = 0, reportedFactor: Float = 1, scale: Float = 1,
        ignoreIndex: Int32 = -100
    ) {
        self.kind = kind.atEnd(mix)
        self.tail = tail
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
        /// Int32 `[rows, k]`: the kept classes, ascending; rows that keep fewer end with numbers of `classes` or more.
        public let ids: View
        /// `[rows, k]`: their log-probabilities or logits at temperature 1, but for a constant of the row.
        public let values: View
        /// `[rows]`: against the same constant, ln Σ e^(value / T) over the other classes; −∞ where there is nothing.
        public let tail: View
        /// Int32 `[rows]`; needed when `hardWeight` is not 0.
        public let labels: View?
        /// `[rows]`; 0 masks a row: no loss, zero gradient, whatever stands there.
        public let rowWeights: View?
        /// `[rows]` each.
        public let loss: View
        public let divergence: View
        public let crossEntropy: View
        /// `[..., classes]`; may be the student's own buffer.
        public let gradient: View?

        public init(
            student: View, ids: View, values: View, tail: View, labels: View?, rowWeights: View?, loss: View,
            divergence: View, crossEntropy: View, gradient: View?
        ) {
            self.student = student
            self.ids = ids
            self.values = values
            self.tail = tail
            self.labels = labels
            self.rowWeights = rowWeights
            self.loss = loss
            self.divergence = divergence
            self.crossEntropy = crossEntropy
            self.gradient = gradient
        }
    }
    public var name: String { "sparse_divergence" }
    public func validate(_ o: Operands) throws {
        try requireF32(("student", o.student), ("values", o.values), ("tail", o.tail), ("loss", o.loss))
        let student = try rows(o.student, "student")
        try require(
            o.ids.dtype == .i32 && o.ids.shape == o.values.shape && o.ids.isContiguous && o.values.isContiguous,
            "ids are contiguous i32, like values")
        try require(
            o.ids.shape.count == 2 && o.ids.shape[0] == student.rows && o.ids.shape[1] >= 1,
            "ids \(o.ids.shape) are [\(student.rows), k]")
        try require(temperature > 0, "temperature \(temperature) is not positive")
        try require(mix >= 0 && mix <= 1, "mix \(mix) is outside [0, 1]")
        try require(
            tail == .bucket || tail == .renormalizedBoth || kind.isForward,
            "\(kind.rawValue) compares what the student gives the classes that the teacher leaves out")
        for view in [o.tail, o.loss, o.divergence, o.crossEntropy] {
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

    public func cost(_ o: Operands) -> Cost {
        Cost(
            flops: 10 * Double(o.student.count) + 40 * Double(o.ids.count),
            bytes: (o.gradient == nil ? 4 : 8) * Double(o.student.count) + 8 * Double(o.ids.count))
    }
}
