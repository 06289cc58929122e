import Testing

@testable import RetortRuntime

@Suite("Dirichlet shares")
struct DirichletTests {
    @Test("moments are the distribution's, for tiny and large concentrations", arguments: [0.01, 0.5, 1, 40])
    func moments(_ alpha: Double) {
        let (count, draws) = (5, 20_000)
        let philox = Philox(seed: 17, stream: Philox.stream("dirichlet/test"))
        let shares = (0..<draws).map { philox.dirichlet(UInt64($0), alpha: alpha, count: count) }
        #expect(shares.allSatisfy { $0.allSatisfy { $0 >= 0 && $0 <= 1 } && abs($0.reduce(0, +) - 1) < 1e-12 })
        // A single share is Beta(alpha, (count − 1)·alpha).
        let variance = Double(count - 1) / Double(count * count) / (Double(count) * alpha + 1)
        for k in 0..<count {
            let own = shares.map { $0[k] }
            let mean = own.reduce(0, +) / Double(draws)
            let measured = own.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(draws)
            // Four standard errors of the mean; the variance's own deviation over √n is below 2 % of it for all of these.
            #expect(abs(mean - 1 / Double(count)) < 4 * (variance / Double(draws)).squareRoot())
            #expect(abs(measured - variance) < 4 * variance * 0.02)
        }
    }

    @Test("a function of seed, stream and index")
    func repeatable() {
        let philox = Philox(seed: 1, stream: 2)
        #expect(philox.dirichlet(3, alpha: 0.3, count: 7) == philox.dirichlet(3, alpha: 0.3, count: 7))
        #expect(philox.dirichlet(3, alpha: 0.3, count: 7) != philox.dirichlet(4, alpha: 0.3, count: 7))
    }
}
