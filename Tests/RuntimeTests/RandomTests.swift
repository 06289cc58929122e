import Testing
@testable import RetortRuntime
@Suite("Random numbers")
struct RandomTests {
    /// Known answers of the Random123 library for Philox 4x32-10.
    @Test("Philox known answers")
    func knownAnswers() {
        let zero = Philox(seed: 0, stream: 0).block(0)
        #expect([zero.0, zero.1, zero.2, zero.3] == [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8])
        let ones = Philox(seed: .max, stream: .max).block(.max)
        #expect([ones.0, ones.1, ones.2, ones.3] == [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd])
    }

    @Test("many uniform numbers are the single ones")
    func uniforms() {
        let random = Philox(seed: 3, stream: 5)
        for count in [0, 1, 4, 7, 1002] {
            #expect(random.uniforms(count, -2, 3) == (0..<UInt64(count)).map { random.uniform($0, -2, 3) })
        }
    }

    @Test("normal numbers: mean, deviation, and the same whatever the count")
    func normals() {
        let random = Philox(seed: 3, stream: 5)
        let many = random.normals(20_000, deviation: 2)
        let mean = many.reduce(0.0) { $0 + Double($1) } / 20_000
        let variance = many.reduce(0.0) { $0 + Double($1) * Double($1) } / 20_000
        // Five standard errors.
        #expect(abs(mean) < 5 * 2 / 20_000.0.squareRoot())
        #expect(abs(variance - 4) < 5 * 4 * (2 / 20_000.0).squareRoot())
        #expect(abs(Double(many.filter { abs($0) < 2 }.count) / 20_000 - 0.6827) < 0.017)
        for count in [0, 1, 2, 3, 5, 1003] { #expect(random.normals(count, deviation: 2) == Array(many.prefix(count))) }
    }

    @Test("a permutation holds every number once")
    func permutation() {
        let order = Philox(seed: 7, stream: 9).permutation(1000)
        #expect(order.sorted() == Array(0..<1000))
        #expect(order != Array(0..<1000))
    }
}
