import Foundation
import RetortKernels
import RetortRuntime

/// Causal attention of one sequence, forward and backward: flash and composed, whose memory is the point. Shapes: tokens × heads × groups
/// of keys × width of a head.
enum AttentionCases {
    private static let heads = [6, 2, 64]
    /// The composed one holds length² numbers a head, several times over.
    private static let lengths = (flash: [512, 1024, 2048, 4096, 8192], composed: [512, 1024, 2048, 4096])
    /// Shapes at which one is compared with the other.
    static let compared = [512, 1024, 2048].map { [$0] + heads }

    static var all: [BenchCase] {
        lengths.flash.map { flash([$0] + heads) } + lengths.composed.map { composed([$0] + heads) }
    }

    static func flash(_ sizes: [Int]) -> BenchCase {
        attention("attention_flash", sizes) { q, k, v, mask in
            guard
                case .spans(let spans) = try mask.sight(
                    batch: 1, queries: q.shape[1], keys: q.shape[1], on: q.device)
            else { throw TensorError("a causal mask of \(q.shape[1]) tokens has no spans") }
            let scale = scale(q.shape[3])
            return { try q.flashAttention(keys: k, values: v, scale: scale, spans: spans) }
        }
    }

    static func composed(_ sizes: [Int]) -> BenchCase {
        attention("attention_composed", sizes) { q, k, v, mask in
            let bias = try mask.bias(batch: 1, queries: q.shape[1], keys: q.shape[1], on: q.device)
            let scale = scale(q.shape[3])
            return {
                func byHeads(_ x: Tensor) throws -> Tensor {
                    try x.permuted([0, 2, 1, 3]).reshaped([1, x.shape[2], x.shape[1], x.shape[3]])
                }
                let (heard, _) = try byHeads(q).attention(
                    keys: byHeads(k), values: byHeads(v), scale: scale, mask: bias)
                return try heard.permuted([0, 2, 1, 3])
            }
        }
    }

    private static func scale(_ width: Int) -> Float { 1 / Float(width).squareRoot() }

    private static func attention(
        _ kernel: String, _ sizes: [Int],
        heard: @escaping @Sendable (_ q: Tensor, _ k: Tensor, _ v: Tensor, AttentionMask) throws -> () throws -> Tensor
    ) -> BenchCase {
        BenchCase(.attention, kernel, sizes, rotates: false, measuresMemory: true) { device, random in
            let (length, heads, groups, width) = (sizes[0], sizes[1], sizes[2], sizes[3])
            func leaf(_ heads: Int) throws -> (Tensor, Parameter, [Float]) {
                let values = random.floats(length * heads * width)
                let (tensor, parameter) = try Tensor.variable(values, [1, length, heads, width], on: device)
                return (tensor, parameter, values)
            }
            let (q, k, v) = (try leaf(heads), try leaf(groups), try leaf(groups))
            let upstream = try Tensor(random.floats(length * heads * width), [1, length, heads, width], on: device)
            let attend = try heard(q.0, k.0, v.0, AttentionMask(isCausal: true))
            // Seven products of the pairs that are seen.
            let pairs = Double(length) * Double(length + 1) / 2
            let cost = Cost(
                flops: 14 * pairs * Double(heads * width), bytes: 4 * Double(length * width * (5 * heads + 4 * groups)))
            var last: Tensor?
            return BenchSet(
                on: device.compute, cost: cost, outputs: [], tolerance: 1e-5,
                run: {
                    last = nil
                    let y = try attend()
                    try y.backward(upstream: upstream)
                    last = y.detached
                },
                reference: { _ in
                    var errors = ErrorScale()
                    guard let y = try last?.values() else { return .infinity }
                    for query in [0, length / 3, length - 1] {
                        for head in 0..<heads {
                            let at = (query * heads + head) * width
                            let places = (0...query).map { ($0 * groups + head * groups / heads) * width }
                            errors.add(Array(y[at..<(at + width)]), row(q.2[at..<(at + width)], k.2, v.2, places))
                        }
                    }
                    return errors.error
                })
        }
    }

    /// The answer of one head of one query, float64. `places`: where the keys that it sees begin.
    private static func row(_ q: ArraySlice<Float>, _ k: [Float], _ v: [Float], _ places: [Int]) -> [Double] {
        let scale = Double(scale(q.count))
        let scores = places.map { at -> Double in
            var score = 0.0
            for d in 0..<q.count { score += Double(q[q.startIndex + d]) * Double(k[at + d]) }
            return scale * score
        }
        let top = scores.max()!
        let e = scores.map { exp($0 - top) }
        let total = e.reduce(0, +)
        return q.indices.map { i -> Double in
            let d = i - q.startIndex
            var sum = 0.0
            for (e, at) in zip(e, places) { sum += e / total * Double(v[at + d]) }
            return sum
        }
    }
}
