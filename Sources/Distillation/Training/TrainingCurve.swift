import RetortRuntime
import RetortSupport

/// A training of some passes with what was seen on the way.
struct TrainingCurve {
    /// Where the quality was measured: the last pass always.
    private(set) var points: [CurvePoint] = []
    /// Device memory at the worst moment, bytes.
    private(set) var peakBytes = 0
    /// Passes that are done.
    private(set) var passes = 0
    /// Microseconds of a step, of each pass.
    private var times: [Double] = []

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
    ///   - points: how many measurements are affordable; between 8 and 60 are made, as far as there are passes.
    ///   - pass: trains one epoch, or one round of several; is told what was seen so far.
    ///   - step: steps taken so far.
    ///   - measure: the quality on the test, 0 to 1.
    ///   - report: called after each pass; the quality only where it was measured.
    mutating func train(
        passes: Int, epoch: (Int) -> Int = { $0 }, points affordable: Double, on device: Device,
        pass: (Int, TrainingCurve) throws -> Pass, step: () -> Int, measure: () throws -> Double,
        report: (CurvePoint) throws -> Void
    ) throws {
        device.compute.resetPeakMemory()
        let wanted = Int(min(60, max(8, affordable)))
        let every = max(1, (passes + wanted - 1) / wanted)
        let clock = ContinuousClock()
        while self.passes < passes {
            let number = self.passes
            var result = Pass([])
            let soFar = self
            let time = try clock.measure { result = try pass(number, soFar) }
            if result.taken > 0 { times.append(time.microseconds / Double(result.taken)) }
            peakBytes = max(peakBytes, device.compute.memory.peak)
            let isMeasured = (number + 1) % every == 0 || number + 1 == passes
            let point = CurvePoint(
                epoch: epoch(number + 1), step: step(),
                loss: result.losses.reduce(0) { $0 + Double($1) } / Double(result.losses.count),
                accuracy: isMeasured ? try measure() : nil)
            if isMeasured { points.append(point) }
            self.passes += 1
            try report(point)
        }
    }
}

extension TrainingCurve {
    /// As a checkpoint has it.
    var state: JSON {
        [
            "points": RunResults.json(points), "peak_bytes": .int(peakBytes), "passes": .int(passes),
            "times": .array(times.map(JSON.double)),
        ]
    }

    /// - Throws: `RetortError` 65.
    init(state: JSONCursor) throws {
        points = try RunResults.curve(state.member("points"))
        peakBytes = try state.member("peak_bytes").int(in: 0...1 << 53)
        passes = try state.member("passes").int(in: 0...1 << 53)
        times = try state.member("times").elements().map { try $0.double(in: 0...1e300) }
    }
}
