import RetortRuntime

extension Tensor {
    /// FedMD: a client learns the consensus of all clients on public examples: T²·KL(softmax(c/T)‖q), c the mean of the clients'
    /// logits `[rows, classes]`, mean over rows. Li & Wang 2019 (arXiv:1910.03581); their code fits the
    /// logits themselves by mean absolute error, later work this divergence.
    public func consensusLoss(clients: [Tensor], temperature: Float = 1) throws -> Tensor {
        try divergence(fromTeachers: clients, .meanLogits, temperature: temperature)
    }
}
