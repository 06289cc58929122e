import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Losses of features and relations that no golden covers, or only in part, against float64 on the host.
@Suite("Signal losses against float64")
struct SignalReferenceTests {
    /// Compares value and gradient of a function of the student's features with a reference in double.
    private func compare(
        _ shape: Dimensions, teacher teacherShape: Dimensions, _ backend: TestBackend, tolerance: Double = 2e-6,
        _ loss: (Tensor, Tensor) throws -> Tensor, reference: ([Double], [Double]) -> Double
    ) throws {
        let device = try backend.device()
        let student = SignalSample.random("student", shape.product, 1.5)
        let teacher = SignalSample.random("teacher", teacherShape.product, 1.5)
        let (x, leaf) = try Tensor.variable(student, shape, on: device)
        let value = try loss(x, Tensor(teacher, teacherShape, on: device))
        let number = try value.item()
        try value.backward()
        let (s, t) = (student.map(Double.init), teacher.map(Double.init))
        let expected = reference(s, t)
        try #require(abs(expected) > 1e-3, "the reference is too small to compare with")
        expectClose([number], [expected], absolute: 0, relative: tolerance, "value")
        let gradient = Float64Reference.gradient(s) { reference($0, t) }
        let largest = gradient.map { abs($0) }.max() ?? 0
        expectClose(try leaf.gradientValues(), gradient, absolute: 4 * tolerance * largest, "gradient")
    }

