import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Sums, moments, extremes, running sums and sorted selections along `dim`, or over everything.
    static let reductions = TensorFamily { trial in
        let x = try trial.tensor("x")
        let axis = try trial.parameters.integer(ifPresent: "dim")
        if trial.outputNames.contains("indices") { return try selection(trial, x, axis) }
        for name in trial.outputNames {
            switch (name, axis) {
            case ("sum", _): trial.give(name, try x.sum(axis))
            case ("mean", _): trial.give(name, try x.mean(axis))
            case ("var_unbiased", _): trial.give(name, try x.variance(axis, correction: 1))
            case ("var_biased", _): trial.give(name, try x.variance(axis, correction: 0))
            case ("max", let axis?): trial.give(name, try x.max(axis))
            case ("lse", let axis?): trial.give(name, try x.logSumExp(axis))
            case ("cumsum", let axis?): trial.give(name, try x.cumulativeSum(axis))
            case ("argmax", let axis?): try trial.give(name, indices: x.argmax(axis))
            default: throw RetortError.badData("the output \(name) is not known")
            }
        }
    }

    /// The k largest of each row in descending order; without k the whole row, sorted.
    private static func selection(_ trial: GoldenTrial, _ x: Tensor, _ axis: Int?) throws {
        guard axis == -1 || axis == x.rank - 1 else {
            throw RetortError.badData("only the last dimension can be sorted")
        }
        let order = try trial.parameters.word("order", default: "descending")
        guard order == "descending" else { throw GoldenParameters.unknownValue("order", order) }
        let count = try trial.parameters.integer(ifPresent: "k") ?? x.shape[x.rank - 1]
        let (values, indices) = try x.topK(count)
        trial.give("values", values)
        try trial.give("indices", indices: indices)
    }
}
