import RetortKernels
import RetortRuntime

extension Tensor {
    /// Deep mutual learning (Zhang et al. 2018, arXiv:1706.00384), one side of it: CE(labels, q) + T²·KL(p‖q), q the softmax of this model's
    /// logits `[rows, classes]` and p the peer's at temperature T, a constant; the cross entropy at T = 1; both means over rows.
    /// The peer's own loss is the same with the roles exchanged; authors' T is 1.
    public func mutualLearningLoss(peer: Tensor, labels: View, temperature: Float = 1) throws -> Tensor {
        let op = Divergence(
            .forwardKL, temperature: temperature, softWeight: temperature * temperature, hardWeight: 1,
            scale: 1 / Float(shape[0]))
        return try divergence(op, teacher: peer.view, labels: labels).total
    }
}
