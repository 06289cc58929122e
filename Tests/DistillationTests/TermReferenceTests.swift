import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses with networks of their own, the whole term against float64 on the host: every weight of a stage, every layer of a projector.
@Suite("Terms of losses against float64")
struct TermReferenceTests {
    typealias Numbers = [String: [Double]]

    /// Feature maps `[rows, channels, height, width]` in double.
    private struct Maps {
        var values: [Double]
        let channels: Int
        let height: Int
        let width: Int
        var pixels: Int { height * width }
        var rows: Int { values.count / (channels * pixels) }

        init(_ values: [Double], _ channels: Int, _ height: Int, _ width: Int) {
            self.values = values
            self.channels = channels
            self.height = height
            self.width = width
        }

        init(_ values: [Double], _ shape: [Int]) {
            self.init(values, shape[0], shape.count == 3 ? shape[1] : 1, shape.count == 3 ? shape[2] : 1)
        }

        func at(_ row: Int, _ channel: Int, _ y: Int, _ x: Int) -> Double {
            values[((row * channels + channel) * height + y) * width + x]
        }

        /// Another size; each number by its place.
        func made(_ channels: Int, _ height: Int, _ width: Int, _ f: (Int, Int, Int, Int) -> Double) -> Maps {
            var out: [Double] = []
            for row in 0..<rows {
                for channel in 0..<channels {
                    for y in 0..<height { for x in 0..<width { out.append(f(row, channel, y, x)) } }
                }
            }
            return Maps(out, channels, height, width)
        }

        func map(_ f: (Double) -> Double) -> Maps { Maps(values.map(f), channels, height, width) }

        /// weight `[outputs, channels, kernel, kernel]`.
        func convolved(_ weight: [Double], _ bias: [Double]?, kernel: Int, stride: Int = 1, padding: Int = 0) -> Maps {
            let outputs = weight.count / (channels * kernel * kernel)
            let size = ((height + 2 * padding - kernel) / stride + 1, (width + 2 * padding - kernel) / stride + 1)
            return made(outputs, size.0, size.1) { row, output, y, x in
                var sum = bias?[output] ?? 0
                for channel in 0..<channels {
                    for j in 0..<kernel {
                        for i in 0..<kernel {
                            let (v, u) = (y * stride + j - padding, x * stride + i - padding)
                            guard (0..<height).contains(v), (0..<width).contains(u) else { continue }
                            sum +=
                                at(row, channel, v, u)
                                * weight[((output * channels + channel) * kernel + j) * kernel + i]
                        }
                    }
                }
                return sum
            }
        }

        /// By the batch's statistics.
        func normed(_ weight: [Double], _ bias: [Double]) -> Maps {
            let moments = (0..<channels).map { channel in
                let own = self.channel(channel)
                let mean = Float64Reference.mean(own)
                return (mean, (Float64Reference.mean(own.map { ($0 - mean) * ($0 - mean) }) + 1e-5).squareRoot())
            }
            return made(channels, height, width) { row, channel, y, x in
                (at(row, channel, y, x) - moments[channel].0) / moments[channel].1 * weight[channel] + bias[channel]
            }
        }

        /// A whole number of times larger.
        func enlarged(_ height: Int, _ width: Int) -> Maps {
            made(channels, height, width) { at($0, $1, $2 * self.height / height, $3 * self.width / width) }
        }

        /// A whole number of times smaller.
        func averaged(_ size: Int) -> Maps {
            let (h, w) = (height / size, width / size)
            return made(channels, size, size) { row, channel, y, x in
                var sum = 0.0
                for j in 0..<h { for i in 0..<w { sum += at(row, channel, y * h + j, x * w + i) } }
                return sum / Double(h * w)
            }
        }

        /// The numbers of a channel, of all rows.
        func channel(_ channel: Int) -> [Double] {
            (0..<rows).flatMap { row -> [Double] in
                let first = (row * channels + channel) * pixels
                return Array(values[first..<(first + pixels)])
            }
        }

        func joined(_ other: Maps) -> Maps {
            made(channels + other.channels, height, width) { row, channel, y, x in
                channel < channels ? at(row, channel, y, x) : other.at(row, channel - channels, y, x)
            }
        }

        func distance(_ other: Maps) -> Double {
            Float64Reference.mean(zip(values, other.values).map { ($0 - $1) * ($0 - $1) })
        }
    }

    /// A loss of the recipe's text on made-up signals; its parameters off their starts, so that none is 0 or 1.
    private struct Trial {
        let sample: SignalSample
        let values: SignalSample.Values
        let teachers: [ModelOutput]
        let shapes: SignalSample.Shapes

