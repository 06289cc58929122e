import RetortKernels

/// What is known of a teacher's predictions when not all of them were kept: of each row (token) its likeliest classes, and what the others
/// weigh together. Constants, off the tape.
public struct SparseTeacher {
    /// Int32 `[rows, k]`, ascending in each row; a row that keeps fewer ends with numbers of `classes` or more.
    public let ids: View
    /// `[rows, k]`: log-probabilities or logits at temperature 1, but for a constant of the row.
    public let values: View
    public let classes: Int
    /// ln Σ e^(value / T) over the other classes, against the same constant, of each row at a temperature.
    private let tails: (Float) throws -> View

    /// - Parameters:
    ///   - ids: `[rows, k]`, row-major.
    ///   - values: as many.
    ///   - classes: of the teacher's whole vocabulary.
    ///   - tails: `[rows]` numbers for a temperature; −∞ where there is nothing.
    /// - Throws: `TensorError` for sizes that do not fit, and ids that do not ascend.
    public init(
        ids: [Int32], values: [Float], rows: Int, classes: Int, on device: Device,
        tails: @escaping (Float) throws -> [Float]
    ) throws {
        guard rows > 0, ids.count == values.count, ids.count % rows == 0, ids.count >= rows, classes > 0 else {
            throw TensorError("\(ids.count) kept classes and \(values.count) values for \(rows) rows of \(classes)")
        }
        let k = ids.count / rows
        for start in stride(from: 0, to: ids.count, by: k) {
            let row = ids[start..<(start + k)]
            let isAscending = zip(row, row.dropFirst()).allSatisfy { $0 < $1 || $0 >= classes }
            guard isAscending, row[start] >= 0 else { throw TensorError("kept classes that do not ascend: \(row)") }
        }
        self.ids = try device.compute.view(ids, [rows, k], .i32)
        self.values = try device.compute.view(values, [rows, k])
        self.classes = classes
        self.tails = { temperature in
            let numbers = try tails(temperature)
            guard numbers.count == rows else { throw TensorError("\(numbers.count) tails for \(rows) rows") }
            return try device.compute.view(numbers, [rows])
        }
    }

    public var rows: Int { ids.shape[0] }

    /// `[rows]`.
    func tail(at temperature: Float) throws -> View { try tails(temperature) }
}

extension Tensor {
    /// A divergence from a teacher of whom only the likeliest classes are known, mixed with hard labels, chunk by chunk as
    /// `chunkedDivergence`; see `SparseDivergence` for what it is of the divergence over all classes.
    ///
    /// - Parameters:
    ///   - head: of the student.
    ///   - teacher: as many rows and classes.
    ///   - labels: int32 `[rows]`. Needed for the hard part; with them the cross entropy is reported.
    ///   - rowWeights: `[rows]`; 0 masks a row.
    /// - Throws: `TensorError` for what does not fit, `KernelError` for an impossible op.
    public func chunkedDivergence(
        _ op: SparseDivergence, head: OutputHead, teacher: SparseTeacher, labels: View? = nil, rowWeights: View? = nil,
        chunk: ChunkSize = .automatic, headGradient: HeadGradient = .held
    ) throws -> ChunkedLoss {
        let rows = try head.rows(of: self).shape[0]
        guard teacher.rows == rows, teacher.classes == head.classes else {
            throw TensorError(
                "a teacher of \(teacher.rows) rows and \(teacher.classes) classes for a student of \(rows) and \(head.classes); "
                    + "vocabularies are never padded")
        }
        let labels = try labels.map { try $0.column(of: rows, "labels") }
        let rowWeights = try rowWeights.map { try $0.column(of: rows, "row weights") }
        let tail = try teacher.tail(at: op.temperature)
        let parts = (try device.empty([rows]), try device.empty([rows]))
        let run = try ChunkRun(self, head, teacher: nil, chunk, headGradient)
        let loss = try run.chunks { student, _, range, loss, gradient in
            try RetortKernels.run(
                op,
                .init(
                    student: student, ids: teacher.ids.slice(range), values: teacher.values.slice(range),
                    tail: tail.slice(range), labels: labels?.slice(range), rowWeights: rowWeights?.slice(range),
                    loss: loss, divergence: parts.0.slice(range), crossEntropy: parts.1.slice(range),
                    gradient: gradient), on: device)
        }
        let total = try run.total(of: loss)
        let fused = FusedLoss(
            total: total, perRow: Tensor(loss, device), divergence: Tensor(parts.0, device),
            crossEntropy: Tensor(parts.1, device))
        return ChunkedLoss(
            total: total, divergence: try run.weighted(parts.0, rowWeights, op.scale),
            crossEntropy: labels == nil ? nil : try run.weighted(parts.1, rowWeights, op.scale), rows: fused)
    }
}
