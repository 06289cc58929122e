import Foundation

/// The learning rate of each step, counted from 0. Names and formulas are those of `transformers.get_scheduler` and
/// `torch.optim.lr_scheduler`; both are pinned by goldens.
public enum Schedule: Sendable, Equatable {
    case constant
    case constantWithWarmup(warmup: Int)
    case linear(warmup: Int, total: Int)
    /// Half a cosine from 1 to 0 (`cycles` = 0.5).
    case cosine(warmup: Int, total: Int, cycles: Double = 0.5)
    case cosineWithRestarts(warmup: Int, total: Int, cycles: Int)
    case cosineWithMinimum(warmup: Int, total: Int, minimumRate: Double, cycles: Double = 0.5)
    /// From the base rate to `end` with this power.
    case polynomial(warmup: Int, total: Int, end: Double = 1e-7, power: Double = 1)
    case inverseSquareRoot(warmup: Int, timescale: Int? = nil)
    case step(every: Int, gamma: Double)
    case multiStep(milestones: [Int], gamma: Double)
    /// PyTorch's CosineAnnealingLR in closed form, times a warm-up that reaches 1 at its last step: what LinearLR chained with it gives
    /// (start_factor = 1 / warmup, total_iters = warmup − 1). The others fall only once they have risen.
    case cosineAnnealing(period: Int, minimum: Double, warmup: Int = 0)
    case exponential(gamma: Double)
    case oneCycle(
        maximum: Double, total: Int, warmupShare: Double = 0.3, initialDivisor: Double = 25, finalDivisor: Double = 1e4)

    /// The rate in force for optimizer step `step`.
    public func rate(_ step: Int, base: Double) -> Double {
        let t = Double(step)
        func warming(_ warmup: Int) -> Double? { step < warmup ? base * t / Double(max(1, warmup)) : nil }
        func progress(_ warmup: Int, _ total: Int) -> Double { (t - Double(warmup)) / Double(max(1, total - warmup)) }

        switch self {
        case .constant: return base
        case .constantWithWarmup(let warmup): return step < warmup ? base * t / Double(max(1, warmup)) : base
        case .linear(let warmup, let total):
            return warming(warmup) ?? base * max(0, Double(total - step) / Double(max(1, total - warmup)))
        case .cosine(let warmup, let total, let cycles):
            return warming(warmup)
                ?? base * max(0, 0.5 * (1 + cos(.pi * cycles * 2 * progress(warmup, total))))
        case .cosineWithRestarts(let warmup, let total, let cycles):
            if let rate = warming(warmup) { return rate }
            let progress = progress(warmup, total)
            if progress >= 1 { return 0 }
            let phase = (Double(cycles) * progress).truncatingRemainder(dividingBy: 1)
            return base * max(0, 0.5 * (1 + cos(.pi * phase)))
        case .cosineWithMinimum(let warmup, let total, let minimum, let cycles):
            if let rate = warming(warmup) { return rate }
            let factor = 0.5 * (1 + cos(.pi * cycles * 2 * progress(warmup, total)))
            return base * max(0, factor * (1 - minimum) + minimum)
        case .polynomial(let warmup, let total, let end, let power):
            if let rate = warming(warmup) { return rate }
            if step > total { return end }
            let remaining = 1 - Double(step - warmup) / Double(total - warmup)
            return (base - end) * pow(remaining, power) + end
        case .inverseSquareRoot(let warmup, let timescale):
            if let rate = warming(warmup) { return rate }
            let timescale = Double(timescale ?? (warmup > 0 ? warmup : 10_000))
            return base / ((t + timescale - Double(warmup)) / timescale).squareRoot()
        case .step(let every, let gamma): return base * pow(gamma, Double(step / every))
        case .multiStep(let milestones, let gamma):
            return base * pow(gamma, Double(milestones.filter { $0 <= step }.count))
        case .cosineAnnealing(let period, let minimum, let warmup):
            let rate = minimum + (base - minimum) * (1 + cos(.pi * t / Double(period))) / 2
            return step < warmup ? rate * (t + 1) / Double(warmup) : rate
        case .exponential(let gamma): return base * pow(gamma, t)
        case .oneCycle(let maximum, let total, let share, let initialDivisor, let finalDivisor):
            let first = maximum / initialDivisor
            let last = first / finalDivisor
            func anneal(_ from: Double, _ to: Double, _ part: Double) -> Double {
                to + (from - to) / 2 * (cos(.pi * part) + 1)
            }
            let top = share * Double(total) - 1
            if t <= top { return anneal(first, maximum, t / top) }
            return anneal(maximum, last, (t - top) / (Double(total) - 1 - top))
        }
    }
}
