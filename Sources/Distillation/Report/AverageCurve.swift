/// One arm's learning curve: the mean over seeds with its deviation, in runs of epochs without a hole.
struct AverageCurve {
    struct Sample {
        var epoch: Int
        var mean: Double
        /// 0 for a single seed.
        var deviation: Double
    }

    /// The samples in order of epochs. A new run starts after an epoch where no seed had a finite value.
    private(set) var runs: [[Sample]] = []
    /// The last epoch of any seed.
    let epochs: Int
    /// Seeds with a value that is not finite, with the first such epoch.
    private(set) var broken: [(seed: UInt64, epoch: Int)] = []

    /// - Parameter value: the curve's value at a point; nil where it was not measured.
    init(_ arm: ArmResult, _ value: (CurvePoint) -> Double?) {
        var byEpoch: [Int: [Double]] = [:]
        for seed in arm.seeds {
            for point in seed.curve {
                guard let measured = value(point) else { continue }
                byEpoch[point.epoch, default: []].append(measured)
                if !measured.isFinite, broken.last?.seed != seed.seed { broken.append((seed.seed, point.epoch)) }
            }
        }
        epochs = byEpoch.keys.max() ?? 0
        var run: [Sample] = []
        for (epoch, values) in byEpoch.sorted(by: { $0.key < $1.key }) {
            let spread = Spread(values.filter(\.isFinite))
            if values.contains(where: \.isFinite), spread.mean.isFinite {
                run.append(Sample(epoch: epoch, mean: spread.mean, deviation: spread.deviation ?? 0))
            } else if !run.isEmpty {
                runs.append(run)
                run = []
            }
        }
        if !run.isEmpty { runs.append(run) }
    }

    var samples: [Sample] { runs.flatMap { $0 } }

    /// The curve with about `limit` samples: every k-th one, and the last of each run.
    func thinned(to limit: Int) -> AverageCurve {
        let stride = max(1, samples.count / max(limit, 1))
        var thinned = self
        thinned.runs = runs.map { run in
            run.enumerated().filter { $0.offset % stride == 0 || $0.offset == run.count - 1 }.map(\.element)
        }
        return thinned
    }
}
