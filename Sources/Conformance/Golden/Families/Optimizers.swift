import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Optimizers step by step with their state, and gradient clipping: through the fused update of a model's arena.
    static let optimizers: TensorFamily = {
        var family = TensorFamily { trial in
            if trial.has("p0") { try steps(trial) } else { try clipping(trial) }
        }
        family.skip = { parameters in
            let name = try parameters.word("optimizer", default: "")
            return name == "RMSprop" || name == "Adagrad" ? notBuilt : nil
        }
        return family
    }()

    private static func steps(_ trial: GoldenTrial) throws {
        let (start, shape) = try trial.numbers("p0")
        let parameter = Parameter("p", shape, .zeros)
        let arena = try ParameterArena([parameter], on: trial.device.compute, seed: 0)
        try parameter.assign(start)
        let optimizer = try optimizer(trial.parameters, arena)
        let rate = try trial.parameters.float("lr")
        for step in try 1...max(1, trial.parameters.integer("steps")) {
            // The gradient of Σ p·g is g, exactly.
            try (parameter.tensor * trial.tensor("g\(step)")).sum().backward()
            try optimizer.step(learningRate: rate)
            trial.give("p\(step)", try parameter.values(), shape: shape)
        }
        for (name, flat) in optimizer.state {
            let state = Tensor(view: arena.window(of: parameter, in: flat), on: trial.device)
            trial.give("state_" + name, try state.values(), shape: shape)
        }
    }

    private static func optimizer(_ parameters: GoldenParameters, _ arena: ParameterArena) throws -> any Optimizer {
        let name = try parameters.word("optimizer")
        let decay = try parameters.float("weight_decay", default: 0)
        switch name {
        case "SGD":
            return try SGD(
                arena,
                options: .init(
                    momentum: parameters.float("momentum", default: 0),
                    dampening: parameters.float("dampening", default: 0),
                    nesterov: parameters.flag("nesterov", default: false), weightDecay: decay))
        case "Adam", "AdamW":
            let betas = try parameters.numbers("betas")
            guard betas.count == 2 else { throw GoldenParameters.unknownValue("betas", "\(betas)") }
            return try Adam(
                arena,
                options: .init(
                    beta1: betas[0], beta2: betas[1], epsilon: parameters.float("eps"), weightDecay: decay,
                    decoupled: name == "AdamW", amsgrad: parameters.flag("amsgrad", default: false)))
        default: throw GoldenParameters.unknownValue("optimizer", name)
        }
    }

    /// Gradients g0, g1, … clipped together. A step of size 1 from zero is the negative of the gradient that the update
    /// saw.
    private static func clipping(_ trial: GoldenTrial) throws {
        let names = trial.outputNames.filter { $0 != "total_norm" }
        let parameters = try names.map { Parameter($0, try trial.shape($0), .zeros) }
        let arena = try ParameterArena(parameters, on: trial.device.compute, seed: 0)
        let optimizer = try SGD(arena, clipNorm: trial.parameters.float("max_norm"))
        for parameter in parameters {
            try (parameter.tensor * trial.tensor(parameter.name)).sum().backward()
        }
        try optimizer.step(learningRate: 1)
        trial.give("total_norm", [try optimizer.lastGradientNorm()], shape: [])
        for parameter in parameters {
            trial.give(parameter.name, try parameter.values().map { -$0 }, shape: parameter.shape)
        }
    }
}
