import RetortKernels

/// Stochastic gradient descent as in PyTorch: momentum, dampening, Nesterov, L2 weight decay.
public final class SGD: Optimizer {
    public let arena: ParameterArena
    public let clipNorm: Float?
    public private(set) var stepCount = 0
    public func resume(at step: Int) { stepCount = step }
    public let norm: GradientNormState
    private let options: SGDUpdate.Options
    private let decaying: DecayScope
    private let momentum: View?

    public init(
        _ arena: ParameterArena, options: SGDUpdate.Options = .init(), decaying: DecayScope = .all,
        clipNorm: Float? = nil
    ) throws {
        self.arena = arena
        self.decaying = decaying
        self.clipNorm = clipNorm
        self.options = options
        norm = try GradientNormState(on: arena.device)
        momentum = options.momentum == 0 ? nil : try arena.device.empty(arena.values.shape, for: .optimizer)
        if let momentum { try run(Fill(0), .init(y: momentum), on: arena.device) }
    }

    public var state: [(name: String, values: View)] { momentum.map { [("momentum_buffer", $0)] } ?? [] }

    public func step(learningRate: Float) throws {
        try arena.completeGradients()
        try norm.update(arena.gradients, clipNorm: clipNorm, on: arena.device)
        for (part, decays) in decaying.parts(of: arena) {
            var options = options
            if !decays { options.weightDecay = 0 }
            try run(
                SGDUpdate(options, learningRate: learningRate, isFirstStep: stepCount == 0),
                .init(
                    values: arena.values.slice(part), gradients: arena.gradients.slice(part),
                    momentum: momentum?.slice(part), factor: norm.factor, skip: norm.skip), on: arena.device)
        }
        stepCount += 1
        arena.clearGradients()
    }
}
