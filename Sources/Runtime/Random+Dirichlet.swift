import Foundation

extension Philox {
    /// `count` shares that sum to 1, from the symmetric Dirichlet distribution with this concentration, of this stream's block `index`.
    ///
    /// Gamma(alpha) numbers over their sum, in logarithms as in `beta`: for small alpha all but one underflow, and that one has the whole.
    /// Large alpha gives nearly equal shares.
    public func dirichlet(_ index: UInt64, alpha: Double, count: Int) -> [Double] {
        precondition(alpha > 0 && alpha.isFinite && count > 0, "Dirichlet(\(alpha)) of \(count) shares")
        var numbers = BlockNumbers(philox: self, index: index)
        let logarithms = (0..<count).map { _ in numbers.logGamma(alpha) }
        let top = logarithms.max() ?? 0
        let weights = logarithms.map { exp($0 - top) }
        let sum = weights.reduce(0, +)
        return weights.map { $0 / sum }
    }
}
