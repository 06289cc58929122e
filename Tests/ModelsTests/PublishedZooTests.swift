import Foundation
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// The networks of the CIFAR distillation zoo against the published code (`Tests/Fixtures/zoo`, made by `scripts/zoo/published.py`): names and
/// shapes of all arrays, how fresh weights are distributed, what given weights answer.
@Suite("Vision zoo against the published code")
struct PublishedZooTests {
    struct Network: Sendable, CustomTestStringConvertible {
        /// In the published registry.
        let name: String
        let kind: String
        let settings: [String: Int]
        var testDescription: String { name }

        init(_ name: String, _ kind: String, _ settings: [String: Int] = [:]) {
            self.name = name
            self.kind = kind
            self.settings = settings
        }

        func make() throws -> any Model {
            let type = try #require(ModelRegistry.find(kind))
            return try type.init(
                ModelSettings(settings.mapValues { .integer($0) }, of: type.architecture),
                for: ClassificationTask(sample: [3, 32, 32], classes: 100))
        }
    }

    static let networks =
        [8, 14, 20, 32, 44, 56, 110].map { Network("resnet\($0)", "resnet", ["depth": $0]) }
        + [8, 32].map { Network("resnet\($0)x4", "resnet", ["depth": $0, "factor": 4]) }
        + [50, 101, 152].map { Network("ResNet\($0)", "resnet-bottleneck", ["depth": $0]) }
        + [(16, 1), (16, 2), (40, 1), (40, 2)].map { Network("wrn_\($0)_\($1)", "wrn", ["depth": $0, "factor": $1]) }
        + [8, 11, 13, 16, 19].map { Network("vgg\($0)", "vgg", ["depth": $0]) }
        + [
            Network("MobileNetV2", "mobilenetv2"), Network("ShuffleV1", "shufflenetv1"),
            Network("ShuffleV1-1.5", "shufflenetv1", ["width": 150]), Network("ShuffleV2", "shufflenetv2"),
        ]
        + [("0.2", 20), ("0.3", 30), ("0.5", 50), ("1.5", 150), ("2", 200)].map {
            Network("ShuffleV2-\($0)", "shufflenetv2", ["width": $1])
        }

    private static let fixture = Result {
        try JSONCursor.read(Project.root + "/Tests/Fixtures/zoo/published.json")
    }
    private static func fixture(_ part: String) throws -> JSONCursor { try fixture.get().member(part) }

    /// Networks that a part of the fixture covers.
    static func covered(_ part: String) -> [Network] {
        let names = (try? fixture(part).members().map(\.key)) ?? []
        return networks.filter { names.contains($0.name) }
    }

    private static func line(_ name: String, _ shape: Dimensions) -> String {
        "\(name) \(shape.map(String.init).joined(separator: "x"))"
    }

    private static func arrays(of model: any Model) -> [String] {
        (model.parameters.map { line($0.name, $0.shape) } + model.buffers.map { line($0.name, $0.shape) }).sorted()
    }

    // MARK: Names and sizes

    @Test("nothing of the published registry is missing")
    func complete() throws {
        let published = try Self.fixture("digests").members().map(\.key)
        #expect(Set(published) == Set(Self.networks.map(\.name)) && published.count == Self.networks.count)
        #expect(Self.covered("full").count == 7 && Self.covered("answers").count == 11)
    }

