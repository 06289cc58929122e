import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortModels

/// The published CIFAR-100 zoo: sizes, and that every architecture runs, shows what it says it shows, and survives its directory.
@Suite("Vision zoo")
struct ZooTests {
    struct Entry: Sendable, CustomTestStringConvertible {
        let kind: String
        let settings: [String: SettingValue]
        /// Trained numbers with 100 classes and 3 × 32 × 32 images.
        let parameters: Int
        var testDescription: String { "\(kind) \(settings)" }

        func make(_ sample: [Int] = [3, 32, 32], classes: Int = 100) throws -> any Model {
            let type = try #require(ModelRegistry.find(kind))
            return try type.init(
                ModelSettings(settings, of: type.architecture),
                for: ClassificationTask(sample: sample, classes: classes))
        }
    }

    static let published = [
        Entry(kind: "resnet", settings: ["depth": .integer(8)], parameters: 83_892),
        Entry(kind: "resnet", settings: ["depth": .integer(14)], parameters: 181_108),
        Entry(kind: "resnet", settings: ["depth": .integer(20)], parameters: 278_324),
        Entry(kind: "resnet", settings: ["depth": .integer(32)], parameters: 472_756),
        Entry(kind: "resnet", settings: ["depth": .integer(44)], parameters: 667_188),
        Entry(kind: "resnet", settings: ["depth": .integer(56)], parameters: 861_620),
        Entry(kind: "resnet", settings: ["depth": .integer(110)], parameters: 1_736_564),
        Entry(kind: "resnet", settings: ["depth": .integer(8), "factor": .integer(4)], parameters: 1_233_540),
        Entry(kind: "resnet", settings: ["depth": .integer(32), "factor": .integer(4)], parameters: 7_433_860),
        Entry(kind: "resnet-bottleneck", settings: [:], parameters: 23_705_252),
        Entry(kind: "resnet-bottleneck", settings: ["depth": .integer(101)], parameters: 42_697_380),
        Entry(kind: "resnet-bottleneck", settings: ["depth": .integer(152)], parameters: 58_341_028),
        Entry(kind: "wrn", settings: ["depth": .integer(16), "factor": .integer(1)], parameters: 180_916),
        Entry(kind: "wrn", settings: ["depth": .integer(16), "factor": .integer(2)], parameters: 703_284),
        Entry(kind: "wrn", settings: ["depth": .integer(40), "factor": .integer(1)], parameters: 569_780),
        Entry(kind: "wrn", settings: ["depth": .integer(40), "factor": .integer(2)], parameters: 2_255_156),
        Entry(kind: "vgg", settings: ["depth": .integer(8)], parameters: 3_965_028),
        Entry(kind: "vgg", settings: ["depth": .integer(8), "width": .integer(25)], parameters: 258_660),
        Entry(kind: "vgg", settings: ["depth": .integer(8), "width": .integer(150)], parameters: 8_878_180),
        Entry(kind: "vgg", settings: ["depth": .integer(11)], parameters: 9_277_284),
        Entry(kind: "vgg", settings: ["depth": .integer(13)], parameters: 9_462_180),
        Entry(kind: "vgg", settings: ["depth": .integer(13), "width": .integer(50)], parameters: 2_381_060),
        Entry(kind: "vgg", settings: ["depth": .integer(16)], parameters: 14_774_436),
        Entry(kind: "vgg", settings: ["depth": .integer(19)], parameters: 20_086_692),
        Entry(kind: "mobilenetv2", settings: [:], parameters: 812_836),
        Entry(kind: "shufflenetv1", settings: ["width": .integer(50)], parameters: 271_783),
        Entry(kind: "shufflenetv1", settings: [:], parameters: 949_258),
        Entry(kind: "shufflenetv1", settings: ["width": .integer(150)], parameters: 2_032_288),
        Entry(kind: "shufflenetv1", settings: ["width": .integer(200)], parameters: 3_521_584),
        Entry(kind: "shufflenetv2", settings: ["width": .integer(20)], parameters: 220_388),
        Entry(kind: "shufflenetv2", settings: ["width": .integer(30)], parameters: 235_588),
        Entry(kind: "shufflenetv2", settings: ["width": .integer(50)], parameters: 443_716),
        Entry(kind: "shufflenetv2", settings: [:], parameters: 1_355_528),
        Entry(kind: "shufflenetv2", settings: ["width": .integer(150)], parameters: 2_580_548),
        Entry(kind: "shufflenetv2", settings: ["width": .integer(200)], parameters: 5_521_860),
    ]