        init(_ recipe: String, _ shapes: SignalSample.Shapes, _ backend: TestBackend) throws {
            self.shapes = shapes
            sample = try SignalSample(try Setting(recipe: recipe).make(), shapes, on: try backend.device())
            var values = try sample.start()
            for (name, numbers) in values where name.contains(".bn.") {
                let moved = SignalSample.random(name, numbers.count, 0.5)
                values[name] = zip(numbers, moved).map { $0 + $1 }
            }
            self.values = values
            teachers = try sample.teachers()
        }

        var numbers: Numbers { values.mapValues { $0.map(Double.init) } }

        func student(_ path: String, _ values: Numbers) -> Maps {
            Maps(values[path]!, Array(SignalSample.studentShapes[path]!))
        }

        func teacher(_ path: String) throws -> Maps {
            let all = shapes == .alike ? SignalSample.studentShapes : SignalSample.otherShapes
            return Maps(try teachers[0].signals[path]!.values().map(Double.init), Array(all[path]!))
        }

        /// Value, and the gradients of the numbers named.
        func compare(
            epoch: Int = 5, tolerance: Double = 1e-5, gradients names: [String], _ reference: (Numbers) -> Double
        ) throws {
            let found = try sample.evaluate(values, teachers: teachers, epoch: epoch)
            let expected = reference(numbers)
            try #require(abs(expected) > 1e-3)
            expectClose([found.loss], [expected], absolute: 0, relative: tolerance, "value")
            for name in names {
                let gradient = Float64Reference.gradient(try #require(numbers[name], "\(name)")) { moved in
                    var all = numbers
                    all[name] = moved
                    return reference(all)
                }
                let largest = gradient.map { abs($0) }.max() ?? 0
                expectClose(found.gradients[name]!, gradient, absolute: 10 * tolerance * max(largest, 1e-3), name)
            }
        }
    }

    // MARK: ReviewKD

    @Test("knowledge review: attention-based fusion, level by level", arguments: TestBackend.available)
    func review(_ backend: TestBackend) throws {
        let trial = try Trial("loss: reviewkd, alpha: 1.5", .different, backend)
        let levels = try [("s1", "p1"), ("s2", "p2"), ("s3", "p3"), ("e", "e")].map {
            (student: $0.0, teacher: try trial.teacher($0.1))
        }
        func reference(_ values: Numbers) -> Double {
            var deeper: Maps?
            var loss = 0.0
            for (number, level) in levels.enumerated().reversed() {
                func layer(_ x: Maps, _ part: String, _ kernel: Int) -> Maps {
                    let name = "term.\(number).\(part)."
                    return x.convolved(values[name + "conv.weight"]!, nil, kernel: kernel, padding: kernel / 2)
                        .normed(values[name + "bn.weight"]!, values[name + "bn.bias"]!)
                }
                var y = layer(trial.student(level.student, values), "enter", 1)
                if let below = deeper {
                    let name = "term.\(number).attention."
                    let above = below.enlarged(y.height, y.width)
                    let shares = y.joined(above).convolved(values[name + "weight"]!, values[name + "bias"]!, kernel: 1)
                        .map { 1 / (1 + exp(-$0)) }
                    let own = y
                    y = own.made(own.channels, own.height, own.width) { row, channel, j, i in
                        own.at(row, channel, j, i) * shares.at(row, 0, j, i)
                            + above.at(row, channel, j, i) * shares.at(row, 1, j, i)
                    }
                }
                let target = level.teacher
                y = y.enlarged(target.height, target.width)
                deeper = y
                let features = layer(y, "leave", 3)
                var (own, weight, total) = (features.distance(target), 1.0, 1.0)
                for size in [4, 2, 1] where size < target.height {
                    weight /= 2
                    total += weight
                    own += weight * features.averaged(size).distance(target.averaged(size))
                }
                loss += own / total
            }
            return 1.5 * loss
        }
        try trial.compare(
            gradients: ["e", "s3", "term.2.attention.weight", "term.2.attention.bias", "term.3.enter.conv.weight"],
            reference)
    }

    // MARK: Sums over stages

