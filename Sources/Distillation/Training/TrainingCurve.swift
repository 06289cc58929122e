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
    ///   - points: how many measurements are affordable; between 8 and 60 are made, as far as there are epochs.
    ///   - epoch: one pass over the data; the loss of each step.
    ///   - step: steps taken so far.
    ///   - measure: the quality on the test, 0 to 1.
    ///   - report: called after each epoch; the quality only where it was measured.
    init(
        epochs: Int, points affordable: Double, on device: Device, epoch: (Int) throws -> [Float], step: () -> Int,
        measure: () throws -> Double, report: (CurvePoint) throws -> Void
    ) throws {
        device.compute.resetPeakMemory()
        let wanted = Int(min(60, max(8, affordable)))
        let every = max(1, (epochs + wanted - 1) / wanted)
        var times: [Double] = []
        let clock = ContinuousClock()
        for number in 0..<epochs {
            var losses: [Float] = []
            let time = try clock.measure { losses = try epoch(number) }
            times.append(time.microseconds / Double(losses.count))
            peakBytes = max(peakBytes, device.compute.memory.peak)
            let isMeasured = (number + 1) % every == 0 || number + 1 == epochs
            let point = CurvePoint(
                epoch: number + 1, step: step(), loss: losses.reduce(0) { $0 + Double($1) } / Double(losses.count),
                accuracy: isMeasured ? try measure() : nil)
            if isMeasured { points.append(point) }
            try report(point)
        }
        stepMicroseconds = times.sorted()[times.count / 2]
    }
}
