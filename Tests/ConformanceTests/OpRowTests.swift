import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortConformance

@Suite("bench: rows that follow from descriptions") struct OpRowTests {
    @Test func everyOpHasARow() {
        let described = Set(OpDescription.all.map(\.name))
        #expect(OpRows.written.isSubset(of: described), "\(OpRows.written.subtracting(described).sorted())")
        let others = OpDescription.all.filter { !OpRows.written.contains($0.name) }
        for description in others {
            let isMeasured = description.samples.contains { $0.size == .perf }
            #expect(isMeasured, "\(description.name) has no sample of size perf")
        }
        #expect(OpRows.all.count == others.reduce(0) { $0 + $1.samples.count { $0.size == .perf } })
        #expect(OpRows.all.allSatisfy { !$0.shape.isEmpty })
    }

    @Test func samplesMakeTitles() {
        for (op, sample, kernel, sizes) in [
            ("gather", "2048 of 32000x768", "gather", [2048, 32000, 768]),
            ("resize", "nearest 64x64x8x8 to 16x16", "resize_nearest", [64, 64, 8, 8, 16, 16]),
            ("max_pool", "64x64x32x32 3/2p1", "max_pool_3/2p1", [64, 64, 32, 32]),
            ("binary", "add 4096x1024 with 1024", "binary_add", [4096, 1024, 1024]),
            ("topk", "512x32000 k=10", "topk_k=10", [512, 32000]),
            ("topk", "8x50257 k=50257", "topk_k=50257", [8, 50257]),
            ("convert", "bf16 from f32 2000000", "convert_bf16_from_f32", [2_000_000]),
        ] {
            let title = OpRowTitle(op, sample)
            #expect(title.kernel == kernel && title.sizes == sizes && title.dtype == .f32)
        }
        let reduced = OpRowTitle("gated", "swiglu 2048x1536 bf16")
        #expect(reduced.kernel == "gated_swiglu" && reduced.sizes == [2048, 1536] && reduced.dtype == .bf16)
    }

    /// A small sample of each op as a row: right after many runs, in-place ops too.
    @Test(arguments: TestBackend.fast) func rowsCheckThemselves(_ backend: TestBackend) throws {
        let device = try backend.device()
        var random = BenchRandom()
        for description in OpDescription.all {
            guard let sample = description.samples.first(where: { $0.size == .tiny }) else { continue }
            let set = try OpRows.row(description, sample).make(device, &random)
            try set.poison()
            for _ in 0..<3 { try set.run() }
            let error = try set.error()
            #expect(error <= set.tolerance, "\(description.name) \(sample.text)")
            // The same numbers in other memory.
            let again = try #require(try set.again?())
            try again.run()
            #expect(try again.error() == error)
        }
    }

    @Test(arguments: ["scale", "topk", "layer_norm"]) func aPoisonedOutputIsWrong(_ op: String) throws {
        let description = try #require(OpDescription.all.first { $0.name == op })
        let sample = try #require(description.samples.first { $0.size == .tiny })
        var random = BenchRandom()
        let set = try OpRows.row(description, sample).make(TestBackend.cpu.device(), &random)
        try set.run()
        #expect(try set.error() <= set.tolerance)
        try set.poison()
        #expect(try set.error() == .infinity)
    }

    /// The relative error of a check is of the largest number, not of each.
    @Test func errorsAreRelativeToTheLargestNumber() throws {
        let device = try TestBackend.cpu.device()
        var c = OpCase()
        c.updated("y", [0.001, -2], [2])
        let (_, wholes) = try OpCheck.place(c, on: device.compute)
        let expected: [String: Expected] = ["y": .near([Estimate(0.001, 1), Estimate(-1.5, 1)])]
        let check = try OpCheck(c, in: wholes, expecting: expected, on: device.compute)
        #expect(check.problems.isEmpty && check.relative == 0.5 / 1.5)
    }
}
