import RetortSupport

/// One axis of a chart: a range of values, and ticks at round numbers.
struct ChartAxis {
    struct Tick {
        var value: Double
        var label: String
    }

    let title: String
    let lower: Double
    let upper: Double
    let ticks: [Tick]
    let isLogarithmic: Bool

    /// Where a value lies: 0 at the lower end, 1 at the upper end; values outside lie at the end.
    func position(_ value: Double) -> Double {
        let share =
            isLogarithmic
            ? (value > 0 ? logTen(value / lower) / logTen(upper / lower) : 0)
            : (value - lower) / (upper - lower)
        return share.isFinite ? min(max(share, 0), 1) : 0
    }

    /// A linear axis that covers the values and ends at ticks.
    /// - Parameters:
    ///   - limits: what the axis never exceeds (a percentage does not go beyond 100).
    ///   - count: about how many steps.
    ///   - whole: ticks are whole numbers, for what is counted.
    init(
        _ title: String, covering values: [Double], limits: ClosedRange<Double> = -1e300...1e300,
        steps count: Double = 5, whole: Bool = false
    ) {
        let finite = values.filter { $0.isFinite && abs($0) < 1e300 }
        var low = max(finite.min() ?? 0, limits.lowerBound)
        var high = min(finite.max() ?? 1, limits.upperBound)
        if !(high - low > 1e-9 * max(abs(low), abs(high))) {
            // One value only: some air around it, inside the limits.
            let air = low == 0 ? 1 : abs(low) * 0.1
            low = max(low - air, limits.lowerBound)
            high = min(max(high, low) + air, limits.upperBound)
        }
        let step = max(Self.roundStep((high - low) / count), whole ? 1 : 0)
        let first = (low / step + 1e-6).rounded(.down)
        let last = max((high / step - 1e-6).rounded(.up), first + 1)
        let decimals = Self.decimals(step)
        self.title = title
        lower = first * step
        upper = last * step
        isLogarithmic = false
        ticks = (0...Int(min(last - first, 50))).map { index in
            let value = (first + Double(index)) * step
            return Tick(value: value, label: Self.label(value, decimals: decimals))
        }
    }

    /// A logarithmic axis that covers the values, all of them above 0.
    init(_ title: String, coveringLogarithmically values: [Double]) {
        let positive = values.filter { $0.isFinite && $0 > 1e-300 && $0 < 1e300 }
        let low = positive.min() ?? 1
        let high = max(positive.max() ?? 10, low)
        let firstDecade = Int(logTen(low).rounded(.down))
        let lastDecade = max(Int(logTen(high).rounded(.up)), firstDecade + 1)
        let decades = lastDecade - firstDecade
        // Both ends are 1, 2 or 5 times a power of ten.
        let candidates = (firstDecade...lastDecade).flatMap { decade in [1.0, 2, 5].map { $0 * powerOfTen(decade) } }
        let start = candidates.last { $0 <= low * 1.000_001 } ?? low
        let end = candidates.first { $0 >= high * 0.999_999 && $0 > start } ?? high * 10
        var shown = candidates.filter { $0 >= start && $0 <= end }
        if shown.count > 6 {
            // Powers of ten only, every k-th if there are many.
            let stride = max(1, (decades + 4) / 5)
            let first = (logTen(start) - 1e-9).rounded(.up)
            let powers = (Int(first)...max(Int(first), Int((logTen(end) + 1e-9).rounded(.down))))
            shown = powers.filter { ($0 - Int(first)) % stride == 0 }.map(powerOfTen)
        }
        self.title = title
        lower = start
        upper = end
        isLogarithmic = true
        ticks = shown.map { Tick(value: $0, label: Self.magnitude($0)) }
    }

    /// 1, 2 or 5 times a power of ten, at least `step`.
    private static func roundStep(_ step: Double) -> Double {
        guard step.isFinite, step > 1e-300 else { return 1 }
        let power = powerOfTen(Int(logTen(step).rounded(.down)))
        return ([1, 2, 5].first { $0 * power >= step * 0.999 } ?? 10) * power
    }

    private static func decimals(_ step: Double) -> Int {
        min(max(Int((-logTen(step) - 1e-9).rounded(.up)), 0), 12)
    }

    private static func label(_ value: Double, decimals: Int) -> String {
        guard abs(value) < 1e6 else { return magnitude(value) }
        let text = NumberFormat.fixed(abs(value), decimals: decimals)
        return value < 0 ? "−" + text : text
    }

    /// 0.001, 20, 50 k, 2 M, 1e-7.
    static func magnitude(_ value: Double) -> String {
        let size = abs(value)
        if size >= 1e15 || (size < 0.000_99 && size > 0) {
            let exponent = Int((logTen(size) + 1e-9).rounded(.down))
            return NumberFormat.significant(value / powerOfTen(exponent), digits: 3) + "e\(exponent)"
        }
        for (unit, factor) in [("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)] where size >= factor * 0.999_999 {
            return NumberFormat.significant(value / factor, digits: 3) + " " + unit
        }
        return NumberFormat.significant(value, digits: 3)
    }
}
