import RetortKernels
import RetortRuntime

/// Keys and values of the tokens that a decoder has read, so that the next token costs one token's work.
public final class KeyValueCache {
    /// Of each layer, `[rows, room, keyValueHeads, headWidth]`; the first `length` tokens are there.
    private var layers: [(keys: View, values: View)?]
    /// What they are stored as; nil: as they come.
    private let dtype: DType?
    private(set) var device: ComputeDevice?
    /// Tokens read.
    public private(set) var length = 0

    /// - `dtype`: what keys and values are stored as, f32 or bf16, rounded to nearest even; nil: as they come.
    public init(layers: Int, dtype: DType? = nil) {
        self.layers = [(keys: View, values: View)?](repeating: nil, count: layers)
        self.dtype = dtype
    }

    /// Puts new tokens' keys and values `[rows, tokens, keyValueHeads, headWidth]` behind those of a layer, and gives them all: views of the
    /// cache, which grows by doubling.
    /// - Throws: `TensorError` for keys of other rows than before, and for those that need gradients: the cache keeps numbers only.
    func extend(_ layer: Int, keys: Tensor, values: Tensor) throws -> (keys: Tensor, values: Tensor) {
        guard !keys.needsGradient, !values.needsGradient else { throw Self.hasNoGradients }
        let (keys, values) = (try keys.stored(as: dtype ?? keys.dtype), try values.stored(as: dtype ?? values.dtype))
        let place = try self.place(layer, of: keys.shape, keys.dtype, on: keys.device)
        try run(Copy(), .init(x: keys.view, y: .write(place.newKeys)), on: keys.device)
        try run(Copy(), .init(x: values.view, y: .write(place.newValues)), on: keys.device)
        return place.all
    }

    /// Whether numbers of this type are stored as they come.
    func keeps(_ dtype: DType) -> Bool { (self.dtype ?? dtype) == dtype }

    /// The same of what one projection made of the new tokens, which is turned to its positions on the way.
    /// - Parameters:
    ///   - projected: `[rows, tokens, (heads + 2 · keyValueHeads) · headWidth]`: queries, keys and values side by side.
    ///   - positions: int32 `[rows · tokens]`.
    /// - Returns: the new tokens' queries `[rows, tokens, heads, headWidth]`, and keys and values of all.
    /// - Precondition: `keeps` what is projected.
    func extend(
        _ layer: Int, projected: Tensor, _ table: RotaryTable, positions: View, heads: Int, keyValueHeads: Int
    ) throws -> (q: Tensor, k: Tensor, v: Tensor) {
        guard !projected.needsGradient else { throw Self.hasNoGradients }
        let (rows, tokens, device) = (projected.shape[0], projected.shape[1], projected.device)
        let width = projected.shape[2] / (heads + 2 * keyValueHeads)
        let place = try self.place(layer, of: [rows, tokens, keyValueHeads, width], projected.dtype, on: device)
        let queries = try device.empty([rows * tokens, heads * width], projected.dtype)
        func flat(_ view: View) -> View {
            View(
                storage: view.storage, offset: view.offset, shape: [rows, tokens, keyValueHeads * width],
                strides: [view.strides[0], view.strides[1], 1], dtype: view.dtype)
        }
        try run(
            RotaryAppend(heads: heads, keyValueHeads: keyValueHeads),
            .init(
                x: projected.view.reshaped([rows * tokens, projected.shape[2]]), positions: positions,
                cosines: table.cosines, sines: table.sines, queries: queries, keys: flat(place.newKeys),
                values: flat(place.newValues)), on: device)
        let all = place.all
        return (Tensor(view: queries.reshaped([rows, tokens, heads, width]), on: Device(device)), all.keys, all.values)
    }

    private static let hasNoGradients = TensorError(
        "a cache of keys and values has no gradients: read with it in Autograd.withoutGradients")

    /// Where a layer's new keys and values go.
    private struct Place {
        let store: (keys: View, values: View)
        let device: ComputeDevice
        let old: Int
        let total: Int

        var newKeys: View { store.keys.narrowed(1, old..<total) }
        var newValues: View { store.values.narrowed(1, old..<total) }
        var all: (keys: Tensor, values: Tensor) {
            func seen(_ view: View) -> Tensor { Tensor(view: view.narrowed(1, 0..<total), on: Device(device)) }
            return (seen(store.keys), seen(store.values))
        }
    }

    /// Makes room for new keys and values, of shape `[rows, tokens, keyValueHeads, headWidth]` each.
    private func place(_ layer: Int, of shape: Dimensions, _ dtype: DType, on device: ComputeDevice) throws -> Place {
        self.device = device
        let total = length + shape[1]
        if let known = layers[layer]?.keys.shape, [known[0], known[2], known[3]] != [shape[0], shape[2], shape[3]] {
            throw TensorError("keys \(shape) behind keys \(known) in a cache")
        }
        if let store = layers[layer], store.keys.shape[1] >= total {
            return Place(store: store, device: device, old: length, total: total)
        }
        var room = 64
        while room < total { room *= 2 }
        func grown(_ old: View?) throws -> View {
            let view = try device.empty([shape[0], room, shape[2], shape[3]], dtype, for: .cache)
            guard let old, length > 0 else { return view }
            let places = 0..<length
            try run(
                Copy(), .init(x: old.narrowed(1, places), y: .write(view.narrowed(1, places))), on: device)
            return view
        }
        let store = (keys: try grown(layers[layer]?.keys), values: try grown(layers[layer]?.values))
        layers[layer] = store
        return Place(store: store, device: device, old: length, total: total)
    }

    /// Keeps some of the rows, in the order given: texts that are finished are read no further.
    func keep(_ rows: [Int]) throws {
        guard let device else { return }
        func chosen(_ old: View) throws -> View {
            let view = try device.empty([rows.count] + old.shape.dropFirst(), old.dtype, for: .cache)
            for (place, row) in rows.enumerated() {
                try run(
                    Copy(),
                    .init(
                        x: old.slice(row..<(row + 1)).narrowed(1, 0..<length),
                        y: .write(view.slice(place..<(place + 1)).narrowed(1, 0..<length))), on: device)
            }
            return view
        }
        layers = try layers.map { try $0.map { (keys: try chosen($0.keys), values: try chosen($0.values)) } }
    }

    func advance(by tokens: Int) { length += tokens }

    /// On a device without bytes: goes on to the last token before the cache grows, as if those in between had been read. They are all alike.
    /// - Parameter left: tokens still to come; the last of them is not passed over.
    /// - Returns: how many tokens were passed over; 0 on other devices.
    func leap(before left: Int) -> Int {
        guard device?.plan != nil, let room = layers.first??.keys.shape[1] else { return 0 }
        let passed = max(0, min(room - length, left) - 1)
        length += passed
        return passed
    }
}