    @Test("overhaul: each stage has half the weight of the next", arguments: TestBackend.available)
    func overhaul(_ backend: TestBackend) throws {
        let trial = try Trial("loss: ofd, alpha: 0.7", .different, backend)
        let teachers = try ["p1", "p2", "p3"].map { try trial.teacher($0) }
        try trial.compare(gradients: ["p2", "p3", "term.0.conv.weight", "term.1.bn.weight"]) { values in
            zip([0.25, 0.5, 1], teachers).enumerated().reduce(0) { sum, stage in
                let (number, (weight, target)) = stage
                let name = "term.\(number)."
                let s = trial.student("p\(number + 1)", values).convolved(values[name + "conv.weight"]!, nil, kernel: 1)
                    .normed(values[name + "bn.weight"]!, values[name + "bn.bias"]!)
                let margins = (0..<target.channels).map { channel -> Double in
                    let negative = target.channel(channel).filter { $0 < 0 }
                    return negative.isEmpty ? 0 : Float64Reference.mean(negative)
                }
                let distances = s.made(s.channels, s.height, s.width) { row, channel, y, x in
                    let t = target.at(row, channel, y, x)
                    let difference = s.at(row, channel, y, x) - max(t, margins[channel])
                    return difference > 0 || t > 0 ? difference * difference : 0
                }
                return sum + 0.7 * weight * distances.values.reduce(0, +) / Double(SignalSample.rows)
            }
        }
    }

    @Test(
        "activation boundaries: each stage has half the weight of the next", arguments: SignalSample.Shapes.allCases,
        TestBackend.available)
    func boundaries(_ shapes: SignalSample.Shapes, _ backend: TestBackend) throws {
        let trial = try Trial("loss: ab, alpha: 20, margin: 0.7", shapes, backend)
        let teachers = try ["p1", "p2", "p3"].map { try trial.teacher($0) }
        let names = ["p1", "p3"] + (shapes == .alike ? [] : ["term.1.bn.weight"])
        try trial.compare(gradients: names) { values in
            zip([0.25, 0.5, 1], teachers).enumerated().reduce(0) { sum, stage in
                let (number, (weight, target)) = stage
                var s = trial.student("p\(number + 1)", values)
                if shapes == .different {
                    let name = "term.\(number)."
                    s = s.convolved(values[name + "conv.weight"]!, values[name + "conv.bias"]!, kernel: 1)
                        .normed(values[name + "bn.weight"]!, values[name + "bn.bias"]!)
                }
                let losses = zip(s.values, target.values).map { s, t in
                    let short = max(0, 0.7 - (t > 0 ? s : -s))
                    return short * short
                }
                return sum + 20 * 0.003 * weight * losses.reduce(0, +) / Double(SignalSample.rows)
            }
        }
    }

    // MARK: Factors

    @Test(
        "factor transfer: the paraphraser's error, then the distance of the factors", arguments: [0, 5],
        TestBackend.available)
    func factors(_ epoch: Int, _ backend: TestBackend) throws {
        let trial = try Trial("loss: ft, alpha: 3, paraphrase: 0.2", .different, backend)
        let target = try trial.teacher("s3")
        func chain(_ x: Maps, _ name: String, _ values: Numbers, norm: Bool) -> Maps {
            (0..<3).reduce(x) { x, layer in
                let name = "term.0.\(name).\(layer)."
                var y = x.convolved(values[name + "conv.weight"]!, values[name + "conv.bias"]!, kernel: 3, padding: 1)
                if norm { y = y.normed(values[name + "bn.weight"]!, values[name + "bn.bias"]!) }
                return y.map { $0 > 0 ? $0 : 0.1 * $0 }
            }
        }
        func factor(_ x: Maps) -> [Double] {
            (0..<x.rows).flatMap { row in
                let mean = (0..<x.pixels).map { pixel in
                    Float64Reference.mean(
                        (0..<x.channels).map {
                            let value = x.values[(row * x.channels + $0) * x.pixels + pixel]
                            return value * value
                        })
                }
                let length = mean.reduce(0) { $0 + $1 * $1 }.squareRoot()
                return mean.map { $0 / length }
            }
        }
        // The student's loss does not move the code it is compared with.
        let code = chain(target, "paraphraser.encoder", trial.numbers, norm: false)
        // Half of seven channels, rounded down.
        #expect(code.channels == 3)
        let names =
            epoch == 0
            ? ["term.0.paraphraser.encoder.2.conv.bias", "term.0.paraphraser.decoder.0.conv.bias"]
            : ["s3", "term.0.translator.2.conv.weight", "term.0.translator.1.bn.weight"]
        try trial.compare(epoch: epoch, gradients: names) { values in
            let own = chain(target, "paraphraser.encoder", values, norm: false)
            let paraphrase = chain(own, "paraphraser.decoder", values, norm: false).distance(target)
            guard epoch > 1 else { return paraphrase }
            let translated = chain(trial.student("s3", values), "translator", values, norm: true)
            return 3 * Float64Reference.mean(zip(factor(translated), factor(code)).map { abs($0 - $1) })
        }
    }

    // MARK: Masked features

