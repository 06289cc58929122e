import RetortRuntime

extension GoldenFamilies {
    /// y = weight[ids]; repeated ids add their gradients, `padding_idx` gets none.
    static let embedding = TensorFamily { trial in
        let ids = try trial.labels("ids")
        let padding = try trial.parameters.integer(ifPresent: "padding_idx").map(Int32.init)
        trial.give("y", try trial.tensor("weight").gatherRows(ids, shape: trial.shape("ids"), paddingIndex: padding))
    }
}
