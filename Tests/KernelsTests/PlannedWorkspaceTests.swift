import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortConformance

/// A device without bytes that is else like another.
@Suite("Planned devices that are like another")
struct PlannedWorkspaceTests {
    /// Device memory that a sample of an op takes at most.
    private func peak(_ opCase: OpCase, on device: ComputeDevice) throws -> Int {
        let (operands, wholes) = try OpCheck.place(opCase, on: device)
        device.resetPeakMemory()
        try opCase.invoke(operands)
        try device.synchronize()
        return withExtendedLifetime(wholes) { device.memory.peak - device.memory.live }
    }

    @Test("every op asks for the workspace that it takes on the device itself", arguments: TestBackend.available)
    func workspace(backend: TestBackend) throws {
        let real = try backend.ownDevice().compute
        let plan = PlannedDevice(like: real)
        var some = 0
        for description in OpDescription.all {
            for sample in description.samples where sample.size <= (backend == .simt ? .tiny : .small) {
                let opCase = description.makeCase(sample, seed: 0)
                let taken = try peak(opCase, on: real)
                #expect(try peak(opCase, on: .planned(plan)) == taken, "\(description.name) \(sample.text)")
                if taken > 0 { some += 1 }
            }
        }
        #expect(some > 20, "samples that take workspace")
    }

    @Test("a sort's workspace is that of rows that are sorted at a time, not of all", arguments: TestBackend.fast)
    func sortWorkspace(backend: TestBackend) throws {
        let device = ComputeDevice.planned(PlannedDevice(like: try backend.device().compute))
        func workspace(_ rows: Int) throws -> Int {
            let x = try device.empty([rows, 1000])
            let values = try device.empty([rows, 1000])
            let indices = try device.empty([rows, 1000], .i32)
            device.resetPeakMemory()
            try run(TopK(), .init(x: x, values: values, indices: indices), on: device)
            return device.memory.most[.workspace, default: 0]
        }
        let few = try workspace(10_000)
        #expect(few > 0)
        #expect(try workspace(100_000) <= 2 * few)
    }

    @Test("nothing is computed, and nothing is taken from the device", arguments: TestBackend.fast)
    func nothing(backend: TestBackend) throws {
        let real = try backend.ownDevice().compute
        let before = real.memory
        let plan = PlannedDevice(like: real)
        let device = ComputeDevice.planned(plan)
        // Far more than this machine has.
        let side = 1 << 18
        let x = try device.empty([side, side], for: .data)
        try run(Unary(.exp), .init(x: x, y: .write(x)), on: device)
        try run(Matmul(), .init(a: x, b: x, c: .write(x)), on: device)
        try run(Fill(1), .init(y: x), on: device)
        #expect(plan.operations.map(\.name) == ["exp", "matmul", "fill"])
        #expect(device.memory.byPurpose[.data] == side * side * 4 && plan.largestPiece >= side * side * 4)
        #expect(try device.read(x.slice(0..<1).narrowed(1, 0..<3).reshaped([3])) as [Float] == [0, 0, 0])
        #expect(real.memory == before)
    }

    @Test("steps that are alike are gone through three times and counted as often as there are")
    func steps() throws {
        let plan = PlannedDevice()
        let device = ComputeDevice.planned(plan)
        let x = try device.empty([10])
        var gone: [Int] = []
        try device.counting(times: 2) {
            try device.forEachStep(100) { step in
                gone.append(step)
                try run(Fill(0), .init(y: x), on: device)
            }
        }
        #expect(gone == [0, 1, 2] && plan.operationCount == 3)
        #expect(abs(plan.cost(since: 0).bytes - 200 * 40) < 1e-6)
        var all: [Int] = []
        try TestBackend.cpu.device().compute.forEachStep(5) { all.append($0) }
        #expect(all == [0, 1, 2, 3, 4])
    }

    @Test("what a peak was made of, and the most of each purpose")
    func purposes() throws {
        let device = ComputeDevice.planned(PlannedDevice())
        let unit = 512 / 4
        var a: View? = try device.empty([4 * unit], for: .cache)
        a = nil
        device.resetPeakMemory()
        let b = try device.empty([unit], for: .parameters)
        a = try device.empty([3 * unit], for: .activations)
        a = nil
        let c = try device.empty([2 * unit], for: .logits)
        let report = device.memory
        #expect(report.peak == 4 * 512)
        #expect(report.atPeak[.activations] == 3 * 512 && report.atPeak[.parameters] == 512)
        #expect(report.atPeak[.logits, default: 0] == 0)
        #expect(report.most[.activations] == 3 * 512 && report.most[.logits] == 2 * 512)
        #expect(report.most[.cache, default: 0] == 0, "before the reset")
        withExtendedLifetime((a, b, c)) {}
    }
}
