import Foundation

/// Losses written once more in double on the host, and their gradients by central differences: what the tests compare with.
enum Float64Reference {
    /// Central differences with a step at which a double has eleven digits left.
    static func gradient(_ x: [Double], _ f: ([Double]) -> Double) -> [Double] {
        let step = 1e-5
        return x.indices.map { i in
            var (up, down) = (x, x)
            up[i] += step
            down[i] -= step
            return (f(up) - f(down)) / (2 * step)
        }
    }

    /// The rows of a matrix.
    static func rows(_ x: [Double], _ columns: Int) -> [[Double]] {
        stride(from: 0, to: x.count, by: columns).map { Array(x[$0..<($0 + columns)]) }
    }

    static func logSoftmax(_ z: [Double], temperature: Double = 1) -> [Double] {
        let scaled = z.map { $0 / temperature }
        let top = scaled.max() ?? 0
        let logSum = top + log(scaled.reduce(0) { $0 + exp($1 - top) })
        return scaled.map { $0 - logSum }
    }

    static func softmax(_ z: [Double], temperature: Double = 1) -> [Double] {
        logSoftmax(z, temperature: temperature).map { exp($0) }
    }

    /// KL(p‖q) of probabilities p and log-probabilities.
    static func divergence(_ p: [Double], _ logQ: [Double]) -> Double {
        zip(p, logQ).reduce(0) { $1.0 > 0 ? $0 + $1.0 * (log($1.0) - $1.1) : $0 }
    }

    static func entropy(_ p: [Double]) -> Double { -p.reduce(0) { $1 > 0 ? $0 + $1 * log($1) : $0 } }

    static func mean(_ x: [Double]) -> Double { x.reduce(0, +) / Double(x.count) }
}
