import RetortKernels
import RetortRuntime
import RetortSupport

/// What a model learns from the others on a public set: a target for each public example, fixed for a round. FedMD's clients learn the mean
/// of all clients' logits (Li & Wang 2019, arXiv:1910.03581), FedDF's server on unlabelled examples the mean of their probabilities, or of
/// their logits (Lin et al. 2020, arXiv:2006.07242). Authors' T is 1.
public final class ConsensusTerm: ObjectiveTerm {
    public enum Kind: Sendable {
        /// Mean over rows and classes of |z − target|: FedMD's digest in its authors' code.
        case absoluteError
        /// T²·KL(softmax(target/T)‖softmax(z/T)), mean over rows: FedDF, and FedMD as later work has it.
        case divergence(temperature: Float)
    }
    /// Logits `[public rows, classes]`.
    public var targets: Tensor?
    private let kind: Kind
    private let device: Device

    public init(_ kind: Kind, on device: Device) {
        self.kind = kind
        self.device = device
    }

    /// - Throws: `RetortError` 70 before there are targets: a bug of the caller.
    public func loss(_ input: ObjectiveInput) throws -> Tensor {
        guard let targets, let ids = input.ids else { throw RetortError.internalBug("a digest without a consensus") }
        let rows = try device.compute.empty([ids.count, targets.shape[1]])
        try run(Gather(), .init(table: targets.view, ids: ids, y: rows), on: device.compute)
        let target = Tensor(view: rows, on: device)
        let student = input.student.logits
        return switch kind {
        case .absoluteError: try student.meanAbsoluteError(target)
        case .divergence(let temperature):
            try student.divergence(fromTeachers: [target], .meanProbabilities, temperature: temperature)
        }
    }

    /// One target from the answers of several clients, logits `[rows, classes]` each, in the order given: the mean of the logits, or the
    /// logits whose softmax at T is the mean of the clients' softmax at T, T·ln(mean p).
    public static func target(
        of clients: [Tensor], _ combination: TeacherCombination, temperature: Float
    ) throws -> Tensor {
        let share = 1 / Float(clients.count)
        guard combination == .meanProbabilities else { return try Tensor.total(clients) * share }
        return try (Tensor.total(clients.map { try $0.softmax(temperature: temperature) }) * share).log() * temperature
    }
}
