import Foundation

/// What is kept of a teacher's prediction of one token.
struct KeptRow: Sendable, Equatable {
    /// The classes, ascending.
    var ids: [Int32]
    /// How far below the likeliest class each lies: ln p_max − ln p ≥ 0, in nats.
    var depths: [Double]
    /// The others together; nil where all classes are kept.
    var rest: RestMass?

    /// The class that the teacher finds likeliest: of equally likely ones the first.
    var likeliest: Int32? { depths.indices.min { (depths[$0], $0) < (depths[$1], $1) }.map { ids[$0] } }

    /// Of temperature T, what the kept classes and the others weigh: e^(−depth / T), and the rest's sum of the same.
    func residual(at temperature: Double) -> Double {
        guard let rest else { return 0 }
        let logRest = rest.logSum(at: temperature)
        let logKept = log(depths.reduce(0) { $0 + exp(-$1 / temperature) })
        return 1 / (1 + exp(logKept - logRest))
    }
}

/// ln Σ e^(β · (ln p − ln p_max)) over the classes that are not kept, at some β = 1 / T; at β = 0 it is the logarithm of their number.
///
/// It is a smooth, convex function of β. Stored are its values at T = ½, 1, 2 and 4, where it is exact; between them and up to T = ∞ a cubic
/// goes through the neighbours, below T = ½ it goes on straight.
struct RestMass: Sendable, Equatable {
    static let temperatures = [0.5, 1, 2, 4]
    static let rates = temperatures.map { 1 / $0 }

    /// At `rates`.
    var logSums: [Double]
    /// How many classes there are.
    var classes: Int

    /// In nats, against the likeliest class.
    func logSum(at temperature: Double) -> Double {
        let rate = 1 / temperature
        if let known = Self.rates.firstIndex(of: rate) { return logSums[known] }
        let many = log(Double(classes))
        if rate <= 1 {
            return Self.polynomial(
                [(0, many), (0.25, logSums[3]), (0.5, logSums[2]), (1, logSums[1])], at: rate)
        }
        if rate <= 2 {
            return Self.polynomial([(0.25, logSums[3]), (0.5, logSums[2]), (1, logSums[1]), (2, logSums[0])], at: rate)
        }
        return logSums[0] + (rate - 2) * (logSums[0] - logSums[1])
    }

    /// Lagrange's, through the points.
    private static func polynomial(_ points: [(x: Double, y: Double)], at x: Double) -> Double {
        points.indices.reduce(0) { sum, i in
            sum
                + points.indices.reduce(points[i].y) { product, j in
                    j == i ? product : product * (x - points[j].x) / (points[i].x - points[j].x)
                }
        }
    }
}
