import RetortKernels

/// Adam (Kingma & Ba 2015) and AdamW (Loshchilov & Hutter 2019) with PyTorch's formula:
/// p −= lr / (1 − β₁ᵗ) · m / (√(v / (1 − β₂ᵗ)) + ε). Weight decay is L2 for Adam, decoupled for AdamW.
public final class Adam: Optimizer {
    public let arena: ParameterArena
    public let clipNorm: Float?
    public private(set) var stepCount = 0
    public func resume(at step: Int) { stepCount = step }
    public let norm: GradientNormState
    private let options: AdamUpdate.Options
    private let decaying: DecayScope
    private let first: View
    private let second: View
    private let secondMaximum: View?

    public init(
        _ arena: ParameterArena, options: AdamUpdate.Options = .init(), decaying: DecayScope = .all,
        clipNorm: Float? = nil
    ) throws {
        let device = arena.device
        self.decaying = decaying
        self.arena = arena
        self.clipNorm = clipNorm
        self.options = options
        norm = try GradientNormState(on: device)
        first = try device.empty(arena.values.shape, for: .optimizer)
        second = try device.empty(arena.values.shape, for: .optimizer)
        secondMaximum = options.amsgrad ? try device.empty(arena.values.shape, for: .optimizer) : nil
        for state in [first, second, secondMaximum].compactMap({ $0 }) {
            try run(Fill(0), .init(y: state), on: device)
        }
    }

    public var state: [(name: String, values: View)] {
        [("exp_avg", first), ("exp_avg_sq", second)] + (secondMaximum.map { [("max_exp_avg_sq", $0)] } ?? [])
    }

    public func step(learningRate: Float) throws {
        try arena.completeGradients()
        try norm.update(arena.gradients, clipNorm: clipNorm, on: arena.device)
        stepCount += 1
        for (part, decays) in decaying.parts(of: arena) {
            var options = options
            if !decays { options.weightDecay = 0 }
            try run(
                AdamUpdate(options, learningRate: learningRate, step: stepCount),
                .init(
                    values: arena.values.slice(part), gradients: arena.gradients.slice(part),
                    first: first.slice(part), second: second.slice(part),
                    secondMaximum: secondMaximum?.slice(part), factor: norm.factor, skip: norm.skip), on: arena.device)
        }
        arena.clearGradients()
    }
}
