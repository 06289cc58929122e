import RetortKernels

extension Tensor {
    /// A loss of rows of logits that is composed of other operations, chunk by chunk, of the student whose hidden states these are. Each
    /// chunk has a tape of its own, which ends before the next begins, so that never more than one chunk of rows × classes is held, times
    /// what the composition holds of it.
    ///
    /// - `head`: of the student.
    /// - `teachers`: each of as many rows and classes; empty: the loss looks at none.
    /// - `loss`: of the rows of a chunk: logits `[range.count, classes]` of student, on its tape, and teachers → a scalar, or nil where nothing
    ///   of them counts. The sum over the chunks is the whole.
    /// - Returns: a scalar on the tape.
    /// - Throws: `TensorError` for what does not fit.
    public func chunkedComposition(
        head: OutputHead, teachers: [any LogitSource], chunk: ChunkSize = .automatic,
        headGradient: HeadGradient = .held,
        _ loss: (_ student: Tensor, _ teachers: [View], _ range: Range<Int>) throws -> Tensor?
    ) throws -> Tensor {
        try chunkedComposition(head: head, teachers: teachers, rowInputs: [], chunk: chunk, headGradient: headGradient)
        { student, teachers, range, _ in
            try loss(student, teachers, range)
        }
    }

    /// The same with more that a row's loss depends on.
    /// - `rowInputs`: `[rows]` each; the chunk's rows of them are on its tape too.
    public func chunkedComposition(
        head: OutputHead, teachers: [any LogitSource], rowInputs: [Tensor], chunk: ChunkSize = .automatic,
        headGradient: HeadGradient = .held,
        _ loss: (_ student: Tensor, _ teachers: [View], _ range: Range<Int>, _ rowInputs: [Tensor]) throws -> Tensor?
    ) throws -> Tensor {
        let rows = try head.rows(of: self).shape[0]
        if let other = teachers.first(where: { $0.rows != rows }) {
            throw TensorError("a teacher of \(other.rows) rows for a student of \(rows)")
        }
        guard rowInputs.allSatisfy({ $0.shape == [rows] }) else {
            throw TensorError("inputs of shapes \(rowInputs.map(\.shape)) for \(rows) rows")
        }
        let run = try ChunkRun(self, head, teachers: teachers, chunk, headGradient, copies: ChunkSize.composedCopies)
        let gradients = try rowInputs.map { $0.needsGradient ? try device.empty([rows]) : nil }
        let total = try run.chunks { logits, taught, range, losses, gradient in
            try RetortKernels.run(Fill(0), .init(y: losses), on: device)
            guard let gradient else {
                let value = try Autograd.withoutGradients {
                    try loss(Tensor(logits, device), taught, range, rowInputs.map { try $0.slice(range) })
                }
                return try value.map { try put($0, into: losses) } ?? ()
            }
            let (leaf, parameter) = try Tensor(logits, device).leaf()
            let rowLeaves = try rowInputs.map { try Tensor($0.contiguousView().slice(range), device).leaf() }
            let value = try loss(leaf, taught, range, rowLeaves.map(\.0))
            if let value {
                try put(value, into: losses)
                if value.needsGradient { try value.backward() }
            }
            let sinks: [(Parameter, View?)] =
                [(parameter, gradient)] + zip(rowLeaves, gradients).map { ($0.1, $1?.slice(range)) }
            for (source, sink) in sinks {
                guard let sink else { continue }
                if source.hasGradient {
                    try RetortKernels.run(Copy(), .init(x: source.gradient, y: .write(sink)), on: device)
                } else {
                    try RetortKernels.run(Fill(0), .init(y: sink), on: device)
                }
            }
        }
        return try run.total(of: total, also: Array(zip(rowInputs, gradients)))
    }

    /// A chunk's loss stands in its first row.
    private func put(_ value: Tensor, into losses: View) throws {
        try RetortKernels.run(
            Copy(), .init(x: value.view.reshaped([1]), y: .write(losses.slice(0..<1))), on: device)
    }
}
