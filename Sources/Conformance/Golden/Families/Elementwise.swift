import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Functions of one number, and the gated pairs of feed-forward blocks.
    static let activations = TensorFamily { trial in
        let name = try trial.parameters.word("fn")
        if let gated = gatedActivations[name] {
            trial.give("y", try Tensor.gated(gated, gate: trial.tensor("gate"), up: trial.tensor("up")))
        } else if let function = activationFunctions[name] {
            trial.give("y", try trial.tensor("x").map(function))
        } else {
            throw GoldenParameters.unknownValue("fn", name)
        }
    }

    /// Binary operations with broadcasting, and functions of one number.
    static let elementwise = TensorFamily { trial in
        let name = try trial.parameters.word("op")
        if let function = unaryFunctions[name] {
            return trial.give("y", try trial.tensor("x").map(function))
        }
        let (a, b) = (try trial.tensor("a"), try trial.tensor("b"))
        switch name {
        case "add": trial.give("y", try a + b)
        case "sub": trial.give("y", try a - b)
        case "mul": trial.give("y", try a * b)
        case "div": trial.give("y", try a / b)
        default: throw GoldenParameters.unknownValue("op", name)
        }
    }

    private static let gatedActivations: [String: GatedActivation] = ["swiglu": .swiglu, "geglu_tanh": .gegluTanh]

    private static let activationFunctions: [String: UnaryFunction] = [
        "gelu_erf": .geluExact, "gelu_tanh": .geluTanh, "silu": .silu, "relu": .relu, "sigmoid": .sigmoid,
        "tanh": .tanh,
        "logsigmoid": .logSigmoid, "softplus": .softplus, "quick_gelu": .quickGelu,
        "leaky_relu_0.1": .leakyRelu(slope: 0.1),
        "elu": .elu(alpha: 1), "hardswish": .hardSwish, "relu6": .relu6,
    ]

    private static let unaryFunctions: [String: UnaryFunction] = [
        "exp": .exp, "log": .log, "sqrt": .squareRoot, "rsqrt": .reciprocalSquareRoot, "square": .square, "abs": .abs,
        "neg": .negate,
    ]
}
