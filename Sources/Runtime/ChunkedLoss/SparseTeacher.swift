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

    /// - `ids`: `[rows, k]`, row-major.
    /// - `values`: as many.
    /// - `classes`: of the teacher's whole vocabulary.
    /// - `tails`: `[rows]` numbers for a temperature; −∞ where there is nothing.
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

    private init(ids: View, values: View, classes: Int, tails: @escaping (Float) throws -> View) {
        (self.ids, self.values, self.classes, self.tails) = (ids, values, classes, tails)
    }

    public var rows: Int { ids.shape[0] }

    /// Some of the rows.
    /// - Parameter range: within 0 to `rows`.
    public func slice(_ range: Range<Int>) -> SparseTeacher {
        SparseTeacher(ids: ids.slice(range), values: values.slice(range), classes: classes) { [tails] in
            try tails($0).slice(range)
        }
    }

    /// `[rows]`.
    func tail(at temperature: Float) throws -> View { try tails(temperature) }
}

extension Tensor {
    /// A divergence from a teacher of whom only the likeliest classes are known, mixed with hard labels, chunk by chunk as
    /// `chunkedDivergence`; see `SparseDivergence` for what it is of the divergence over all classes.
    ///
    /// - `head`: of the student.
    /// - `teacher`: as many rows and classes.
    /// - `labels`: int32 `[rows]`. Needed for the hard part; with them the cross entropy is reported.
    /// - `rowWeights`: `[rows]`; 0 masks a row.
    /// - Throws: `TensorError` for what does not fit, `KernelError` for an impossible op.
    public func chunkedDivergence(
        _ op: SparseDivergence, head: OutputHead, teacher: SparseTeacher, labels: View? = nil, rowWeights: View? = nil,
        chunk: ChunkSize = .automatic, headGradient: HeadGradient = .held
    ) throws -> ChunkedLoss {
        let tail = try teacher.tail(at: op.temperature)
        return try chunkedDivergence(
            of: (teacher.rows, teacher.classes), head, logits: nil, labels, rowWeights, scale: op.scale, chunk,
            headGradient
        ) { student, part in
            try run(
                op,
                .init(
                    student: student, ids: teacher.ids.slice(part.range), values: teacher.values.slice(part.range),
                    tail: tail.slice(part.range), labels: part.labels, rowWeights: part.rowWeights, loss: part.loss,
                    divergence: part.divergence, crossEntropy: part.crossEntropy, gradient: part.gradient), on: device)
        }
    }
}
