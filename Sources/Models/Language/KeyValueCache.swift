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
        guard !keys.needsGradient, !values.needsGradient else {
            throw TensorError("a cache of keys and values has no gradients: read with it in Autograd.withoutGradients")
        }
        let (keys, values) = (try keys.stored(as: dtype ?? keys.dtype), try values.stored(as: dtype ?? values.dtype))
        let device = keys.device
        self.device = device
        let total = length + keys.shape[1]
        var store = layers[layer]
        if let known = store?.keys.shape,
            [known[0], known[2], known[3]] != [keys.shape[0], keys.shape[2], keys.shape[3]]
        {
            throw TensorError("keys \(keys.shape) behind keys \(known) in a cache")
        }
        if (store?.keys.shape[1] ?? 0) < total {
            var room = 64
            while room < total { room *= 2 }
            func grown(_ old: View?, _ new: View) throws -> View {
                let view = try device.empty(
                    [new.shape[0], room, new.shape[2], new.shape[3]], new.dtype, for: .cache)
                guard let old, length > 0 else { return view }
                let places = 0..<length
                try run(
                    Copy(), .init(x: old.narrowed(1, places), y: .write(view.narrowed(1, places))), on: device)
                return view
            }
            store = (keys: try grown(store?.keys, keys.view), values: try grown(store?.values, values.view))
            layers[layer] = store
        }
        func put(_ new: View, _ all: View) throws -> Tensor {
            try run(Copy(), .init(x: new, y: .write(all.narrowed(1, length..<total))), on: device)
            return Tensor(view: all.narrowed(1, 0..<total), on: Device(device))
        }
        return (keys: try put(keys.view, store!.keys), values: try put(values.view, store!.values))
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