    @Test("edges of the instance graph", arguments: TestBackend.available)
    func edges(_ backend: TestBackend) throws {
        func scaledDistances(_ x: [Double], _ width: Int) -> [Double] {
            let rows = Float64Reference.rows(x, width)
            let squares = rows.flatMap { a in
                rows.map { b in zip(a, b).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } }
            }
            let largest = squares.max()!
            return squares.map { $0 / largest }
        }
        try compare([5, 7], teacher: [5, 4], backend, tolerance: 5e-6) {
            try $0.edgeDistance($1)
        } reference: { s, t in
            Float64Reference.mean(
                zip(scaledDistances(s, 7), scaledDistances(t, 4)).map { ($0 - $1) * ($0 - $1) })
        }
    }

    @Test("how the instance graph changes from map to map", arguments: TestBackend.available)
    func transformation(_ backend: TestBackend) throws {
        let device = try backend.device()
        let tops: (student: Dimensions, teacher: Dimensions) = ([3, 4, 2, 2], [3, 3, 2, 2])
        let (studentTop, teacherTop) = (
            SignalSample.random("student top", 48, 1.5), SignalSample.random("teacher top", 36, 1.5)
        )
        /// Each row's squared distance from the bottom map, averaged over 2 × 2, to the top one, neighbouring channels of which are averaged.
        func change(_ bottom: [Double], _ top: [Float], channels: Int, together: Int) -> [Double] {
            let all = (0..<3).map { row in
                (0..<channels * 4).reduce(0.0) { sum, at in
                    let (channel, y, x) = (at / 4, at / 2 % 2, at % 2)
                    let below = [0, 1, 4, 5].map { bottom[(row * channels + channel) * 16 + y * 8 + x * 2 + $0] }
                    let above = (0..<together).map {
                        Double(top[(row * channels * together + channel * together + $0) * 4 + y * 2 + x])
                    }
                    let d = Float64Reference.mean(below) - Float64Reference.mean(above)
                    return sum + d * d
                }
            }
            return all.map { $0 / all.max()! }
        }
        try compare([3, 2, 4, 4], teacher: [3, 3, 4, 4], backend, tolerance: 5e-6) { s, t in
            try Tensor.transformationDistance(
                student: (s, Tensor(studentTop, tops.student, on: device)),
                teacher: (t, Tensor(teacherTop, tops.teacher, on: device)))
        } reference: { s, t in
            let pairs = zip(
                change(s, studentTop, channels: 2, together: 2), change(t, teacherTop, channels: 3, together: 1))
            return Float64Reference.mean(pairs.map { ($0 - $1) * ($0 - $1) })
        }
    }

    @Test("a hint to a map of twice the size", arguments: TestBackend.available)
    func enlargingHint(_ backend: TestBackend) throws {
        let objective = try Setting(
            recipe: "loss: fitnet, alpha: 1, regressor: conv, student: [s2], teacher: [s1]"
        ).make()
        let sample = try SignalSample(objective, .different, on: try backend.device())
        let values = try sample.start()
        let teachers = try sample.teachers()
        let t = try #require(teachers[0].signals["s1"]).values().map(Double.init)
        let weight = try #require(values["term.0.conv.weight"]).map(Double.init)
        let bias = try #require(values["term.0.conv.bias"]).map(Double.init)
        // [4, 4, 4] to [4, 8, 8]: each of 4 × 4 pixels adds 4 × 4 weights [inputs, outputs, 4, 4], two apart, from one before the edge.
        func loss(_ s: [Double]) -> Double {
            var y = (0..<SignalSample.rows * 4 * 64).map { bias[$0 / 64 % 4] }
            for row in 0..<SignalSample.rows {
                for at in 0..<4 * 16 * 4 * 16 {
                    let (input, pixel, output, element) = (at / 1024, at / 64 % 16, at / 16 % 4, at % 16)
                    let (j, i) = (pixel / 4 * 2 - 1 + element / 4, pixel % 4 * 2 - 1 + element % 4)
                    guard (0..<8).contains(j), (0..<8).contains(i) else { continue }
                    y[((row * 4 + output) * 8 + j) * 8 + i] +=
                        s[(row * 4 + input) * 16 + pixel] * weight[(input * 4 + output) * 16 + element]
                }
            }
            return Float64Reference.mean(zip(y, t).map { ($0 - $1) * ($0 - $1) })
        }
        let s = values["s2"]!.map(Double.init)
        let found = try sample.evaluate(values, teachers: teachers)
        expectClose([found.loss], [loss(s)], absolute: 0, relative: 2e-6, "value")
        let expected = Float64Reference.gradient(s, loss)
        let largest = expected.map { abs($0) }.max() ?? 0
        expectClose(found.gradients["s2"]!, expected, absolute: 1e-5 * largest, "gradient")
    }

    @Test("activation boundaries", arguments: TestBackend.available)
    func boundaries(_ backend: TestBackend) throws {
        try compare([3, 4, 5, 5], teacher: [3, 4, 5, 5], backend) {
            try $0.boundaryDistance($1, margin: 0.8)
        } reference: { s, t in
            // The authors' form, condition by condition.
            zip(s, t).reduce(0) { sum, pair in
                let (s, t) = pair
                if s > -0.8, t <= 0 { return sum + (s + 0.8) * (s + 0.8) }
                if s <= 0.8, t > 0 { return sum + (s - 0.8) * (s - 0.8) }
                return sum
            } / 3
        }
    }

    @Test("factors of two codes", arguments: TestBackend.available)
    func factors(_ backend: TestBackend) throws {
        func factor(_ x: [Double], channels: Int, positions: Int) -> [[Double]] {
            Float64Reference.rows(x, channels * positions).map { row in
                let a = (0..<positions).map { p in
                    Float64Reference.mean((0..<channels).map { row[$0 * positions + p] * row[$0 * positions + p] })
                }
                let length = a.reduce(0) { $0 + $1 * $1 }.squareRoot()
                return a.map { $0 / length }
            }
        }
        try compare([3, 4, 3, 3], teacher: [3, 6, 3, 3], backend, tolerance: 5e-6) {
            try $0.factorDistance($1)
        } reference: { s, t in
            let (a, b) = (factor(s, channels: 4, positions: 9), factor(t, channels: 6, positions: 9))
            return Float64Reference.mean(zip(a, b).flatMap { zip($0, $1).map { abs($0 - $1) } })
        }
    }

    @Test("the distance of a generated map", arguments: TestBackend.available)
    func generation(_ backend: TestBackend) throws {
        try compare([3, 4, 2, 2], teacher: [3, 4, 2, 2], backend) {
            try $0.generationDistance($1)
        } reference: { s, t in
            let squares: [Double] = zip(s, t).map { pair in (pair.0 - pair.1) * (pair.0 - pair.1) }
            return squares.reduce(0, +) / 3
        }
    }

    @Test("what is hidden: whole channels or whole positions, about the share asked for")
    func masks() throws {
        let device = try TestBackend.cpu.device()
        for hide in ["channels", "positions"] {
            // No gradient reaches what is hidden.
            let objective = try Setting(
                recipe: "loss: masked-feature, hide: \(hide), mask: 0.4, alpha: 1, student: [s1], teacher: [s1]"
            ).make()
            let sample = try SignalSample(objective, .alike, on: device)
            let values = try sample.start()
            let gradient = try sample.evaluate(values, teachers: try sample.teachers()).gradients["s1"]!
            let (channels, positions) = (3, 64)
            var hidden = 0
            var places = 0
            for row in 0..<SignalSample.rows {
                let groups: [[Float]] =
                    hide == "channels"
                    ? (0..<channels).map { c in (0..<positions).map { gradient[(row * channels + c) * positions + $0] }
                    }
                    : (0..<positions).map { p in (0..<channels).map { gradient[(row * channels + $0) * positions + p] }
                    }
                for group in groups {
                    places += 1
                    let zeros = group.count { $0 == 0 }
                    #expect(zeros == 0 || zeros == group.count, "\(hide): a part of one is hidden")
                    if zeros == group.count { hidden += 1 }
                }
            }
            let share = Double(hidden) / Double(places)
            #expect(share > 0.1 && share < 0.75, "\(hide): \(share)")
        }
    }

    @Test("masks of the parts of a batch are those of the whole")
    func masksInParts() throws {
        let device = try TestBackend.cpu.device()
        for hide in ["channels", "positions"] {
            let objective = try Setting(
                recipe: "loss: masked-feature, hide: \(hide), mask: 0.4, alpha: 1, student: [s1], teacher: [s1]"
            ).make()
            let sample = try SignalSample(objective, .alike, on: device)
            let (values, teachers) = (try sample.start(), try sample.teachers())
            let whole = try sample.input(values, teachers: teachers).0
            func part(_ range: Range<Int>, firstRow: Int) throws -> Float {
                func cut(_ output: ModelOutput) throws -> ModelOutput {
                    ModelOutput(
                        logits: try output.logits.slice(range),
                        signals: try output.signals.mapValues { try $0.slice(range) })
                }
                return try sample.term.loss(
                    ObjectiveInput(
                        student: try cut(whole.student), teachers: try whole.teachers.map(cut),
                        labels: whole.labels.slice(range), firstRow: firstRow, progress: whole.progress)
                ).item()
            }
            let all = try sample.term.loss(whole).item()
            let parts = (try part(0..<1, firstRow: 0) + 3 * part(1..<4, firstRow: 1)) / 4
            expectClose([parts], [Double(all)], absolute: 0, relative: 1e-6)
            #expect(try part(1..<4, firstRow: 0) != part(1..<4, firstRow: 1))
        }
    }

    @Test(
        "the margin of a normal distribution's negative part",
        arguments: [(1.0, 0.0), (2.0, 0.5), (0.5, -0.7), (-1.5, 1.0), (0.1, 5.0)])
    func margin(_ deviation: Double, _ mean: Double) {
        // By summing x·density over the negative axis.
        let s = abs(deviation)
        var (mass, moment) = (0.0, 0.0)
        let step = 1e-4
        for i in 0..<400_000 {
            let x = -(Double(i) + 0.5) * step
            let density = exp(-(x - mean) * (x - mean) / (2 * s * s))
            mass += density
            moment += x * density
        }
        let share = mass * step / (s * (2 * Double.pi).squareRoot())
        let expected = share > 0.001 ? moment / mass : -3 * s
        expectClose(
            [OFDObjective.margin(deviation: Float(deviation), mean: Float(mean))], [expected], absolute: 1e-5,
            relative: 1e-4)
    }

    @Test("the mean negative response of a batch, by channel", arguments: TestBackend.available)
    func negativeResponse(_ backend: TestBackend) throws {
        // Channel 0: −1, 2 | −3, 4; channel 1: nothing below 0.
        let x = try Tensor([-1, 2, 5, 0, -3, 4, 1, 1], [2, 2, 1, 2], on: try backend.device())
        expectClose(try x.meanNegativeResponse().values(), [-2, 0], absolute: 1e-7)
    }

    // MARK: Learned weights and exits

    @Test("teachers mixed by weights, with the weights' gradient", arguments: TestBackend.available)
    func weighedTeachers(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (rows, classes) = (3, 5)
        let temperature = 2.5
        let teachers = ["a", "b", "c"].map { SignalSample.random($0, rows * classes, 3) }
        let student = SignalSample.random("student", rows * classes, 3)
        let gate = SignalSample.random("gate", rows * 3, 1)
        let (x, leaf) = try Tensor.variable(student, [rows, classes], on: device)
        let (g, gateLeaf) = try Tensor.variable(gate, [rows, 3], on: device)
        let loss = try x.divergence(
            fromTeachers: teachers.map { try Tensor($0, [rows, classes], on: device) }, weights: try g.softmax(),
            temperature: Float(temperature))
        let value = try loss.item()
        try loss.backward()
        func reference(_ z: [Double], _ gate: [Double]) -> Double {
            Float64Reference.mean(
                (0..<rows).map { row in
                    func part(_ x: [Double], _ columns: Int) -> [Double] {
                        Array(x[(row * columns)..<((row + 1) * columns)])
                    }
                    let weights = Float64Reference.softmax(part(gate, 3))
                    let answers = teachers.map {
                        Float64Reference.softmax(part($0.map(Double.init), classes), temperature: temperature)
                    }
                    let mixture = (0..<classes).map { c in zip(weights, answers).reduce(0) { $0 + $1.0 * $1.1[c] } }
                    return temperature * temperature
                        * Float64Reference.divergence(
                            mixture, Float64Reference.logSoftmax(part(z, classes), temperature: temperature))
                })
        }
        let (z, w) = (student.map(Double.init), gate.map(Double.init))
        expectClose([value], [reference(z, w)], absolute: 0, relative: 2e-6)
        expectClose(
            try leaf.gradientValues(), Float64Reference.gradient(z) { reference($0, w) }, absolute: 2e-6, "student")
        expectClose(
            try gateLeaf.gradientValues(), Float64Reference.gradient(w) { reference(z, $0) }, absolute: 4e-6, "gate")
    }

    @Test("an exit of vectors: every term, and what is constant for it", arguments: TestBackend.available)
    func exits(_ backend: TestBackend) throws {
        let objective = try Setting(
            recipe: "loss: be-your-own-teacher, exits: [e], alpha: 0.3, beta: 0.05, temperature: 2"
        ).make()
        let sample = try SignalSample(objective, .alike, on: try backend.device())
        let start = try sample.start()
        let result = try sample.evaluate(start, teachers: [])
        let (rows, classes, width) = (SignalSample.rows, SignalSample.classes, 6)
        func layer(_ x: [Double], _ name: String, _ values: [String: [Double]]) -> [Double] {
            let (weight, bias) = (values["term.0.\(name).weight"]!, values["term.0.\(name).bias"]!)
            return bias.indices.map { o in
                bias[o] + x.indices.reduce(0) { $0 + weight[o * x.count + $1] * x[$1] }
            }
        }
        let fixed = start.mapValues { $0.map(Double.init) }
        func reference(_ values: [String: [Double]]) -> Double {
            Float64Reference.mean(
                (0..<rows).map { row in
                    func part(_ values: [String: [Double]], _ key: String, _ columns: Int) -> [Double] {
                        Array(values[key]![(row * columns)..<((row + 1) * columns)])
                    }
                    let label = Int(SignalSample.labels[row])
                    let features = layer(part(values, "e", width), "bottleneck", values).map { max(0, $0) }
                    let exit = layer(features, "classifier", values)
                    let hard =
                        -Float64Reference.logSoftmax(part(values, "logits", classes))[label]
                        - Float64Reference.logSoftmax(exit)[label]
                    let soft = Float64Reference.divergence(
                        Float64Reference.softmax(part(fixed, "logits", classes), temperature: 2),
                        Float64Reference.logSoftmax(exit, temperature: 2))
                    let distance = zip(features, part(fixed, "e", width)).reduce(0) {
                        $0 + ($1.0 - $1.1) * ($1.0 - $1.1)
                    }
                    return 0.7 * hard + 0.3 * 4 * soft + 0.05 * distance
                })
        }
        expectClose([result.loss], [reference(fixed)], absolute: 0, relative: 2e-6)
        for name in start.keys {
            let gradient = Float64Reference.gradient(fixed[name]!) { moved in
                var values = fixed
                values[name] = moved
                return reference(values)
            }
            let largest = gradient.map { abs($0) }.max() ?? 0
            expectClose(result.gradients[name]!, gradient, absolute: 4e-6 * max(largest, 0.1), name)
        }
    }

    @Test("matching rows, both ways, with the gradient of the scale", arguments: TestBackend.available)
    func matching(_ backend: TestBackend) throws {
        func cosines(_ s: [Double], _ t: [Double]) -> [[Double]] {
            func unit(_ row: [Double]) -> [Double] {
                let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
                return row.map { $0 / length }
            }
            let (a, b) = (Float64Reference.rows(s, 3).map(unit), Float64Reference.rows(t, 3).map(unit))
            return a.map { row in b.map { zip(row, $0).reduce(0) { $0 + $1.0 * $1.1 } } }
        }
        func reference(_ s: [Double], _ t: [Double], scale: Double) -> Double {
            let scores = cosines(s, t).map { $0.map { $0 * scale } }
            let across = (0..<5).map { column in scores.map { $0[column] } }
            return Float64Reference.mean(
                (0..<5).map {
                    -(Float64Reference.logSoftmax(scores[$0])[$0] + Float64Reference.logSoftmax(across[$0])[$0]) / 2
                })
        }
        try compare([5, 3], teacher: [5, 3], backend, tolerance: 5e-6) { s, t in
            try s.normalized().contrast(with: t.normalized(), scale: Tensor.full(7, [1], on: s.device))
        } reference: {
            reference($0, $1, scale: 7)
        }
        try compare([1], teacher: [30], backend, tolerance: 5e-6) { scale, both in
            try both.slice(0..<15).reshaped([5, 3]).normalized()
                .contrast(with: both.slice(15..<30).reshaped([5, 3]).normalized(), scale: scale)
        } reference: { scale, both in
            reference(Array(both[..<15]), Array(both[15...]), scale: scale[0])
        }
    }

    @Test("the learned scale stops at 100")
    func largestScale() throws {
        let device = try TestBackend.cpu.device()
        func loss(_ temperature: String) throws -> (Float, [Float]?) {
            let sample = try SignalSample(
                Setting(recipe: "loss: contrastive, temperature: \(temperature)").make(), .different, on: device)
            var values = try sample.start()
            if temperature == "1" { values["term.log_scale"] = [6] }
            let result = try sample.evaluate(values, teachers: sample.teachers())
            return (result.loss, result.gradients["term.log_scale"])
        }
        let (above, at) = (try loss("1"), try loss("0.01"))
        // Both start from random numbers of their own; what is compared is that a scale of e⁶ is not used and has no gradient.
        #expect(above.1 == [0] && above.0.isFinite && at.0.isFinite)
    }

    // MARK: CRD

    @Test(
        "memories move by momentum, at the batch's rows only, and negatives are of other classes",
        arguments: TestBackend.fast)
    func contrast(_ backend: TestBackend) throws {
        let device = try backend.device()
        let start = SignalSample.random("memory", 6 * 3, 1)
        let memory = ContrastMemory(try Tensor(start, [6, 3], on: device))
        let ids = try device.compute.view([Int32(4), 1], [2], .i32)
        let places = try Tensor.oneHot(ids, classes: 6, on: device.compute)
        let embeddings = SignalSample.random("embedding", 2 * 3, 1)
        try memory.update(places, try Tensor(embeddings, [2, 3], on: device), momentum: 0.25)
        var expected = Float64Reference.rows(start.map(Double.init), 3)
        for (row, id) in [4, 1].enumerated() {
            let mixed = (0..<3).map { 0.25 * expected[id][$0] + 0.75 * Double(embeddings[row * 3 + $0]) }
            let length = mixed.reduce(0) { $0 + $1 * $1 }.squareRoot()
            expected[id] = mixed.map { $0 / length }
        }
        expectClose(try memory.rows.values(), expected.flatMap { $0 }, absolute: 1e-6)
    }

    @Test(
        "a step of CRD: the first batch sets Z, the step moves the memories, and the draw is repeatable",
        arguments: TestBackend.fast)
    func contrastiveStep(_ backend: TestBackend) throws {
        func losses(_ negatives: Int) throws -> [Float] {
            let objective = try Setting(recipe: "loss: crd, width: 8, negatives: \(negatives)").make()
            let sample = try SignalSample(objective, .different, on: try backend.device())
            let values = try sample.start()
            let teachers = try sample.teachers()
            return try (0..<3).map { _ in
                let loss = try sample.evaluate(values, teachers: teachers).loss
                try sample.term.afterStep()
                return loss
            }
        }
        let all = try losses(16384)
        #expect(all == (try losses(16384)))
        // The inputs are the same each time; what they are compared with is not.
        #expect(all[1] != all[0] && all[2] != all[1], "\(all)")
        let few = try losses(3)
        #expect(few == (try losses(3)) && few != all)
    }
}
