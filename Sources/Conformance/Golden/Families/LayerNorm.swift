import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Layer normalisation over the last dimension.
    static let layerNorm = TensorFamily { trial in
        let (weight, bias) = (try trial.tensor(ifPresent: "weight"), try trial.tensor(ifPresent: "bias"))
        guard try trial.parameters.flag("affine") == (weight != nil), (weight == nil) == (bias == nil) else {
            throw RetortError.badData("the parameter affine is wrong")
        }
        let epsilon = try trial.parameters.float("eps")
        trial.give("y", try trial.tensor("x").layerNorm(weight: weight, bias: bias, epsilon: epsilon))
    }
}
