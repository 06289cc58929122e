import RetortKernels
import RetortRuntime

/// A training of some epochs with what was seen on the way.
struct TrainingCurve {
    /// Where the quality was measured: the last epoch always.
    private(set) var points: [CurvePoint] = []
    /// Device memory at the worst moment of a step, bytes.
    var peakBytes: Int { memory.peak }
    /// Device memory in the pass that took most.
    private(set) var memory = MemoryReport()
    /// Steps of all passes.
    private(set) var steps = 0
    /// Microseconds of a training step: the median epoch's.
    let stepMicroseconds: Double

    /// Trains.
    ///
    /// - Parameters:
    ///   - passes: how often `pass` is called.
    ///   - epoch: what is counted, after so many passes: epochs, or steps.
    ///   - kind: what tells a pass from others where a device has no bytes: two of each kind are gone through and stand for the rest.
    ///   - points: how many measurements are affordable; between 8 and 60 are made, as far as there are passes.
    ///   - pass: trains one epoch, or one round of several; the loss of each step.
    ///   - step: steps taken so far.
    ///   - measure: the quality on the test, 0 to 1.
    ///   - report: called after each pass; the quality only where it was measured.
    init(
        passes: Int, epoch: (Int) -> Int = { $0 }, kind: (Int) -> [Double] = { _ in [] }, points affordable: Double,
        on device: Device,
        pass: (Int) throws -> [Float], step: () -> Int,
        measure: () throws -> Double, report told: (CurvePoint) throws -> Void
    ) throws {
        let compute = device.compute
        let wanted = Int(min(60, max(8, affordable)))
        let every = max(1, (passes + wanted - 1) / wanted)
        var times: [Double] = []
        let clock = ContinuousClock()
        for (number, like) in Self.gone(passes, kind, on: compute) {
            var losses: [Float] = []
            // A step's memory: what measuring took before does not count.
            compute.resetPeakMemory()
            let time = try clock.measure {
                try compute.counting(times: Double(like)) { losses = try pass(number) }
            }
            times.append(time.microseconds / Double(losses.count))
            steps += losses.count * like
            let report = compute.memory
            if report.peak > memory.peak { memory = report }
            let isMeasured = (number + 1) % every == 0 || number + 1 == passes || compute.plan != nil
            let point = CurvePoint(
                epoch: epoch(number + 1), step: step(),
                loss: losses.reduce(0) { $0 + Double($1) } / Double(losses.count),
                accuracy: isMeasured ? try compute.counting(times: 0, measure) : nil)
            if isMeasured { points.append(point) }
            try told(point)
        }
        stepMicroseconds = times.sorted()[times.count / 2]
    }

    /// The passes to go through, and how many each of them stands for: all, for itself; on a device without bytes two of each kind.
    private static func gone(
        _ passes: Int, _ kind: (Int) -> [Double], on compute: ComputeDevice
    ) -> [(number: Int, like: Int)] {
        guard compute.plan != nil else { return (0..<passes).map { ($0, 1) } }
        var places: [[Double]: (first: Int, second: Int?, count: Int)] = [:]
        for number in 0..<passes {
            let kind = kind(number)
            guard let known = places[kind] else {
                places[kind] = (number, nil, 1)
                continue
            }
            places[kind] = (known.first, known.second ?? number, known.count + 1)
        }
        return places.values.flatMap { place in
            [(place.first, 1)] + (place.second.map { [($0, place.count - 1)] } ?? [])
        }.sorted { $0.0 < $1.0 }
    }
}
