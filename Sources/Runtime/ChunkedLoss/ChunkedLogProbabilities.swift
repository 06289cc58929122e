import RetortKernels

extension Tensor {
    /// ln q(label) of each row, `[rows]`, of the student whose hidden states these are: what losses of whole texts are made of, policy
    /// gradients and preferences. Never more than one chunk of rows × classes is held: logits are computed once for the values, and once
    /// more when backward knows what each row's gradient is.
    ///
    /// - `labels`: int32 `[rows]`; a row with `ignoreIndex` is 0, without a gradient.
    /// - `head`: of the student. A tied head's gradient is added to the embedding's.
    /// - Throws: `TensorError` for what does not fit.
    public func chunkedLogProbabilities(
        _ labels: View, head: OutputHead, ignoreIndex: Int32 = -100, chunk: ChunkSize = .automatic
    ) throws -> Tensor {
        let rows = try head.rows(of: self).shape[0]
        let labels = try labels.column(of: rows, "labels")
        let op = CrossEntropy(ignoreIndex: ignoreIndex)
        /// A row's cross entropy times its weight; gradients where the tape wants them.
        func pass(_ run: ChunkRun, rowWeights: View?) throws -> View {
            try run.chunks { logits, _, range, loss, gradient in
                try RetortKernels.run(
                    op,
                    .init(
                        logits: logits, labels: labels.slice(range), rowWeights: rowWeights?.slice(range), loss: loss,
                        gradient: gradient), on: device)
            }
        }
        let losses = try Autograd.withoutGradients {
            try pass(ChunkRun(self, head, teachers: [], chunk, .held), rowWeights: nil)
        }
        try run(Scale(-1), .init(x: losses, y: .write(losses)), on: device)
        let inputs = [self, head.weight] + (head.bias.map { [$0] } ?? [])
        return Tensor.recorded(losses, device, from: inputs) { node, upstream in
            let weights = try node.device.empty([rows])
            try run(Scale(-1), .init(x: try node.dense(upstream), y: .write(weights)), on: node.device)
            let again = try ChunkRun(self, head, teachers: [], chunk, .added)
            _ = try pass(again, rowWeights: weights)
            try again.gradients.deliver(.constant(1))
        }
    }
}
