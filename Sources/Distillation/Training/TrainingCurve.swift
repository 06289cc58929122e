import RetortKernels
import RetortRuntime
import RetortSupport

/// A training of some passes with what was seen on the way.
struct TrainingCurve {
    /// Where the quality was measured: the last pass always.
    private(set) var points: [CurvePoint] = []
    /// Device memory in the pass that took most.
    private(set) var memory = MemoryReport()
    /// What it was before the training was stopped.
    private var peakBefore = 0
    /// Passes that are done.
    private(set) var passes = 0
    /// Steps of all passes.
    private(set) var steps = 0
    /// Microseconds of a step, of each pass.
    private var times: [Double] = []

    /// Device memory at the worst moment of a step, bytes.
    var peakBytes: Int { max(peakBefore, memory.peak) }

    /// Microseconds of a training step: the median pass's.
    var stepMicroseconds: Double { times.isEmpty ? 0 : times.sorted()[times.count / 2] }

    init() {}

    /// What a pass came to.
    struct Pass {
        /// Of each step.
        let losses: [Float]
        /// How many of the steps were taken now, and not before the training was stopped.
        let taken: Int

        init(_ losses: [Float], taken: Int? = nil) {
            self.losses = losses
            self.taken = taken ?? losses.count
        }
    }

    /// Trains what is left.
    ///
    /// - Parameters:
    ///   - passes: of the whole training.
    ///   - epoch: what is counted, after so many passes: epochs, or steps.
    ///   - kind: what tells a pass from others where a device has no bytes: two of each kind are gone through and stand for the rest.
    ///   - points: how many measurements are affordable; between 8 and 60 are made, as far as there are passes.
    ///   - pass: trains one epoch, or one round of several.
    ///   - step: steps taken so far.
    ///   - measure: the quality on the test, 0 to 1; nil: there is nothing to measure it on.
    ///   - report: called after each pass with what was seen so far; the quality only where it was measured.
    mutating func train(
        passes: Int, epoch: (Int) -> Int = { $0 }, kind: (Int) -> [Double] = { _ in [] }, points affordable: Double,
        on device: Device, pass: (Int) throws -> Pass, step: () -> Int, measure: () throws -> Double?,
        report told: (CurvePoint, TrainingCurve) throws -> Void
    ) throws {
        let compute = device.compute
        let wanted = Int(min(60, max(8, affordable)))
        let every = max(1, (passes + wanted - 1) / wanted)
        let clock = ContinuousClock()
        for (number, like) in Self.gone(passes, kind, on: compute) where number >= self.passes {
            var result = Pass([])
            // A step's memory: what measuring took before does not count.
            compute.resetPeakMemory()
            let time = try clock.measure {
                try device.dataTimes.counting(.training) {
                    try compute.counting(times: Double(like)) { result = try pass(number) }
                }
            }
            if result.taken > 0 { times.append(time.microseconds / Double(result.taken)) }
            steps += result.losses.count * like
            let report = compute.memory
            if report.peak > memory.peak { memory = report }
            let isMeasured = (number + 1) % every == 0 || number + 1 == passes || compute.plan != nil
            let point = CurvePoint(
                epoch: epoch(number + 1), step: step(),
                loss: result.losses.reduce(0) { $0 + Double($1) } / Double(result.losses.count),
                accuracy: isMeasured ? try compute.counting(times: 0, measure) : nil)
            if isMeasured { points.append(point) }
            self.passes = number + 1
            try told(point, self)
        }
    }
}

extension TrainingCurve {
    /// As a checkpoint has it.
    var state: JSON {
        [
            "points": RunResults.json(points), "peak_bytes": .int(peakBytes), "passes": .int(passes),
            "steps": .int(steps),
            "times": .array(times.map(JSON.double)),
        ]
    }

    /// - Throws: `RetortError` 65.
    init(state: JSONCursor) throws {
        points = try RunResults.curve(state.member("points"))
        peakBefore = try state.member("peak_bytes").int(in: 0...1 << 53)
        passes = try state.member("passes").int(in: 0...1 << 53)
        steps = try state.member("steps").int(in: 0...1 << 53)
        times = try state.member("times").elements().map { try $0.double(in: 0...1e300) }
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
