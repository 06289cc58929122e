import TestSupport
import Testing

@testable import RetortRuntime

/// Backward from given upstream gradients.
@Suite("Upstream gradients")
struct UpstreamTests {
    @Test("one output; the caller keeps what he gave", arguments: TestBackend.available)
    func single(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([1, 2, 3], [3], on: device)
        let upstream = try Tensor([1, 10, 100], [3], on: device)
        let y = try x.squared()
        // The second use of y adds to its gradient in place.
        let z = try (y * 2).sum()
        try Tensor.backward([(y, upstream), (z, try Tensor([1], [], on: device))])
        // d/dx = 2x · (upstream + 2)
        #expect(try leaf.gradientValues() == [6, 48, 612])
        #expect(try upstream.values() == [1, 10, 100])
    }

    @Test("an infinite element with upstream 0 takes no part", arguments: TestBackend.available)
    func nonFinite(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (x, leaf) = try Tensor.variable([0, 0, -.infinity], [1, 3], on: device)
        try x.logSoftmax().backward(upstream: Tensor([1, 0, 0], [1, 3], on: device))
        #expect(try leaf.gradientValues() == [0.5, -0.5, 0])
    }

    @Test("another shape, and a tensor off the tape, are refused")
    func refused() throws {
        let device = try TestBackend.cpu.device()
        let (x, _) = try Tensor.variable([1, 2], [2], on: device)
        let one = try Tensor([1], [1], on: device)
        #expect(throws: TensorError.self) { try x.squared().backward(upstream: one) }
        #expect(throws: TensorError.self) { try one.backward(upstream: one) }
    }
}
