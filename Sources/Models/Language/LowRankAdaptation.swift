import RetortKernels
import RetortRuntime
import RetortSupport

/// Which linear layers of a language model get adapters (LoRA, Hu et al. 2021, arXiv:2106.09685), and what kind of.
public struct LowRankAdaptation: Sendable, Equatable {
    public let rank: Int
    /// The product of A and B counts alpha / rank times.
    public let alpha: Float
    public let dropout: Float
    /// Names of layers or ends of their paths: `q_proj`, `mlp.c_proj`. nil: every linear layer of the blocks.
    public let targets: [String]?

    public init(rank: Int = 8, alpha: Float = 16, dropout: Float = 0, targets: [String]? = nil) {
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets
    }

    /// Gives a frozen model that is on a device its adapters.
    /// - Returns: the adapters' parameters, which are all that is trained.
    /// - Throws: `RetortError` 64 for a target that the model does not have.
    public func attach(to model: any LanguageModel, seed: UInt64, on device: Device) throws -> ParameterArena {
        let layers = try chosen(of: model)
        for layer in layers {
            layer.adapter = LowRankAdapter(
                layer.name, inputs: layer.inputs, outputs: layer.outputs, rank: rank, alpha: alpha, dropout: dropout)
        }
        return try ParameterArena(layers.compactMap(\.adapter).flatMap(\.parameters), on: device.compute, seed: seed)
    }

    private func chosen(of model: any LanguageModel) throws -> [any Adaptable] {
        let all = model.adaptableLayers
        guard let targets else { return all }
        func isMeant(_ layer: any Adaptable, by target: String) -> Bool {
            layer.name == target || layer.name.hasSuffix("." + target)
        }
        if let unknown = targets.first(where: { target in !all.contains { isMeant($0, by: target) } }) {
            let names = Self.shortNames(of: all)
            throw RetortError.usage(
                "no layer is called \(unknown.quoted(limit: 200))",
                why: "the model's linear layers are \(names.joined(separator: ", "))",
                help: EditDistance.suggestion(for: unknown, among: names))
        }
        return all.filter { layer in targets.contains { isMeant(layer, by: $0) } }
    }

    /// What the layers of each block are called: the last part of their path.
    static func shortNames(of layers: [any Adaptable]) -> [String] {
        var names: [String] = []
        for name in layers.compactMap({ $0.name.split(separator: ".").last.map(String.init) })
        where !names.contains(name) {
            names.append(name)
        }
        return names
    }
}

extension LanguageModel {
    /// The linear layers of its blocks. A head is none of them: losses read its weight itself.
    public var adaptableLayers: [any Adaptable] {
        func layers(below module: any Module) -> [any Adaptable] {
            ((module as? any Adaptable).map { [$0] } ?? []) + module.children.flatMap { layers(below: $0) }
        }
        return layers(below: self).filter { $0.name.split(separator: ".").contains { Int($0) != nil } }
    }

    /// Makes adapters part of the weights: the model is then like any other.
    public func mergeAdapters() throws { for layer in adaptableLayers { try layer.mergeAdapter() } }
}
