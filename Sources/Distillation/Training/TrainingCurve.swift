import RetortRuntime

/// A training of some epochs with what was seen on the way.
struct TrainingCurve {
    /// Where the quality was measured: the last epoch always.
    private(set) var points: [CurvePoint] = []
    /// Device memory at the worst moment, bytes.
    private(set) var peakBytes = 0
    /// Microseconds of a training step: the median epoch's.
    let stepMicroseconds: Double

    /// Trains.
    ///
    /// - Parameters:
    ///   - passes: how often `pass` is called.
    ///   - epoch: what is counted, after so many passes: epochs, or steps.
    ///   - points: how many measurements are affordable; between 8 and 60 are made, as far as there are passes.
    ///   - pass: trains one epoch, or one round of several; the loss of each step.
    ///   - step: steps taken so far.
    ///   - measure: the quality on the test, 0 to 1.
    ///   - report: called after each pass; the quality only where it was measured.
    init(
        passes: Int, epoch: (Int) -> Int = { $0 }, points affordable: Double, on device: Device,
        pass: (Int) throws -> [Float], step: () -> Int,
        measure: () throws -> Double, report: (CurvePoint) throws -> Void
    ) throws {
        device.compute.resetPeakMemory()
        let wanted = Int(min(60, max(8, affordable)))
        let every = max(1, (passes + wanted - 1) / wanted)
        var times: [Double] = []
        let clock = ContinuousClock()
        for number in 0..<passes {
            var losses: [Float] = []
            let time = try clock.measure { losses = try pass(number) }
            times.append(time.microseconds / Double(losses.count))
            peakBytes = max(peakBytes, device.compute.memory.peak)
            let isMeasured = (number + 1) % every == 0 || number + 1 == passes
            let point = CurvePoint(
                epoch: epoch(number + 1), step: step(),
                loss: losses.reduce(0) { $0 + Double($1) } / Double(losses.count),
                accuracy: isMeasured ? try measure() : nil)
            if isMeasured { points.append(point) }
            try report(point)
        }
        stepMicroseconds = times.sorted()[times.count / 2]
    }
}
