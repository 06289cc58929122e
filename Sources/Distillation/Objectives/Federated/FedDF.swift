import RetortRuntime

extension Tensor {
    /// FedDF: the server's student learns from the clients on unlabelled examples: T²·KL(p‖q), p the mean of the clients' probabilities
    /// at temperature T, logits `[rows, classes]`, mean over rows. Lin et al. 2020 (arXiv:2006.07242), the variant `avg_probs`;
    /// with `avg_logits` it is `consensusLoss`. Authors' T is 1.
    public func ensembleDistillationLoss(clients: [Tensor], temperature: Float = 1) throws -> Tensor {
        try divergence(fromTeachers: clients, .meanProbabilities, temperature: temperature)
    }
}