    @Test("names and shapes of every array", arguments: networks)
    func names(_ network: Network) throws {
        let published = try Self.fixture("digests").member(network.name)
        let model = try network.make()
        #expect(model.parameterCount == (try published.member("parameters").int()))
        let arrays = Self.arrays(of: model)
        #expect(arrays.count == (try published.member("arrays").int()))
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in arrays.joined(separator: "\n").utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let digits = String(hash, radix: 16)
        #expect(
            String(repeating: "0", count: 16 - digits.count) + digits == (try published.member("fnv1a").string()))
        // Where the whole list is there, it says which.
        guard let full = try Self.fixture("full").optional(network.name) else { return }
        let expected = try full.elements().map {
            try $0.string().split(separator: " ").prefix(2).joined(separator: " ")
        }
        #expect(arrays == expected.sorted())
    }

    // MARK: Start

    /// Sums of squares and fourth powers of numbers divided by their expected deviation.
    private struct Moments {
        var (count, squares, fourths) = (0.0, 0.0, 0.0)

        mutating func add(_ values: [Float], deviation: Double) {
            for value in values {
                let square = Double(value) * Double(value) / (deviation * deviation)
                squares += square
                fourths += square * square
            }
            count += Double(values.count)
        }
    }

    @Test("fresh weights are distributed as published", arguments: covered("full"))
    func start(_ network: Network) throws {
        let model = try network.make()
        _ = try model.materialize(on: try TestBackend.cpu.device(), seed: 11)
        var values: [String: [Float]] = [:]
        for parameter in model.parameters { values[parameter.name] = try parameter.values() }
        for buffer in model.buffers { values[buffer.name] = try buffer.values() }
        var families: [String: Moments] = [:]
        for entry in try Self.fixture("full").member(network.name).elements() {
            let words = try entry.string().split(separator: " ").map(String.init)
            let (name, rule, number) = (words[0], words[2], try #require(Double(words[3])))
            let fresh = try #require(values[name], "\(name)")
            if rule == "constant" {
                #expect(fresh.allSatisfy { Double($0) == number }, "\(name)")
                continue
            }
            let isUniform = rule == "uniform"
            if isUniform { #expect(fresh.allSatisfy { abs(Double($0)) <= number * 1.00001 }, "\(name)") }
            let deviation = isUniform ? number / 3.0.squareRoot() : number
            var own = Moments()
            own.add(fresh, deviation: deviation)
            families[rule, default: Moments()].add(fresh, deviation: deviation)
            // The variance of n squares is (kurtosis − 1) / n; six deviations of it.
            let spread = ((isUniform ? 0.8 : 2) / own.count).squareRoot()
            #expect(
                abs(own.squares / own.count - 1) < 6 * spread,
                "\(name): deviation \((own.squares / own.count).squareRoot() * deviation), published \(deviation)")
        }
        // Which of the two it is, by the fourth moment: 3 of a normal, 9/5 of a uniform.
        for (rule, all) in families where all.count > 1000 {
            let kurtosis = all.fourths / all.count / ((all.squares / all.count) * (all.squares / all.count))
            #expect(abs(kurtosis - (rule == "uniform" ? 1.8 : 3)) < 0.5, "\(rule): \(kurtosis)")
        }
    }

    // MARK: Answers

    /// Numbers in [−1, 1) that any language can make from a name: `hashed` of the script.
    private static func hashed(_ name: String, _ count: Int) -> [Double] {
        var start: UInt32 = 0x811C_9DC5
        for byte in name.utf8 { start = (start ^ UInt32(byte)) &* 0x0100_0193 }
        return (0..<count).map { index in
            var h = UInt32(index) &* 2_654_435_761 &+ start
            for shift: UInt32 in [15, 13] { h = (h ^ (h >> shift)) &* 2_246_822_519 }
            return Double(h ^ (h >> 16)) / 0x1p31 - 1
        }
    }

    private static func fill(_ name: String, _ shape: Dimensions) -> [Float] {
        let numbers = hashed(name, shape.product)
        if shape.count > 1 {
            let scale = (6 / Double(shape.dropFirst().reduce(1, *))).squareRoot()
            return numbers.map { Float($0 * scale) }
        }
        let isScale = name.hasSuffix("running_var") || name.hasSuffix("weight")
        return numbers.map { Float(isScale ? 1 + 0.5 * $0 : 0.3 * $0) }
    }

    @Test("what given weights answer, and every signal on the way", arguments: covered("answers"), TestBackend.fast)
    func answers(_ network: Network, _ backend: TestBackend) throws {
        let published = try Self.fixture("answers").member(network.name)
        let device = try backend.device()
        let model = try network.make()
        _ = try model.materialize(on: device, seed: nil, trains: false)
        for parameter in model.parameters { try parameter.assign(Self.fill(parameter.name, parameter.shape)) }
        for buffer in model.buffers { try buffer.assign(Self.fill(buffer.name, buffer.shape)) }
        model.setTraining(false)
        let images = Self.hashed("images", 2 * 3 * 32 * 32).map(Float.init)
        let output = try model.forward(
            try Tensor(images, [2, 3, 32, 32], on: device), capturing: Set(model.signals.paths))

        let logits = try output.logits.values()
        let seen = [0, 1].flatMap { row in (0..<5).map { logits[row * 100 + $0] } }
        let expected = try published.member("logits").elements().map { try $0.double() }
        let largest = expected.map { abs($0) }.max() ?? 0
        // Rounding of some hundred layers in float32.
        expectClose(seen, expected, absolute: 2e-5 * largest, "logits")
        let stem = network.kind == "vgg" ? [] : ["stem"]
        let first = network.kind == "vgg" ? 1 : 0
        let embedding = try #require(model.signals.embedding)
        for (part, paths) in [
            ("features", stem + model.signals.stages + [embedding]),
            ("preactivations", stem + model.signals.preactivations + [embedding]),
        ] {
            let numbers = try published.member(part).elements()
            try #require(numbers.count == paths.count)
            for (index, path) in paths.enumerated() {
                // The published VGG shows its first block after the activation in both lists.
                if part == "preactivations", index < first { continue }
                let values = try #require(output.signals[path]).values().map(Double.init)
                let mean = try numbers[index].element(0).double()
                let square = try numbers[index].element(1).double()
                let root = square.squareRoot()
                #expect(abs(values.reduce(0, +) / Double(values.count) - mean) < 1e-5 * root, "\(path)")
                #expect(
                    abs(values.reduce(0) { $0 + $1 * $1 } / Double(values.count) - square) < 2e-5 * square, "\(path)")
            }
        }
    }
}
