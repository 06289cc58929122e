import RetortDistillation
import Testing

/// Results that a report must show, named for the test's output.
struct Sample: Sendable, CustomTestStringConvertible {
    var name: String
    var results: RunResults

    var testDescription: String { name }
}

enum Samples {
    static let all = [
        Sample(name: "plain", results: plain), Sample(name: "empty", results: empty),
        Sample(name: "hostile", results: hostile), Sample(name: "diverged", results: diverged),
        Sample(name: "hundred classes", results: classes(100)), Sample(name: "400 classes", results: classes(400)),
        Sample(name: "many arms", results: manyArms),
        Sample(name: "pictures", results: pictures), Sample(name: "teacher's answers", results: taught),
        Sample(name: "peers", results: peers),
    ]

    /// Three arms, two seeds, two classes, all metrics.
    static let plain = RunResults(
        recipe: "digits", device: "opencl:0", deviceSummary: "a GPU of the test", seeds: [0, UInt64.max],
        classes: ["zero", "one"],
        arms: [
            arm("teacher", accuracy: 0.98, epochs: 3, parameters: 85002, peak: 1_660_032, latency: 41),
            arm("student-alone", accuracy: 0.82, kl: 0.5, epochs: 12, parameters: 1210, peak: 319_360, latency: 6.2),
            arm("student", accuracy: 0.9, kl: 0.2, epochs: 12, parameters: 1210, peak: 319_360, latency: 6.2),
        ])

    static let empty = RunResults(recipe: "", device: "", deviceSummary: "", seeds: [], classes: [], arms: [])

    static let hostile: RunResults = {
        var results = plain
        results.recipe = "</title><script>alert(1)</script>"
        results.device = "\" onload='x'"
        results.classes = ["<script>alert(1)</script>", "\u{202E}a&b\u{0}"]
        results.arms[2].contract = ["<b>bold</b>", "]]>", "--><img src=x>"]
        results.arms.append(ArmResult(role: "<script>alert(1)</script>", contract: [], seeds: []))
        results.arms[1].seeds[0].metrics["<b>own</b>"] = 3
        results.arms[1].seeds[0].confusion = []
        return results
    }()

    /// A seed with NaN losses and metrics, one without a curve, a curve of one point, an infinite deviation.
    static let diverged: RunResults = {
        var results = plain
        results.seeds = [0, 1]
        for index in results.arms.indices { results.arms[index].seeds[1].seed = 1 }
        for epoch in 1..<12 { results.arms[2].seeds[1].curve[epoch].loss = .nan }
        results.arms[2].seeds[1].metrics["kl_to_teacher"] = .nan
        results.arms[2].seeds[1].metrics["accuracy"] = .infinity
        results.arms[2].seeds[1].metrics["parameters"] = 1e300
        results.arms[1].seeds[0].curve = []
        results.arms[1].seeds[1].curve.removeLast(11)
        results.arms[0].seeds[0].curve[0].loss = -.infinity
        return results
    }()

    static func classes(_ count: Int) -> RunResults {
        var results = plain
        results.classes = (0..<count).map { "class \($0)" }
        for arm in results.arms.indices {
            for seed in results.arms[arm].seeds.indices {
                results.arms[arm].seeds[seed].confusion = (0..<count).map { row in
                    (0..<count).map { $0 == row ? 20 - arm : ($0 == (row * 7 + arm) % count ? arm : 0) }
                }
            }
        }
        return results
    }

    /// The students' answers beside the teacher's; of one seed they are not known.
    static let taught: RunResults = {
        var results = plain
        results.arms[1].seeds[0].teacherConfusion = [[8, 3], [4, 5]]
        results.arms[2].seeds[0].teacherConfusion = [[9, 2], [1, 8]]
        results.arms[2].seeds[1].teacherConfusion = [[11], [1, 8]]
        return results
    }()

    /// A row for a peer, and an arm's results as `result.json` keeps them, with a peer inside.
    static let peers: RunResults = {
        var results = plain
        results.arms.append(
            arm("student/peer-1", accuracy: 0.95, kl: 0.1, epochs: 2, parameters: 9000, peak: 1, latency: 9))
        results.arms[2].seeds[0].peers = [results.arms[3].seeds[0]]
        return results
    }()

    static let manyArms: RunResults = {
        var results = plain
        results.arms += (0..<12).map {
            arm("arm-\($0)", accuracy: 0.8, epochs: 12, parameters: 2000, peak: 1, latency: 1)
        }
        return results
    }()

    /// Two pictures with what the arms say of them and where they look; of the second, and for the student alone, less is known. The
    /// student is a transformer, the others are not.
    static let pictures: RunResults = {
        func map(_ count: Int) -> HeatMap { HeatMap((0..<count * count).map(Float.init), height: count, width: count) }
        var results = plain
        results.gallery = Gallery(
            channels: 3, height: 5, width: 7,
            pictures: (0..<2).map { number in
                .init(
                    row: 3 + number, label: number, pixels: (0..<105).map { UInt8($0 + number) },
                    answers: [
                        .init(
                            role: "teacher", predicted: number, probability: 0.9, attention: map(4), activation: map(2)),
                        .init(role: "student-alone", predicted: 0, probability: 0.5),
                        .init(
                            role: "student", predicted: 1, probability: 0.7, attention: number == 0 ? map(3) : nil,
                            tokenAttention: map(5)),
                    ])
            })
        return results
    }()

    /// Arms with accuracies only.
    static func results(accuracies: [(String, [Double])]) -> RunResults {
        let arms = accuracies.map { role, values in
            ArmResult(
                role: role, contract: [],
                seeds: values.enumerated().map {
                    SeedResult(
                        seed: UInt64($0.offset), metrics: ["accuracy": $0.element], curve: [], confusion: [])
                })
        }
        return RunResults(
            recipe: "digits", device: "opencl:0", deviceSummary: "a GPU of the test", seeds: [], classes: [],
            arms: arms)
    }

    /// The text of `results.json`.
    static let file = plain.fileJSON.text()

    /// Two seeds, ± 0.01 around the given numbers.
    private static func arm(
        _ role: String, accuracy: Double, kl: Double? = nil, epochs: Int, parameters: Double, peak: Double,
        latency: Double
    ) -> ArmResult {
        let seeds = [(UInt64(0), -0.01), (UInt64.max, 0.01)].map { seed, change in
            var metrics = [
                "accuracy": accuracy + change, "parameters": parameters, "bytes": parameters * 4,
                "peak_bytes": peak,
            ]
            if seed == 0 {
                metrics["macro_f1"] = accuracy - 0.01
                metrics["latency_us"] = latency
                if kl != nil { metrics["agreement"] = accuracy - 0.02 }
            }
            if let kl { metrics["kl_to_teacher"] = kl + change }
            return SeedResult(
                seed: seed, metrics: metrics,
                curve: (1...epochs).map {
                    CurvePoint(
                        epoch: $0, step: $0 * 3, loss: 1 / Double($0),
                        accuracy: $0.isMultiple(of: 2) ? accuracy * (1 - 0.5 / Double($0)) : nil)
                },
                confusion: [[9, 1], [2, 8]])
        }
        return ArmResult(role: role, contract: ["cross-entropy, mean over rows"], seeds: seeds)
    }
}
