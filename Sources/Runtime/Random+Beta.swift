import Foundation

extension Philox {
    /// A number from the distribution Beta(α, β) of this stream's block `index`, in [0, 1].
    ///
    /// X / (X + Y) with X from Gamma(α) and Y from Gamma(β), made as logarithms: for small α both underflow, their quotient does not.
    /// Gamma by Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), with their boost
    /// Gamma(α) = Gamma(α + 1) · U^(1/α) for α < 1. Every random number is of 53 bits.
    public func beta(_ index: UInt64, _ alpha: Double, _ beta: Double) -> Double {
        precondition(alpha > 0 && beta > 0 && alpha.isFinite && beta.isFinite, "Beta(\(alpha), \(beta))")
        var numbers = BlockNumbers(philox: self, index: index)
        let (x, y) = (numbers.logGamma(alpha), numbers.logGamma(beta))
        return 1 / (1 + exp(y - x))
    }
}

/// One block index's sequence of random numbers: the blocks index, index + 2^40, index + 2 · 2^40, …, as in `integer`.
struct BlockNumbers {
    let philox: Philox
    var index: UInt64
    /// The second half of the last block, not yet used.
    var kept: Double?

    init(philox: Philox, index: UInt64) {
        self.philox = philox
        self.index = index
    }

    /// Uniform in (0, 1): the middles of 2^52 equal pieces.
    mutating func uniform() -> Double {
        if let kept {
            self.kept = nil
            return kept
        }
        let block = philox.block(index)
        index &+= 1 << 40
        func fraction(_ high: UInt32, _ low: UInt32) -> Double {
            (Double((UInt64(high) << 32 | UInt64(low)) >> 12) + 0.5) * 0x1p-52
        }
        kept = fraction(block.2, block.3)
        return fraction(block.0, block.1)
    }

    /// Standard normal: Marsaglia's polar method, of whose two numbers one is used.
    mutating func normal() -> Double {
        while true {
            let (a, b) = (2 * uniform() - 1, 2 * uniform() - 1)
            let square = a * a + b * b
            if square < 1, square > 0 { return a * (-2 * log(square) / square).squareRoot() }
        }
    }

    /// The logarithm of a number from Gamma(shape).
    mutating func logGamma(_ shape: Double) -> Double {
        // Never −∞: of two of them the quotient would be NaN.
        guard shape >= 1 else { return max(logGamma(shape + 1) + log(uniform()) / shape, -.greatestFiniteMagnitude) }
        let d = shape - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let x = normal()
            let v = 1 + c * x
            guard v > 0 else { continue }
            let cubed = v * v * v
            if log(uniform()) < 0.5 * x * x + d * (1 - cubed + log(cubed)) { return log(d) + 3 * log(v) }
        }
    }
}
