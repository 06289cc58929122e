import RetortRuntime

extension Tensor {
    /// FedProx's proximal term: mu / 2 · ‖w − w_global‖², a sum over all elements, which keeps a client's weights near the server's. Li et
    /// al. 2020 (arXiv:1812.06127).
    public func proximalTerm(global: Tensor, mu: Float) throws -> Tensor {
        try meanSquaredError(global.detached, reduction: .sum) * (mu / 2)
    }
}
