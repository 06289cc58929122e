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
            fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]), from: 0, low, high)
            initialized = count
        }
    }

    /// `uniform(first)`, `uniform(first + 1)`, … into memory; `first` is a multiple of four.
    func fill(_ buffer: UnsafeMutableBufferPointer<Float>, from first: Int, _ low: Float, _ high: Float) {
        blocks(buffer.count, from: first) { start, words in
            for lane in 0..<min(4, buffer.count - start) {
                buffer[start + lane] = low + (high - low) * (Float(words[lane] >> 8) * 0x1p-24)
            }
        }
    }

    /// Normal with mean 0, up to `count` of them: elements 2i and 2i + 1 are the pair that words 2i and 2i + 1 give (Box and Muller
    /// 1958), computed in double.
    public func normals(_ count: Int, deviation: Float) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            fill(UnsafeMutableBufferPointer(rebasing: buffer[..<count]), from: 0, deviation: deviation)
            initialized = count
        }
    }

    /// The same from element `first` on, a multiple of four, into memory.
    func fill(_ buffer: UnsafeMutableBufferPointer<Float>, from first: Int, deviation: Float) {
        blocks(buffer.count, from: first) { start, words in
            for at in stride(from: 0, to: min(4, buffer.count - start), by: 2) {
                // In (0, 1]: the logarithm is finite.
                let radius = (-2 * log((Double(words[at]) + 1) * 0x1p-32)).squareRoot()
                let angle = 2 * Double.pi * (Double(words[at + 1]) * 0x1p-32)
                buffer[start + at] = deviation * Float(radius * cos(angle))
                if start + at + 1 < buffer.count { buffer[start + at + 1] = deviation * Float(radius * sin(angle)) }
            }
        }
    }

    /// Calls `body` with every fourth place of `count` and the words that belong there when the first is element `first`.
    private func blocks(_ count: Int, from first: Int, _ body: (_ start: Int, SIMD4<UInt32>) -> Void) {
        precondition(first % 4 == 0, "element \(first) is inside a block of four")
        for start in stride(from: 0, to: count, by: 4) {
            let b = block(UInt64((first + start) / 4))
            body(start, SIMD4(b.0, b.1, b.2, b.3))
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
