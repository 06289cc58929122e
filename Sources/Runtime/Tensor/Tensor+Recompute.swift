import RetortKernels

extension Tensor {
    /// What a part of a model makes of this tensor, without what it computes on the way being kept: its input is all that stays, and backward
    /// computes the part again (activation checkpointing, Chen et al. 2016, arXiv:1604.06174). Value and gradients have the same bits as
    /// without it: the same operations run in the same order.
    ///
    /// - Parameter part: a function of this tensor and of parameters; called twice, it must do the same both times: what it draws goes by
    ///   counters, and it keeps nothing between. What else it reads that needs gradients must be parameters.
    /// - Throws: what `part` throws.
    public func recomputing(_ part: @escaping (Tensor) throws -> Tensor) throws -> Tensor {
        guard Autograd.isRecording else { return try part(self) }
        // With a tape, though nothing is kept of it: some operations are others without one.
        let first = try part(beginning())
        guard first.needsGradient else { return first }
        let again = Node.recomputing(from: node, shape: first.shape, device: device) { [self] in
            let input = beginning()
            return (input.node, try part(input).node)
        }
        return Tensor(first.view, device, node: again)
    }

    /// The same numbers at the beginning of a tape of their own; off any tape where they need no gradient.
    private func beginning() -> Tensor {
        Tensor(view, device, node: node.map { Node(beginning: $0.shape, device: device) })
    }
}
