import Testing

@testable import RetortRuntime

/// A few values each, worked out by hand; the goldens pin the rest.
@Suite("Schedules")
struct ScheduleTests {
    private func rates(_ schedule: Schedule, _ steps: [Int], base: Double = 2) -> [Double] {
        steps.map { (schedule.rate($0, base: base) * 1e9).rounded() / 1e9 }
    }

    @Test("constant, with and without warm-up")
    func constant() {
        #expect(rates(.constant, [0, 1, 1000]) == [2, 2, 2])
        #expect(rates(.constantWithWarmup(warmup: 4), [0, 1, 2, 4, 5]) == [0, 0.5, 1, 2, 2])
    }

    @Test("linear falls to 0 and stays there")
    func linear() {
        #expect(rates(.linear(warmup: 2, total: 10), [0, 1, 2, 6, 10, 12]) == [0, 1, 2, 1, 0, 0])
    }

    @Test("cosine: top, middle, bottom")
    func cosine() {
        #expect(rates(.cosine(warmup: 2, total: 10), [0, 1, 2, 6, 10]) == [0, 1, 2, 1, 0])
        #expect(rates(.cosineWithMinimum(warmup: 0, total: 8, minimumRate: 0.5), [0, 4, 8]) == [2, 1.5, 1])
        #expect(rates(.cosineAnnealing(period: 4, minimum: 0.5), [0, 2, 4]) == [2, 1.25, 0.5])
        #expect(rates(.cosineAnnealing(period: 4, minimum: 0.5, warmup: 4), [0, 2, 4]) == [0.5, 0.9375, 0.5])
        #expect(rates(.cosineWithRestarts(warmup: 0, total: 8, cycles: 2), [0, 2, 4, 6, 8]) == [2, 1, 2, 1, 0])
    }

    @Test("steps and powers")
    func steps() {
        #expect(rates(.step(every: 3, gamma: 0.5), [0, 2, 3, 5, 6]) == [2, 2, 1, 1, 0.5])
        #expect(rates(.multiStep(milestones: [2, 5], gamma: 0.1), [1, 2, 4, 5]) == [2, 0.2, 0.2, 0.02])
        #expect(rates(.exponential(gamma: 0.5), [0, 1, 3]) == [2, 1, 0.25])
        #expect(rates(.inverseSquareRoot(warmup: 4), [0, 2, 4, 16]) == [0, 1, 2, 1])
        #expect(rates(.polynomial(warmup: 0, total: 10, end: 0, power: 2), [0, 5, 10]) == [2, 0.5, 0])
    }

    @Test("warm-up of 0 steps begins at the base rate")
    func noWarmup() {
        for schedule: Schedule in [
            .constantWithWarmup(warmup: 0), .linear(warmup: 0, total: 5), .cosine(warmup: 0, total: 5),
        ] {
            #expect(schedule.rate(0, base: 3) == 3)
        }
    }
}
