import RetortKernels

/// A loss of all tokens over all classes that never holds more than one chunk of rows × classes.
public struct ChunkedLoss {
    /// The weighted total, on the tape.
    public let total: Tensor
    /// What logs call the loss's parts, off the tape: Σ row weight · scale · part. For a mean over tokens these are the token means.
    /// The divergence with its temperature factor, before its weight.
    public let divergence: Tensor?
    /// At temperature 1, before its weight; where there are labels.
    public let crossEntropy: Tensor?
    /// Per row `[rows]`, off the tape; its total is this one's.
    public let rows: FusedLoss
}

/// Where the gradient of a chunked loss to its head waits for backward.
public enum HeadGradient: Sendable {
    /// In memory of the head's size.
    case held
    /// In the parameter's own gradient, as soon as the loss is computed: no memory, no pass. The caller promises that backward follows from
    /// a total that this loss is added to with factor 1, and that gradients are not cleared between; another factor is refused. A head that
    /// is not itself a parameter (rows gathered from one) is held.
    case added
}

extension Tensor {
    /// A divergence between a teacher and the student whose hidden states these are, mixed with hard labels, over the classes of `head`,
    /// chunk by chunk: products, loss and gradient of one chunk before the next. Values and gradients are those of
    /// `head.logits(self).divergence(…)`; all gradients are computed here, and backward only scales them where it must.
    ///
    /// - `op`: see `Divergence`. `scale` 1 / tokens for a mean over a batch, 1 for row weights that hold it (`tokenWeights`).
    /// - `head`: of the student. A tied head's gradient is added to the embedding's.
    /// - `teacher`: as many rows and classes.
    /// - `labels`: int32 `[rows]`, the class that each row predicts. Needed for the hard part; with them the cross entropy is reported.
    /// - `rowWeights`: `[rows]`; 0 masks a row.
    /// - Throws: `TensorError` for what does not fit, `KernelError` for an impossible op.
    public func chunkedDivergence(
        _ op: Divergence, head: OutputHead, teacher: some LogitSource, labels: View? = nil, rowWeights: View? = nil,
        chunk: ChunkSize = .automatic, headGradient: HeadGradient = .held
    ) throws -> ChunkedLoss {
        try chunkedDivergence(
            of: (teacher.rows, teacher.classes), head, logits: teacher, labels, rowWeights, scale: op.scale, chunk,
            headGradient
        ) { student, part in
            try run(
                op,
                .init(
                    student: student, teacher: part.teacher ?? student, labels: part.labels,
                    rowWeights: part.rowWeights, loss: part.loss, divergence: part.divergence,
                    crossEntropy: part.crossEntropy, gradient: part.gradient), on: device)
        }
    }

    /// What divergences by chunks have in common: checks, the memory of their parts, and what is made of them.
    /// - Parameters:
    ///   - teacher: its rows and classes.
    ///   - logits: of the teacher; nil where the kernel knows it otherwise.
    func chunkedDivergence(
        of teacher: (rows: Int, classes: Int), _ head: OutputHead, logits: (any LogitSource)?, _ labels: View?,
        _ rowWeights: View?, scale: Float, _ chunk: ChunkSize, _ headGradient: HeadGradient,
        _ kernel: (_ student: View, DivergenceChunk) throws -> Void
    ) throws -> ChunkedLoss {
        let rows = try head.rows(of: self).shape[0]
        guard teacher.rows == rows, teacher.classes == head.classes else {
            throw TensorError(
                "a teacher of \(teacher.rows) rows and \(teacher.classes) classes for a student of \(rows) and \(head.classes); "
                    + "vocabularies are never padded, but narrowed to what both know")
        }
        let labels = try labels.map { try $0.column(of: rows, "labels") }
        let rowWeights = try rowWeights.map { try $0.column(of: rows, "row weights") }
        let parts = (try device.empty([rows]), try device.empty([rows]))
        let run = try ChunkRun(self, head, teachers: logits.map { [$0] } ?? [], chunk, headGradient)
        let loss = try run.chunks { student, teachers, range, loss, gradient in
            try kernel(
                student,
                DivergenceChunk(
                    range: range, teacher: teachers.first, labels: labels?.slice(range),
                    rowWeights: rowWeights?.slice(range),
                    loss: loss, divergence: parts.0.slice(range), crossEntropy: parts.1.slice(range), gradient: gradient
                ))
        }
        let total = try run.total(of: loss)
        let fused = FusedLoss(
            total: total, perRow: Tensor(loss, device), divergence: Tensor(parts.0, device),
            crossEntropy: Tensor(parts.1, device))
        return ChunkedLoss(
            total: total, divergence: try run.weighted(parts.0, rowWeights, scale),
            crossEntropy: labels == nil ? nil : try run.weighted(parts.1, rowWeights, scale), rows: fused)
    }

    /// Cross entropy over the classes of `head` against int32 labels `[rows]`, chunk by chunk as `chunkedDivergence`; see
    /// `crossEntropy(_:rowWeights:classWeights:ignoreIndex:labelSmoothing:scale:)`.
    public func chunkedCrossEntropy(
        _ labels: View, head: OutputHead, rowWeights: View? = nil, ignoreIndex: Int32 = -100, labelSmoothing: Float = 0,
        scale: Float, chunk: ChunkSize = .automatic, headGradient: HeadGradient = .held
    ) throws -> ChunkedLoss {
        let op = CrossEntropy(ignoreIndex: ignoreIndex, labelSmoothing: labelSmoothing, scale: scale)
        let rows = try head.rows(of: self).shape[0]
        let labels = try labels.column(of: rows, "labels")
        let rowWeights = try rowWeights.map { try $0.column(of: rows, "row weights") }
        let run = try ChunkRun(self, head, teachers: [], chunk, headGradient)
        let loss = try run.chunks { logits, _, range, loss, gradient in
            try RetortKernels.run(
                op,
                .init(
                    logits: logits, labels: labels.slice(range), rowWeights: rowWeights?.slice(range), loss: loss,
                    gradient: gradient), on: device)
        }
        let total = try run.total(of: loss)
        return ChunkedLoss(
            total: total, divergence: nil, crossEntropy: total.detached,
            rows: FusedLoss(total: total, perRow: Tensor(loss, device), divergence: nil, crossEntropy: nil))
    }
}

/// What a divergence sees of a chunk, beside the student's logits.
struct DivergenceChunk {
    let range: Range<Int>
    /// `[range.count, classes]`.
    let teacher: View?
    /// `[range.count]` each.
    let labels: View?
    let rowWeights: View?
    let loss: View
    let divergence: View
    let crossEntropy: View
    let gradient: View?
}

extension View {
    /// One number for each row, as `[rows]`.
    func column(of rows: Int, _ what: String) throws -> View {
        guard count == rows, isContiguous else {
            throw TensorError("\(what) of shape \(shape) for \(rows) rows of hidden states")
        }
        return reshapedIfNeeded([rows])
    }
}
