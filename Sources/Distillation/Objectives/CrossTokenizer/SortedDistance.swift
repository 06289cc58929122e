import RetortKernels
import RetortRuntime

extension Tensor {
    /// Σ over k of |q₍ₖ₎ − p₍ₖ₎| of each row, both sorted from the largest down, the shorter followed by zeros: ULD's distance of distributions
    /// over vocabularies of different size (Boizard et al. 2024, arXiv:2402.12030). self q `[rows, classes]`, p `[rows, other classes]`,
    /// → `[rows]`.
    public func sortedDistance(to p: Tensor) throws -> Tensor {
        let (own, theirs) = (shape[1], p.shape[1])
        let most = Swift.max(own, theirs)
        func sorted(_ x: Tensor) throws -> Tensor {
            let values = try x.topK(x.shape[1]).values
            guard x.shape[1] < most else { return values }
            let rest = try Tensor.full(0, [x.shape[0], most - x.shape[1]], on: x.device)
            return try Tensor.concatenated([values, rest], axis: 1)
        }
        return try (sorted(self) - sorted(p)).abs().sum(-1)
    }

    /// Generalised Jensen-Shannon divergence of numbers that need not sum to 1, as GOLD has it over the tokens that two vocabularies share:
    /// β·Σ p ln(p/m) + (1−β)·Σ q ln(q/m), m = βp + (1−β)q; β = 0 is Σ p ln(p/q), β = 1 Σ q ln(q/p). self q, p `[rows, classes]` → `[rows]`.
    public func unnormalizedJSD(from p: Tensor, beta: Float) throws -> Tensor {
        // As small as it is in the peers' code: ln of 0 would be no number.
        let (q, p) = (try map(.clampMinimum(1e-8)), try p.map(.clampMinimum(1e-8)))
        func divergence(_ a: Tensor, _ b: Tensor) throws -> Tensor { try (a * (a.log() - b.log())).sum(-1) }
        if beta == 0 { return try divergence(p, q) }
        if beta == 1 { return try divergence(q, p) }
        let mixture = try p * beta + q * (1 - beta)
        return try divergence(p, mixture) * beta + divergence(q, mixture) * (1 - beta)
    }
}
