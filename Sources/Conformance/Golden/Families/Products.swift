import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// c = op(a) · op(b), leading dimensions broadcast.
    static let matmul = TensorFamily { trial in
        let (a, b) = try operands(trial)
        let c = try a.matmul(b)
        for (name, size) in [("M", a.shape[a.rank - 2]), ("K", a.shape[a.rank - 1]), ("N", b.shape[b.rank - 1])] {
            if let stated = try trial.parameters.integer(ifPresent: name), stated != size {
                throw RetortError.badData("the parameter \(name) is \(stated); the operands say \(size)")
            }
        }
        trial.give("c", c)
    }

    /// c_out = alpha · op(a) · op(b) + beta · c: from tensor functions, and in one launch of the op that adds to beta ·
    /// c.
    static let gemm = TensorFamily([
        GoldenWay("composed") { trial in
            let (a, b) = try operands(trial)
            let (alpha, beta) = (try trial.parameters.float("alpha"), try trial.parameters.float("beta"))
            trial.give("c_out", try a.matmul(b) * alpha + trial.tensor("c") * beta)
        },
        GoldenWay("one launch", constants: ["a", "b", "c"]) { trial in
            let (a, b) = try operands(trial)
            let c = try trial.tensor("c") * trial.parameters.float("beta")
            try run(
                Matmul(alpha: try trial.parameters.float("alpha")),
                .init(a: a.view, b: b.view, c: .accumulate(c.view)), on: trial.device.compute)
            trial.give("c_out", c)
        },
    ])

    /// y = x · weightᵀ + bias.
    static let linear = TensorFamily { trial in
        let bias = try trial.tensor(ifPresent: "bias")
        guard try trial.parameters.flag("bias") == (bias != nil) else {
            throw RetortError.badData("the parameter bias is wrong")
        }
        trial.give("y", try trial.tensor("x").linear(trial.tensor("weight"), bias: bias))
    }

    private static func operands(_ trial: GoldenTrial) throws -> (Tensor, Tensor) {
        func operand(_ name: String) throws -> Tensor {
            let x = try trial.tensor(name)
            return try trial.parameters.flag("trans_" + name) ? x.transposed(x.rank - 2, x.rank - 1) : x
        }
        return (try operand("a"), try operand("b"))
    }
}
