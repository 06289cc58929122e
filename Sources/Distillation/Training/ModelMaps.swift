import RetortKernels
import RetortModels
import RetortRuntime

/// Where a model looks in some pictures.
struct ModelMaps {
    /// By picture: the attention map of the deepest stage that still has places to tell apart; nil for a model without such stages.
    private(set) var attention: [HeatMap?] = []
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
        let wanted = Set(model.signals.stages + model.signals.others.filter { $0 == SignalCatalog.activationMaps })
        let signals = try Autograd.withoutGradients { try model.forward(view(x), capturing: wanted).signals }
        let stages = model.signals.stages.compactMap { signals[$0] }.filter {
            $0.rank == 4 && $0.shape[2] * $0.shape[3] > 1
        }
        // 4 × 4 places are enough to see where; fewer only where there is nothing better.
        let stage = stages.last { min($0.shape[2], $0.shape[3]) >= 4 } ?? stages.first
        attention = try Self.maps(of: stage, rows.count) { values, shape, _ in
            HeatMap(attentionOf: values, channels: shape[1], height: shape[2], width: shape[3])
        }
        activation = try Self.maps(of: signals[SignalCatalog.activationMaps], rows.count) { values, shape, row in
            let plane = shape[2] * shape[3]
            let own = values.dropFirst(labels[row] * plane).prefix(plane)
            return HeatMap(Array(own), height: shape[2], width: shape[3])
        }
    }

    /// A map for each picture from a signal `[rows, channels, height, width]`.
    private static func maps(
        of signal: Tensor?, _ count: Int, _ map: (ArraySlice<Float>, Dimensions, Int) -> HeatMap
    ) throws -> [HeatMap?] {
        guard let signal else { return [HeatMap?](repeating: nil, count: count) }
        let values = try signal.values()
        let size = signal.shape.dropFirst().product
        return (0..<count).map { map(values[($0 * size)..<(($0 + 1) * size)], signal.shape, $0) }
    }
}
