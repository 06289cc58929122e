import RetortKernels
import RetortRuntime
import RetortSupport

/// Batches of pictures decoded from files, on all threads of the processor, beside what the distillation step of ResNet-20 consumes of pictures
/// of that size: data that is decoded while a step runs should never be what the step waits for. Shape: pictures of a batch × channels ×
/// height × width. The files were read before: what is timed is decoding, not a disk.
enum PictureRows {
    static let batch = 64
    /// Files of a folder: a few batches.
    static let count = 256
    /// Pictures decoded over pictures consumed.
    static let goal = 1.0

    /// - Parameters:
    ///   - step: microseconds of the step on the device; nil where no row has told it yet.
    ///   - minimumTime: seconds of rounds for each kind of file, at least.
    ///   - quiet: waited for before each.
    ///   - report: called with each row.
    /// - Throws: exit 69 when a library for pictures is not installed; 73 or 74 for the temporary files.
    static func measure(
        step: Double?, on device: Device, minimumTime: Double, _ quiet: QuietWait, report: (BenchRow) -> Void
    ) throws {
        let step = try step ?? stepTime(on: device)
        for picture in BenchPicture.allCases where !StopSignal.isRequested {
            report(try row(picture, step: step, count: count, minimumTime: minimumTime, quiet))
        }
    }

    /// - Parameter count: files, a multiple of the batch.
    static func row(
        _ picture: BenchPicture, step: Double, count: Int, minimumTime: Double, _ quiet: QuietWait
    ) throws -> BenchRow {
        let folder = try PictureFolder(picture, count: count)
        quiet.wait()
        let others = OthersShare()
        var pixels = try folder.decode(0..<batch)
        var samples: [Double] = []
        var total = 0.0
        var first = 0
        repeat {
            first = (first + batch) % count
            let start = ContinuousClock.now
            pixels = try folder.decode(first..<(first + batch))
            let time = (ContinuousClock.now - start).seconds * 1e6
            samples.append(time)
            total += time
        } while !StopSignal.isRequested
            && (samples.count < BenchTimer.fewestSamples
                || total < minimumTime * 1e6 && samples.count < BenchTimer.mostSamples)
        let share = others.share()
        let time = Spread(samples)
        let speed = Double(batch) * 1e6 / time.median
        let consumed = Double(batch) * 1e6 / step
        let error = picture.error(of: pixels)
        var row = BenchRow(
            kernel: "pictures_" + picture.rawValue, shape: "\(batch)x3x\(BenchPicture.side)x\(BenchPicture.side)",
            dtype: "u8", device: "cpu", family: "host", time: time, maxRelErr: error,
            isRight: error <= picture.tolerance,
            more: ["others_share": share, "images_per_second": speed, "step_images_per_second": consumed])
        row.verdict = RowVerdict(.loading, speed / consumed, goal: goal)
        return row
    }

    /// Microseconds of the step: the median of five pairs, behind one that makes what stays.
    private static func stepTime(on device: Device) throws -> Double {
        var random = BenchRandom()
        let set = try ResNetStepCase.step(batch: batch).make(device, &random)
        try set.run()
        try device.compute.synchronize()
        let samples = try (0..<5).map { _ in
            let start = ContinuousClock.now
            try set.run()
            try device.compute.synchronize()
            return (ContinuousClock.now - start).seconds * 1e6 / Double(set.calls)
        }
        return Spread(samples).median
    }
}
