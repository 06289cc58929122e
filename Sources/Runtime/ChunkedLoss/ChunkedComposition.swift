import RetortKernels

extension Tensor {
    /// A loss of rows of logits that is composed of other operations, chunk by chunk, of the student whose hidden states these are. Each
    /// chunk has a tape of its own, which ends before the next begins, so that never more than one chunk of rows × classes is held, times
    /// what the composition holds of it.
    ///
    /// - Parameters:
    ///   - head: of the student.
    ///   - teachers: each of as many rows and classes; empty: the loss looks at none.
    ///   - loss: of the rows of a chunk: logits `[range.count, classes]` of student, on its tape, and teachers → a scalar, or nil where nothing
    ///     of them counts. The sum over the chunks is the whole.
    /// - Returns: a scalar on the tape.
    /// - Throws: `TensorError` for what does not fit.
    public func chunkedComposition(
        head: OutputHead, teachers: [any LogitSource], chunk: ChunkSize = .automatic,
        headGradient: HeadGradient = .held,
        _ loss: (_ student: Tensor, _ teachers: [View], _ range: Range<Int>) throws -> Tensor?
    ) throws -> Tensor {
        let rows = try head.rows(of: self).shape[0]
        if let other = teachers.first(where: { $0.rows != rows || $0.classes != head.classes }) {
            throw TensorError(
                "a teacher of \(other.rows) rows and \(other.classes) classes for a student of \(rows) and \(head.classes)"
            )
        }
        let run = try ChunkRun(self, head, teachers: teachers, chunk, headGradient)
        let total = try run.chunks { logits, taught, range, losses, gradient in
            try RetortKernels.run(Fill(0), .init(y: losses), on: device)
            guard let gradient else {
                let value = try Autograd.withoutGradients { try loss(Tensor(logits, device), taught, range) }
                return try value.map { try put($0, into: losses) } ?? ()
            }
            let (leaf, parameter) = try Tensor(logits, device).leaf()
            guard let value = try loss(leaf, taught, range) else {
                return try RetortKernels.run(Fill(0), .init(y: gradient), on: device)
            }
            try put(value, into: losses)
            if value.needsGradient { try value.backward() }
            guard parameter.hasGradient else {
                return try RetortKernels.run(Fill(0), .init(y: gradient), on: device)
            }
            try RetortKernels.run(Copy(), .init(x: parameter.gradient, y: .write(gradient)), on: device)
        }
        return try run.total(of: total)
    }

    /// A chunk's loss stands in its first row.
    private func put(_ value: Tensor, into losses: View) throws {
        try RetortKernels.run(
            Copy(), .init(x: value.view.reshaped([1]), y: .write(losses.slice(0..<1))), on: device)
    }
}
