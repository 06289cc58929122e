import Foundation
import RetortRuntime

/// The numbers inputs are filled with: a function of seed and purpose, in order (SplitMix64, Steele et al. 2014).
public struct RandomNumbers: Sendable {
    private var state: UInt64

    public init(seed: UInt64, _ purpose: String) {
        state = Philox.stream(purpose) ^ (seed &* 0x9E37_79B9_7F4A_7C15)
    }

    private mutating func word() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// In [0, 1), 24 bits.
    private mutating func fraction() -> Float { Float(word() >> 40) * 0x1p-24 }

    public mutating func uniform(_ count: Int, _ low: Float = 0, _ high: Float = 1) -> [Float] {
        (0..<count).map { _ in low + (high - low) * fraction() }
    }

    /// Bell-shaped around `mean` with standard deviation `scale`: the sum of four uniforms, so nothing beyond 3.5 scales.
    public mutating func normal(_ count: Int, scale: Float = 1, mean: Float = 0) -> [Float] {
        (0..<count).map { _ in
            let sum = (fraction() + fraction()) + (fraction() + fraction()) - 2
            return mean + scale * 1.7320508 * sum
        }
    }

    /// Whole numbers, ends included.
    public mutating func integers(_ count: Int, _ range: ClosedRange<Int>) -> [Int] {
        (0..<count).map { _ in range.lowerBound + Int(word() % UInt64(range.count)) }
    }

    /// All different, at least `gap` apart, in random order around 0: away from ties and from the kink of `relu`.
    public mutating func distinct(_ count: Int, gap: Float = 0.05) -> [Float] {
        var order = Array(0..<count)
        for i in stride(from: count - 1, to: 0, by: -1) { order.swapAt(i, Int(word() % UInt64(i + 1))) }
        return order.map { (Float($0) - Float(count) / 2 + 0.37) * gap }
    }
}
