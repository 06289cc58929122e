import RetortKernels

/// A fused loss: its scalar, and the parts of it per row for reports.
public struct FusedLoss {
    /// The weighted total, on the tape.
    public let total: Tensor
    /// Per row `[rows]`, off the tape.
    public let perRow: Tensor
    /// The divergence alone, temperature factor included, before its weight; `[rows]`.
    public let divergence: Tensor?
    /// The cross entropy alone at temperature 1, before its weight; `[rows]`.
    public let crossEntropy: Tensor?
}

extension Tensor {
    /// Cross entropy of logits `[rows, classes]` against int32 labels `[rows]`, gradient computed in the same launch.
    ///
    /// - `rowWeights`: `[rows]`, e.g. valid / number of valid for a token mean (`tokenWeights`); nil weights each row with `scale`.
    /// - `classWeights`: `[classes]`; as `torch.nn.functional.cross_entropy`'s weight.
    /// - `scale`: 1 / rows for the mean over rows.
    public func crossEntropy(
        _ labels: View, rowWeights: View? = nil, classWeights: View? = nil, ignoreIndex: Int32 = -100,
        labelSmoothing: Float = 0, scale: Float
    ) throws -> FusedLoss {
        try fusedLoss { logits, loss, gradient in
            try run(
                CrossEntropy(ignoreIndex: ignoreIndex, labelSmoothing: labelSmoothing, scale: scale),
                .init(
                    logits: logits, labels: labels, rowWeights: rowWeights, classWeights: classWeights, loss: loss,
                    gradient: gradient), on: device)
            return nil
        }
    }

    /// Cross entropy row by row, `[rows]`, for losses that weigh rows in their own way; ignored rows are 0. Parameters as above.
    public func crossEntropyPerRow(
        _ labels: View, classWeights: View? = nil, ignoreIndex: Int32 = -100, labelSmoothing: Float = 0
    ) throws -> Tensor {
        guard rank >= 1 else { throw TensorError("a loss takes logits [rows, classes]; this tensor is a scalar") }
        let logits = view.rows == nil ? try contiguousView() : view
        let classes = shape[rank - 1]
        let rows = count / Swift.max(1, classes)
        let loss = try device.empty([rows])
        let gradient = Autograd.isRecording && node != nil ? try device.empty([rows, classes]) : nil
        try run(
            CrossEntropy(ignoreIndex: ignoreIndex, labelSmoothing: labelSmoothing),
            .init(logits: logits, labels: labels, classWeights: classWeights, loss: loss, gradient: gradient),
            on: device)
        return Tensor.recorded(loss, device, from: [self]) { [input = node] node, upstream in
            let weights = try node.dense(upstream).reshaped([rows, 1])
            let sink = try input!.sink().reshaped([rows, classes])
            try run(Binary(.multiply), .init(a: gradient!, b: weights, y: sink), on: node.device)
        }
    }

    /// Cross entropy against target probabilities `[rows, classes]`.
    public func crossEntropy(probabilities: View, labelSmoothing: Float = 0, scale: Float) throws -> FusedLoss {
        try fusedLoss { logits, loss, gradient in
            try run(
                SoftCrossEntropy(labelSmoothing: labelSmoothing, scale: scale),
                .init(logits: logits, targets: probabilities, rowWeights: nil, loss: loss, gradient: gradient),
                on: device)
            return nil
        }
    }

    /// A divergence between teacher and student `[rows, classes]`, mixed with hard labels in the same pass, gradient included.
    /// See `Divergence` for the formula and the meaning of each weight.
    public func divergence(
        _ op: Divergence, teacher: View, labels: View? = nil, rowWeights: View? = nil
    ) throws -> FusedLoss {
        try fusedLoss { student, loss, gradient in
            let parts = (try device.empty(loss.shape), try device.empty(loss.shape))
            try run(
                op,
                .init(
                    student: student, teacher: teacher, labels: labels, rowWeights: rowWeights, loss: loss,
                    divergence: parts.0, crossEntropy: parts.1, gradient: gradient), on: device)
            return parts
        }
    }

    /// A divergence from a teacher of whom only the likeliest classes of each row are known, mixed with hard labels in the same pass,
    /// gradient included. See `SparseDivergence` for the formula and what becomes of the other classes.
    public func divergence(
        _ op: SparseDivergence, teacher: SparseTeacher, labels: View? = nil, rowWeights: View? = nil
    ) throws -> FusedLoss {
        try fusedLoss { student, loss, gradient in
            let parts = (try device.empty(loss.shape), try device.empty(loss.shape))
            try run(
                op,
                .init(
                    student: student, ids: teacher.ids, values: teacher.values,
                    tail: try teacher.tail(at: op.temperature),
                    labels: labels, rowWeights: rowWeights, loss: loss, divergence: parts.0, crossEntropy: parts.1,
                    gradient: gradient), on: device)
            return parts
        }
    }

    /// Row weights for a mean over valid labels: 1 / (number of labels ≠ ignoreIndex), 0 for the others. With class weights the
    /// divisor is the sum of the valid labels' weights, as in PyTorch's weighted mean.
    /// - `divisor`: divides instead of these labels' own number: that of the whole batch, where it comes in parts; 1 for a sum.
    public static func tokenWeights(
        _ labels: View, classWeights: View? = nil, ignoreIndex: Int32 = -100, divisor: Float? = nil, on device: Device
    ) throws -> View {
        let weights = try device.compute.empty(labels.shape)
        try run(
            TokenWeights(ignoreIndex: ignoreIndex, divisor: divisor),
            .init(labels: labels, classWeights: classWeights, weights: weights), on: device.compute)
        return weights
    }

    /// Runs a kernel that yields a loss per row and, when the tape wants it, the gradient of their sum; then sums the rows.
    private func fusedLoss(_ kernel: (View, View, View?) throws -> (divergence: View, crossEntropy: View)?) throws
        -> FusedLoss
    {
        guard rank >= 1 else { throw TensorError("a loss takes logits [rows, classes]; this tensor is a scalar") }
        let logits = view.rows == nil ? try contiguousView() : view
        let wanted = Autograd.isRecording && node != nil
        let rows = count / Swift.max(1, shape[rank - 1])
        let loss = try device.empty([rows])
        let gradient = wanted ? try device.empty(shape) : nil
        let parts = try kernel(logits, loss, gradient)
        let total = try device.empty([1])
        try run(Reduce(.sum), .init(x: loss, axis: 0, y: .write(total)), on: device)
        let tensor = Tensor.recorded(total.reshaped([]), device, from: [self]) { [input = node] node, upstream in
            switch upstream {
            case .constant(1): try input!.give(.view(gradient!))
            case .constant(let factor):
                try run(Scale(factor), .init(x: gradient!, y: try input!.sink()), on: node.device)
            case .view(let factor), .shared(let factor):
                try run(Binary(.multiply), .init(a: gradient!, b: factor, y: try input!.sink()), on: node.device)
            }
        }
        return FusedLoss(
            total: tensor, perRow: Tensor(loss, device), divergence: parts.map { Tensor($0.divergence, device) },
            crossEntropy: parts.map { Tensor($0.crossEntropy, device) })
    }
}
