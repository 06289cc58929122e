import Foundation

/// Counter-based random numbers (Philox 4×32-10, Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
///
/// A number is a pure function of (seed, stream, index): nothing has to be saved for a resume, and every device, batch split and
/// thread count sees the same numbers. The kernels of `dropout.cl` compute the same function.
public struct Philox: Sendable {
    private let key: (UInt32, UInt32)
    private let stream: (UInt32, UInt32)

    /// - Parameters:
    ///   - seed: the run's seed.
    ///   - stream: what the numbers are for; see `stream(_:)`.
    public init(seed: UInt64, stream: UInt64) {
        key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
        self.stream = (UInt32(truncatingIfNeeded: stream), UInt32(truncatingIfNeeded: stream >> 32))
    }

    /// A stream number for a purpose, e.g. a parameter's path or "shuffle": FNV-1a of its name.
    public static func stream(_ purpose: String) -> UInt64 {
        purpose.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01b3 }
    }

    /// Four random words for one counter.
    public func block(_ index: UInt64) -> (UInt32, UInt32, UInt32, UInt32) {
        var c = (UInt32(truncatingIfNeeded: index), UInt32(truncatingIfNeeded: index >> 32), stream.0, stream.1)
        var k = key
        for round in 0..<10 {
            if round > 0 {
                k.0 &+= 0x9E37_79B9
                k.1 &+= 0xBB67_AE85
            }
            let a = UInt64(0xD251_1F53) * UInt64(c.0)
            let b = UInt64(0xCD9E_8D57) * UInt64(c.2)
            c = (
                UInt32(truncatingIfNeeded: b >> 32) ^ c.1 ^ k.0, UInt32(truncatingIfNeeded: b),
                UInt32(truncatingIfNeeded: a >> 32) ^ c.3 ^ k.1, UInt32(truncatingIfNeeded: a)
            )
        }
        return c
    }

    /// The word of one element: lane `index % 4` of block `index / 4`.
    public func word(_ index: UInt64) -> UInt32 {
        let b = block(index / 4)
        return switch index % 4 {
        case 0: b.0
        case 1: b.1
        case 2: b.2
        default: b.3
        }
    }

    /// Uniform in [low, high), 24 random bits.
    public func uniform(_ index: UInt64, _ low: Float = 0, _ high: Float = 1) -> Float {
        low + (high - low) * (Float(word(index) >> 8) * 0x1p-24)
    }

    /// `uniform(0)`, `uniform(1)`, … up to `count` of them, each block computed once.
    public func uniforms(_ count: Int, _ low: Float = 0, _ high: Float = 1) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            for start in stride(from: 0, to: count, by: 4) {
                let b = block(UInt64(start / 4))
                let words = SIMD4(b.0, b.1, b.2, b.3)
                for lane in 0..<min(4, count - start) {
                    buffer[start + lane] = low + (high - low) * (Float(words[lane] >> 8) * 0x1p-24)
                }
            }
            initialized = count
        }
    }

    /// Normal with mean 0, up to `count` of them: elements 2i and 2i + 1 are the pair that words 2i and 2i + 1 give (Box and Muller
    /// 1958), computed in double.
    public func normals(_ count: Int, deviation: Float) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            for start in stride(from: 0, to: count, by: 4) {
                let b = block(UInt64(start / 4))
                for (at, (u, v)) in [(b.0, b.1), (b.2, b.3)].enumerated() {
                    // In (0, 1]: the logarithm is finite.
                    let radius = (-2 * log((Double(u) + 1) * 0x1p-32)).squareRoot()
                    let angle = 2 * Double.pi * (Double(v) * 0x1p-32)
                    for (lane, value) in [radius * cos(angle), radius * sin(angle)].enumerated() {
                        let i = start + 2 * at + lane
                        if i < count { buffer[i] = deviation * Float(value) }
                    }
                }
            }
            initialized = count
        }
    }

    /// A whole number in 0..<bound without bias: Lemire's multiply and reject, retrying on later words of the same block index.
    public func integer(_ index: UInt64, below bound: UInt32) -> UInt32 {
        let threshold = (0 &- bound) % bound
        var attempt: UInt64 = 0
        while true {
            // Attempts of one index live 2^40 blocks apart, so they never meet another index's words.
            let product = UInt64(block(index &+ attempt << 40).0) * UInt64(bound)
            if UInt32(truncatingIfNeeded: product) >= threshold { return UInt32(product >> 32) }
            attempt += 1
        }
    }

    /// The numbers 0..<count in random order (Fisher–Yates).
    public func permutation(_ count: Int) -> [Int32] {
        var order = (0..<Int32(count)).map { $0 }
        for i in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(i, Int(integer(UInt64(i), below: UInt32(i + 1))))
        }
        return order
    }
}
