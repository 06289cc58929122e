import RetortKernels
import RetortModels
import RetortRuntime

/// Where a model looks in some pictures.
struct ModelMaps {
    /// By picture: the attention map of the deepest stage that still has places to tell apart; nil for a model without such stages.
    private(set) var attention: [HeatMap?] = []
    /// By picture: what the class token of a transformer's last layer attends to, mean over heads; what all places attend to, mean over
    /// them, where there is no class token; nil for a model without attention between places.
    private(set) var tokenAttention: [HeatMap?] = []
    /// By picture: the class activation map of its true class (Zhou et al. 2016, arXiv:1512.04150); nil where the classifier is not a
    /// mean over places.
    private(set) var activation: [HeatMap?] = []

    /// - Parameters:
    ///   - rows: numbers of pictures in `data`.
    ///   - labels: their classes.
    init(
        _ model: any Model, _ data: DeviceRows, seeing view: InputView = .whole, rows: [Int], labels: [Int],
        on device: Device
    ) throws {
        model.setTraining(false)
        let (x, _) = try data.batch(rows.map(Int32.init), on: device)
        let last = model.signals.others.last { $0.hasSuffix(".attention") }
        let wanted = Set(
            model.signals.stages + model.signals.others.filter { $0 == SignalCatalog.activationMaps || $0 == last })
        let signals = try Autograd.withoutGradients { try model.forward(view(x), capturing: wanted).signals }
        let stages = model.signals.stages.compactMap { signals[$0] }.filter {
            $0.rank == 4 && $0.shape[2] * $0.shape[3] > 1
        }
        // 4 × 4 places are enough to see where; fewer only where there is nothing better.
        let stage = stages.last { min($0.shape[2], $0.shape[3]) >= 4 } ?? stages.first
        attention = try Self.maps(of: stage, rows.count) { values, shape, _ in
            HeatMap(attentionOf: values, channels: shape[1], height: shape[2], width: shape[3])
        }
        tokenAttention = try Self.maps(of: last.flatMap { signals[$0] }, rows.count) { values, shape, _ in
            Self.tokenAttention(values, shape)
        }
        activation = try Self.maps(of: signals[SignalCatalog.activationMaps], rows.count) { values, shape, row in
            let plane = shape[2] * shape[3]
            let own = values.dropFirst(labels[row] * plane).prefix(plane)
            return HeatMap(Array(own), height: shape[2], width: shape[3])
        }
    }

    /// The mean over heads of the first token's attention to all others, where these are the patches of a square, row by row; the mean
    /// over all queries too, where all tokens are.
    /// - `probabilities`: `[heads, tokens, tokens]`.
    static func tokenAttention(_ probabilities: ArraySlice<Float>, _ shape: Dimensions) -> HeatMap? {
        guard shape.count == 4, shape[2] == shape[3] else { return nil }
        let (heads, tokens) = (shape[1], shape[2])
        guard let grid = TokenGrid(tokens: tokens), grid.side > 1 else { return nil }
        let (side, first) = (grid.side, grid.before)
        let queries = first > 0 ? 1 : tokens
        var sums = [Float](repeating: 0, count: side * side)
        for head in 0..<heads {
            for query in 0..<queries {
                let start = probabilities.startIndex + (head * tokens + query) * tokens + first
                for place in sums.indices { sums[place] += probabilities[start + place] }
            }
        }
        return HeatMap(sums.map { $0 / Float(heads * queries) }, height: side, width: side)
    }

    /// A map for each picture from a signal `[rows, …]`.
    private static func maps(
        of signal: Tensor?, _ count: Int, _ map: (ArraySlice<Float>, Dimensions, Int) -> HeatMap?
    ) throws -> [HeatMap?] {
        guard let signal else { return [HeatMap?](repeating: nil, count: count) }
        let values = try signal.values()
        let size = signal.shape.dropFirst().product
        return (0..<count).map { map(values[($0 * size)..<(($0 + 1) * size)], signal.shape, $0) }
    }
}
