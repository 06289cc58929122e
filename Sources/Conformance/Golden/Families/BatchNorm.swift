import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Batch normalisation in training and evaluation, with what training makes of the running statistics.
    static let batchNorm = TensorFamily { trial in
        let training = try trial.parameters.flag("training")
        let running = RunningStatistics(
            mean: try trial.tensor("running_mean").view, variance: try trial.tensor("running_var").view)
        let y = try trial.tensor("x").batchNorm(
            weight: trial.tensor("weight"), bias: trial.tensor("bias"), running: running,
            momentum: trial.parameters.float("momentum"), epsilon: trial.parameters.float("eps"), training: training)
        trial.give("y", y)
        guard training else { return }
        trial.give("running_mean_new", Tensor(view: running.mean, on: trial.device))
        trial.give("running_var_new", Tensor(view: running.variance, on: trial.device))
    }
}