    @Test("sizes of the published zoo", arguments: published)
    func sizes(_ entry: Entry) throws {
        #expect(try entry.make().parameterCount == entry.parameters)
    }

    static let small = [
        Entry(kind: "cnn", settings: ["channels": .integers([3, 5]), "hidden": .integer(7)], parameters: 0),
        Entry(kind: "resnet", settings: ["depth": .integer(8), "widths": .integers([4, 4, 6, 8])], parameters: 0),
        Entry(kind: "resnet-bottleneck", settings: ["depth": .integer(14), "width": .integer(3)], parameters: 0),
        Entry(kind: "wrn", settings: ["depth": .integer(10), "factor": .integer(1)], parameters: 0),
        Entry(kind: "vgg", settings: ["depth": .integer(11), "width": .integer(10)], parameters: 0),
        Entry(kind: "mobilenetv2", settings: ["width": .integer(10), "expansion": .integer(2)], parameters: 0),
        Entry(kind: "shufflenetv1", settings: ["width": .integer(50)], parameters: 0),
        Entry(kind: "shufflenetv2", settings: ["width": .integer(50)], parameters: 0),
        Entry(
            kind: "vit",
            settings: [
                "hidden": .integer(12), "layers": .integer(2), "heads": .integer(3), "intermediate": .integer(20),
                "patch": .integer(8),
            ], parameters: 0),
    ]

    @Test(
        "every signal is shown, every parameter gets a gradient, the directory gives the same logits", arguments: small)
    func runs(_ entry: Entry) throws {
        let device = try TestBackend.cpu.device()
        let model = try entry.make([2, 16, 16], classes: 5)
        _ = try model.materialize(on: device, seed: 1)
        let random = Philox(seed: 2, stream: Philox.stream("zoo"))
        let x = try Tensor(random.uniforms(3 * 2 * 256, -1, 1), [3, 2, 16, 16], on: device)
        model.setTraining(true)
        let output = try model.forward(x, capturing: Set(model.signals.paths))
        #expect(output.logits.shape == [3, 5])
        #expect(Set(output.signals.keys) == Set(model.signals.paths))
        for path in model.signals.stages { #expect(output.signals[path]?.shape[0] == 3, "\(path)") }
        let labels = try device.compute.view([Int32(0), 3, 4], [3], .i32)
        try output.logits.crossEntropy(labels, scale: 1.0 / 3).total.backward()
        for parameter in model.parameters { #expect(parameter.hasGradient, "\(parameter.name)") }

        model.setTraining(false)
        let logits = try model(x).values()
        let folder = try ScratchFolder()
        try ModelDirectory.save(model, to: folder.path("m"))
        let again = try ModelDirectory.load(folder.path("m"), on: device).model
        again.setTraining(false)
        #expect(try again(x).values() == logits)
        // The last two parameters are those of the layer that makes the logits.
        let order = [4, 2, 0, 1, 3]
        try again.reorderClasses(order)
        expectClose(
            try again(x).values(), (0..<3).flatMap { row in order.map { Double(logits[row * 5 + $0]) } },
            absolute: 1e-5 * Double(logits.map(abs).max() ?? 1))
        // Capturing changes nothing but what is kept.
        let shown = try model.forward(x, capturing: Set(model.signals.paths)).logits.values()
        expectClose(shown, logits.map(Double.init), absolute: 1e-5 * Double(logits.map(abs).max() ?? 1))
    }

    @Test("what cannot be built is refused by the setting's name")
    func refused() throws {
        func error(_ kind: String, _ settings: [String: SettingValue], _ sample: [Int] = [3, 32, 32]) -> ModelError? {
            thrown(ModelError.self) { _ = try Entry(kind: kind, settings: settings, parameters: 0).make(sample) }
        }
        #expect(error("resnet", ["depth": .integer(21)])?.setting == "depth")
        #expect(error("resnet", ["widths": .integers([4, 4])])?.setting == "widths")
        #expect(error("resnet-bottleneck", ["depth": .integer(51)])?.setting == "depth")
        #expect(error("wrn", ["depth": .integer(17)])?.setting == "depth")
        #expect(error("vgg", ["depth": .integer(9)])?.setting == "depth")
        #expect(error("shufflenetv1", ["width": .integer(75)])?.setting == "width")
        #expect(error("shufflenetv2", ["width": .integer(75)])?.setting == "width")
        #expect(error("cnn", ["channels": .integers([4, 4, 4])], [1, 7, 7])?.setting == "channels")
        #expect(error("vit", ["patch": .integer(5)])?.setting == "patch")
        #expect(error("resnet", [:], [64])?.setting == "kind")
    }
}
