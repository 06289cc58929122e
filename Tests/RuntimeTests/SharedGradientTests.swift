import TestSupport
import Testing

@testable import RetortRuntime

@Suite("Gradients with several receivers")
struct SharedGradientTests {
    /// a + b hands one gradient to both; what is added to a's afterwards must not reach b's.
    @Test("a sum's gradient is not written through", arguments: TestBackend.fast)
    func sumThenMore(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (a, pa) = try Tensor.variable([1, 2, 3], [3], on: device)
        let (b, pb) = try Tensor.variable([4, 5, 6], [3], on: device)
        let a2 = try a.scaled(1)
        let b2 = try b.scaled(1)
        // Made before the sum, so that it is visited after it: its gradient is added to the one a2 already has.
        let early = try (a2 * a2).sum()
        let z = try a2 + b2
        try (early + (z * z).sum()).backward()
        // d/da: 2a + 2(a + b); d/db: 2(a + b).
        #expect(try pa.gradientValues() == [12, 18, 24])
        #expect(try pb.gradientValues() == [10, 14, 18])
    }

    @Test("a tensor added to itself", arguments: TestBackend.fast)
    func twice(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (a, pa) = try Tensor.variable([1, 2], [2], on: device)
        let a2 = try a.scaled(1)
        let z = try a2 + a2
        try (z * z).sum().backward()
        #expect(try pa.gradientValues() == [8, 16])
    }
}
