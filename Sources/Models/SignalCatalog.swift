import RetortRuntime

/// What a model can show of its inside, by path, and which paths play a part that losses ask for by name.
public struct SignalCatalog: Sendable, Equatable {
    /// The output of each stage after its activation, shallow to deep: `[rows, channels, height, width]`, or `[rows, features]`.
    public let stages: [String]
    /// The same before the activation; empty where a model has none.
    public let preactivations: [String]
    /// What the classifier sees: `[rows, features]`.
    public let embedding: String?
    /// Everything else that can be asked for: `activationMaps`, where a model's classifier is a mean over positions.
    public let others: [String]

    public init(stages: [String], preactivations: [String] = [], embedding: String? = nil, others: [String] = []) {
        self.stages = stages
        self.preactivations = preactivations
        self.embedding = embedding
        self.others = others
    }

    /// Class activation maps `[rows, classes, height, width]`: the classifier, without its bias, at every position of the last stage. Their
    /// mean over positions and the bias are the logits.
    public static let activationMaps = "cam"
    /// What the first convolution gives, before the first stage.
    public static let stem = "stem"

    /// Every path.
    public var paths: [String] {
        var paths = stages + preactivations + others
        if let embedding, !paths.contains(embedding) { paths.append(embedding) }
        return paths
    }
}

extension SignalCatalog {
    /// Of a network of stages that ends in a mean over positions and a linear layer.
    static func pooled(_ stages: [String], others: [String] = [stem]) -> SignalCatalog {
        SignalCatalog(
            stages: stages, preactivations: stages.map { $0 + ".preactivation" }, embedding: "pooled",
            others: others + [activationMaps])
    }
}

/// Keeps the signals of one forward pass that were asked for.
struct SignalRecorder {
    private let wanted: Set<String>
    private(set) var signals: [String: Tensor] = [:]

    init(_ wanted: Set<String>) { self.wanted = wanted }

    /// Whether anything is kept: a model that writes is spared the names.
    var wantsAny: Bool { !wanted.isEmpty }
    func wants(_ path: String) -> Bool { wanted.contains(path) }
    /// Whether something inside a block is kept; what it puts out is not inside.
    func wantsInside(of layer: Int) -> Bool {
        wantsAny
            && wanted.contains { $0.hasPrefix(SignalNames.path(layer, "")) && $0 != SignalNames.path(layer, "hidden") }
    }

    mutating func keep(_ path: String, _ value: Tensor) {
        if wanted.contains(path) { signals[path] = value }
    }
}

extension SignalRecorder {
    /// The end of such a network: the mean over positions of the last stage's output, classified.
    mutating func classify(_ x: Tensor, _ classifier: Linear) throws -> ModelOutput {
        if wants(SignalCatalog.activationMaps) {
            keep(SignalCatalog.activationMaps, try x.classActivationMaps(classifier))
        }
        let pooled = try x.globalAveragePool()
        keep("pooled", pooled)
        return ModelOutput(logits: try classifier(pooled), signals: signals)
    }
}
