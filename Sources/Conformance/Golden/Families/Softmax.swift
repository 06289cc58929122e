import RetortRuntime

extension GoldenFamilies {
    /// softmax and log-softmax of x / T over `dim`.
    static let softmax = TensorFamily { trial in
        let x = try trial.tensor("x")
        let (axis, temperature) = (try trial.parameters.integer("dim"), try trial.parameters.float("T"))
        trial.give("y", try x.softmax(axis, temperature: temperature))
        trial.give("ly", try x.logSoftmax(axis, temperature: temperature))
    }
}
