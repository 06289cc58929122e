import RetortKernels
import RetortRuntime
import TestSupport
import Testing

/// Host memory brought to a device beside its work.
@Suite("Transfers")
struct TransferTests {
    private func write(_ values: [Float], to view: View, _ transfer: Transfer, after fence: Fence? = nil) throws {
        try values.withUnsafeBytes { try transfer.write($0, to: view, after: fence) }
    }

    @Test("what is written is there when the call returns", arguments: TestBackend.available)
    func arrives(_ backend: TestBackend) throws {
        let compute = try backend.device().compute
        let transfer = try Transfer(to: compute)
        for count in [1, 7, 41 * 1271] {
            let view = try compute.empty([count + 3], for: .data)
            try run(Fill(-1), .init(y: view), on: compute)
            let values = (0..<count).map(Float.init)
            // Part of a block, not at its beginning; what follows stays as it is.
            try write(values, to: view.slice(2..<(count + 2)), transfer, after: try compute.fence())
            #expect(try compute.read(view, as: Float.self) == [-1, -1] + values + [-1])
        }
    }

    @Test("a fence holds a write back until what is enqueued has read the old values", arguments: TestBackend.available)
    func fence(_ backend: TestBackend) throws {
        let compute = try backend.device().compute
        let transfer = try Transfer(to: compute)
        let count = backend == .simt ? 1 << 14 : 1 << 18
        let place = try compute.view([Float](repeating: 1, count: count), [count])
        let sum = try compute.view([Float](repeating: 0, count: count), [count])
        // Much work that reads the place, the last of it long after the write was asked for.
        for _ in 0..<200 { try run(Copy(), .init(x: place, y: .accumulate(sum)), on: compute) }
        let fence = try compute.fence()
        try write([Float](repeating: 5, count: count), to: place, transfer, after: fence)
        #expect(try compute.read(sum, as: Float.self).allSatisfy { $0 == 200 })
        #expect(try compute.read(place, as: Float.self).allSatisfy { $0 == 5 })
    }

    @Test("a view of another device is refused", .enabled(if: TestBackend.hasOpenCL))
    func otherDevice() throws {
        let transfer = try Transfer(to: try TestBackend.vector.device().compute)
        let view = try TestBackend.cpu.device().compute.empty([3], for: .data)
        #expect(throws: KernelError.self) { try write([1, 2, 3], to: view, transfer) }
    }
}