    @Test(
        "masked features: what the generator makes of what is left", arguments: ["channels", "positions"],
        TestBackend.available)
    func masked(_ hide: String, _ backend: TestBackend) throws {
        let trial = try Trial(
            "loss: masked-feature, alpha: 0.01, hide: \(hide), mask: 0.4, student: [s2], teacher: [s2]", .alike, backend
        )
        // What no gradient reaches is hidden: whole channels, or positions in all of them.
        let gradient = try trial.sample.evaluate(trial.values, teachers: trial.teachers).gradients["s2"]!
        let hidden = gradient.filter { $0 == 0 }.count
        #expect(hidden > 0 && hidden < gradient.count)
        let target = try trial.teacher("s2")
        try trial.compare(gradients: ["s2", "term.0.generation.0.weight", "term.0.generation.1.bias"]) { values in
            var kept = trial.student("s2", values)
            for (place, value) in gradient.enumerated() where value == 0 { kept.values[place] = 0 }
            return 0.01 * Self.generated(kept, values).distance(target) * Double(target.values.count / target.rows)
        }
    }

    @Test("masked features of other channels are aligned first", arguments: TestBackend.available)
    func aligned(_ backend: TestBackend) throws {
        let trial = try Trial("loss: masked-feature, alpha: 0.01, mask: 0", .different, backend)
        let target = try trial.teacher("s3")
        try trial.compare(gradients: ["s3", "term.0.align.weight", "term.0.align.bias"]) { values in
            let s = trial.student("s3", values).convolved(
                values["term.0.align.weight"]!, values["term.0.align.bias"]!, kernel: 1)
            return 0.01 * Self.generated(s, values).distance(target) * Double(target.values.count / target.rows)
        }
    }

    /// Two 3×3 convolutions with ReLU between them.
    private static func generated(_ x: Maps, _ values: Numbers) -> Maps {
        func layer(_ x: Maps, _ number: Int) -> Maps {
            let name = "term.0.generation.\(number)."
            return x.convolved(values[name + "weight"]!, values[name + "bias"]!, kernel: 3, padding: 1)
        }
        return layer(layer(x, 0).map { max(0, $0) }, 1)
    }

    // MARK: Exits

    @Test("be your own teacher: exits of maps", arguments: TestBackend.available)
    func exits(_ backend: TestBackend) throws {
        let trial = try Trial(
            "loss: be-your-own-teacher, alpha: 0.3, beta: 0.05, temperature: 2", .alike, backend)
        let fixed = trial.numbers
        let (rows, classes, width) = (SignalSample.rows, SignalSample.classes, 6)
        func reference(_ values: Numbers) -> Double {
            func logits(_ values: Numbers, _ row: Int) -> [Double] {
                Array(values["logits"]![(row * classes)..<((row + 1) * classes)])
            }
            // Windows of 4 and 2: how much larger the stages are than the last, of 2 × 2.
            let features = [4, 2].enumerated().map { number, window in
                func layer(_ x: Maps, _ part: Int, _ kernel: Int) -> Maps {
                    let name = "term.\(number).bottleneck.\(part)."
                    return x.convolved(
                        values[name + "conv.weight"]!, values[name + "conv.bias"]!, kernel: kernel, stride: kernel
                    ).normed(values[name + "bn.weight"]!, values[name + "bn.bias"]!).map { max(0, $0) }
                }
                let stage = trial.student("s\(number + 1)", values)
                return layer(layer(layer(stage, 0, 1), 1, window), 2, 1).averaged(1)
            }
            return Float64Reference.mean(
                (0..<rows).map { row in
                    let label = Int(SignalSample.labels[row])
                    let soft = Float64Reference.softmax(logits(fixed, row), temperature: 2)
                    let goal = fixed["e"]![(row * width)..<((row + 1) * width)]
                    var sum = -0.7 * Float64Reference.logSoftmax(logits(values, row))[label]
                    for (number, feature) in features.enumerated() {
                        let own = (0..<width).map { feature.at(row, $0, 0, 0) }
                        let name = "term.\(number).classifier."
                        let exit = (0..<classes).map { output in
                            values[name + "bias"]![output]
                                + own.indices.reduce(0) { $0 + values[name + "weight"]![output * width + $1] * own[$1] }
                        }
                        sum -= 0.7 * Float64Reference.logSoftmax(exit)[label]
                        sum +=
                            0.3 * 4
                            * Float64Reference.divergence(soft, Float64Reference.logSoftmax(exit, temperature: 2))
                        sum += 0.05 * zip(own, goal).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
                    }
                    return sum
                })
        }
        try trial.compare(
            gradients: [
                "logits", "e", "s2", "term.0.bottleneck.1.conv.weight", "term.1.bottleneck.2.bn.weight",
                "term.0.classifier.weight",
            ], reference)
    }
}
