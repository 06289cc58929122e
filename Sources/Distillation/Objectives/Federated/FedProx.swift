import RetortKernels
import RetortRuntime

extension Tensor {
    /// FedProx's proximal term: mu / 2 · ‖w − w_global‖², a sum over all elements, which keeps a client's weights near the server's. Li et
    /// al. 2020 (arXiv:1812.06127).
    public func proximalTerm(global: Tensor, mu: Float) throws -> Tensor {
        try meanSquaredError(global.detached, reduction: .sum) * (mu / 2)
    }
}

/// The proximal term over all parameters of a model, as a loss beside the client's own.
final class ProximalTerm: ObjectiveTerm {
    private let arena: ParameterArena
    private let server: View
    private let mu: Float
    private let device: Device

    /// - Parameter server: the server's weights in the arena's layout; they must not change while the client trains.
    init(_ arena: ParameterArena, server: View, mu: Float, on device: Device) {
        self.arena = arena
        self.server = server
        self.mu = mu
        self.device = device
    }

    func loss(_ input: ObjectiveInput) throws -> Tensor {
        try Tensor.total(
            arena.parameters.map { parameter in
                let global = Tensor(view: arena.window(of: parameter, in: server), on: device)
                return try parameter.tensor.proximalTerm(global: global, mu: mu)
            })
    }
}
