import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// The report's pictures: labels that keep apart, and where models look.
@Suite("Pictures of the report")
struct ReportPicturesTests {
    // MARK: Labels

    private struct Box { var left, top, right, bottom: Double }

    private func overlap(_ a: Box, _ b: Box) -> Bool {
        a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom
    }

    @Test("labels cover neither markers nor one another and stay inside; a line leads to those far away")
    func labels() throws {
        let area = (left: 50.0, top: 10.0, right: 450.0, bottom: 460.0)
        // Students of one size in a column, closer together than their names are high; a few elsewhere.
        let column = (0..<27).map { Point(x: 240, y: 180 + Double($0) * 3.7) }
        let markers = column + [Point(x: 52, y: 12), Point(x: 448, y: 458), Point(x: 420, y: 20)]
        var placement = LabelPlacement(markers: markers, area: area, letter: 5.6, line: 11)
        let names = markers.indices.map { "attention-transfer-\($0)" }
        var boxes: [Box] = []
        var leaders = 0
        for (name, marker) in zip(names, markers) {
            let found = placement.place(name, at: marker)
            let place = try #require(found, "\(name)")
            let length = Double(name.count) * 5.6
            let left = place.anchor == "start" ? place.at.x : place.at.x - length
            let box = Box(
                left: left, top: place.at.y - 11 * 0.77, right: left + length, bottom: place.at.y + 11 * 0.23)
            #expect(
                box.left >= area.left && box.right <= area.right && box.top >= area.top && box.bottom <= area.bottom)
            for other in boxes { #expect(!overlap(box, other), "\(name)") }
            for marker in markers {
                #expect(
                    !overlap(box, Box(left: marker.x - 6, top: marker.y - 6, right: marker.x + 6, bottom: marker.y + 6))
                )
            }
            boxes.append(box)
            // Beside its own marker, or with a line to it.
            let distance = abs(place.at.y - 11 * 0.3 - marker.y)
            #expect((place.leader != nil) == (distance > 12.001), "\(name) \(distance)")
            if let leader = place.leader {
                leaders += 1
                #expect(leader.from.y == marker.y && abs(leader.from.x - marker.x) == 6)
            }
        }
        #expect(leaders > 10)
        // Where nothing is left, nothing is drawn over something else.
        var full = LabelPlacement(markers: [Point(x: 20, y: 20)], area: (left: 0, top: 0, right: 60, bottom: 40))
        let (short, long) = (
            full.place("abc", at: Point(x: 20, y: 20)), full.place("far too long for this", at: Point(x: 20, y: 20))
        )
        #expect(short != nil && long == nil)
    }

    private static func arms(_ count: Int) -> [ArmResult] {
        (0..<count).map { number in
            let accuracy = number == 0 ? 0.93 : 0.80 + Double(number % 7) * 0.004
            let seeds = [-0.003, 0.003].enumerated().map { seed, change in
                SeedResult(
                    seed: UInt64(seed),
                    metrics: [
                        "accuracy": accuracy + change, "parameters": number == 0 ? 85_000 : 12_000,
                        "latency_us": (number == 0 ? 400 : 120) + Double(number % 5) + Double(seed),
                    ], curve: [], confusion: [])
            }
            return ArmResult(
                role: number == 0 ? "teacher" : "logit-standardization-\(number)", contract: [], seeds: seeds)
        }
    }

    @Test(
        "thirty arms: every name is in the scatter charts, none over another", arguments: [Metric.parameters, .latency])
    func scatter(_ metric: Metric) throws {
        for count in [2, 13, 31] {
            let chart = try #require(ScatterChart(Self.arms(count), against: metric, "things"))
            let (markup, unlabelled) = chart.picture(id: "x")
            #expect(unlabelled == 0, "\(count) arms")
            let page = markup.rendered
            for arm in Self.arms(count) {
                #expect(page.components(separatedBy: ">\(arm.role)<").count == 2, "\(arm.role)")
            }
            // Bars both ways for latency, which has a deviation; upright only for parameters, which have none.
            let bars = page.components(separatedBy: "<line ").filter { $0.contains("class=\"curve") }.count
            #expect(bars == count * (metric == .latency ? 2 : 1))
        }
        #expect(ScatterChart([ArmResult(role: "a", contract: [], seeds: [])], against: metric, "") == nil)
    }

    // MARK: Maps

    @Test("a map is scaled by its largest value; what is negative or not finite counts as nothing")
    func scaling() throws {
        #expect(HeatMap([0, 1, 2, 4], height: 2, width: 2).values == [0, 64, 128, 255])
        #expect(HeatMap([-3, .nan, 0.5, -.infinity], height: 2, width: 2).values == [0, 0, 255, 0])
        #expect(HeatMap([0, -1], height: 1, width: 2).values == [0, 0])
        // Mean over channels of squares: (1 + 9)/2, (4 + 0)/2.
        let attention = HeatMap(attentionOf: [1, -2, 3, 0], channels: 2, height: 1, width: 2)
        #expect(attention.values == [255, 102])
        let json = attention.json
        #expect(try HeatMap(JSONCursor(json, file: "x")) == attention)
        for bad in [
            ["height": 1, "width": 3, "values": "/2Y="], ["height": 1, "width": 2, "values": "!"],
            ["height": 0, "width": 2, "values": "/2Y="],
        ] as [JSON] {
            #expect(thrown(RetortError.self) { _ = try HeatMap(JSONCursor(bad, file: "x")) }?.exit == .badData)
        }
    }

    @Test("the PNG is one that libpng reads, veil and all", arguments: [(3, 5), (1, 1), (150, 140)])
    func png(_ height: Int, _ width: Int) throws {
        let map = HeatMap((0..<height * width).map { Float($0 % 251) }, height: height, width: width)
        let folder = try ScratchFolder()
        try folder.write([UInt8](map.png), to: "data/a/1.png")
        let opened = try ImageFolder(
            folder.path("data"), .init(height: height, width: width, sizing: .exact, test: .none))
        let pixels = try opened.load(opened.train).pixels
        for (k, value) in map.values.enumerated() {
            // On white.
            let opacity = Int(value) * 190 / 255
            for (c, colour) in [255, 96, 0].enumerated() {
                #expect(Int(pixels[c * height * width + k]) == (colour * opacity + 255 * (255 - opacity) + 127) / 255)
            }
        }
    }

    /// Of 3 channels and 16 × 16 pixels, in four classes.
    private func eightPictures(on device: Device) throws -> DeviceRows {
        let pictures = SamplePictures(channels: 3, height: 16, width: 16, classes: 4)
        let images = try ImageDataset(
            pixels: (0..<8).flatMap(pictures.pixels), labels: (0..<8).map { Int32(pictures.label($0)) }, channels: 3,
            height: 16, width: 16, classNames: (0..<4).map(String.init))
        return try DeviceRows(.images(images), on: device)
    }

    @Test("maps of models are those of their signals", arguments: TestBackend.fast)
    func models(_ backend: TestBackend) throws {
        let device = try backend.device()
        let data = try eightPictures(on: device)
        let task = ClassificationTask(sample: [3, 16, 16], classes: 4)
        func model(_ text: String) throws -> any Model {
            let model = try ModelSpec(RecipeReader.readValue(text, ModelSpec.schema)).make(for: task, who: "student")
            _ = try model.materialize(on: device, seed: 3)
            return model
        }
        // 16, 8 and 4 places a side: the deepest has just enough.
        let resnet = try model("{kind: resnet, depth: 8}")
        let rows = [5, 0]
        let maps = try ModelMaps(resnet, data, rows: rows, labels: [1, 3], on: device)
        let (x, _) = try data.batch(rows.map(Int32.init), on: device)
        let output = try resnet.forward(x, capturing: ["cam", resnet.signals.stages.last!])
        let stage = output.signals[resnet.signals.stages.last!]!
        let (values, shape) = (try stage.values(), stage.shape)
        #expect(shape.dropFirst(2) == [4, 4])
        let cam = try output.signals["cam"]!.values()
        for (number, label) in [1, 3].enumerated() {
            let weights = (0..<16).map { place in
                (0..<shape[1]).reduce(0.0) { sum, c in
                    let v = Double(values[(number * shape[1] + c) * 16 + place])
                    return sum + v * v
                }
            }
            let largest = weights.max()!
            let attention = try #require(maps.attention[number])
            for (got, weight) in zip(attention.values, weights) {
                #expect(abs(Double(got) - 255 * weight / largest) <= 0.51)
            }
            let own = cam[((number * 4 + label) * 16)..<((number * 4 + label + 1) * 16)].map { max(0, Double($0)) }
            let activation = try #require(maps.activation[number])
            let top = own.max()!
            for (got, weight) in zip(activation.values, own) {
                #expect(abs(Double(got) - (top > 0 ? 255 * weight / top : 0)) <= 0.51)
            }
        }
        // 16 × 16 and 8 × 8 before pooling: the deeper one. No activation map, because it has a hidden layer.
        let cnn = try ModelMaps(
            try model("{kind: cnn, channels: [4, 4], hidden: 5}"), data, rows: rows, labels: [1, 3], on: device)
        #expect(cnn.attention.map { $0?.width } == [8, 8] && cnn.activation == [nil, nil])
        let mlp = try ModelMaps(
            try model("{kind: mlp, layers: [768, 4]}"), data, rows: rows, labels: [1, 3], on: device)
        #expect(mlp.attention == [nil, nil] && mlp.activation == [nil, nil])
        #expect([maps, cnn, mlp].allSatisfy { $0.tokenAttention == [nil, nil] })
    }

    @Test("a transformer's map is its last class token's attention to the patches", arguments: TestBackend.fast)
    func transformer(_ backend: TestBackend) throws {
        let device = try backend.device()
        let data = try eightPictures(on: device)
        let spec = try ModelSpec(
            RecipeReader.readValue(
                "{kind: vit, hidden: 12, layers: 3, heads: 3, intermediate: 8, patch: 4}", ModelSpec.schema))
        let model = try spec.make(for: ClassificationTask(sample: [3, 16, 16], classes: 4), who: "student")
        _ = try model.materialize(on: device, seed: 3)
        // Weights as large as trained ones: fresh ones attend to all patches alike.
        for parameter in model.parameters { try parameter.assign(parameter.values().map { $0 * 20 }) }
        let rows = [5, 0]
        let maps = try ModelMaps(model, data, rows: rows, labels: [1, 3], on: device)
        #expect(maps.attention == [nil, nil] && maps.activation == [nil, nil])
        let (x, _) = try data.batch(rows.map(Int32.init), on: device)
        let signal = try #require(try model.forward(x, capturing: ["layers.2.attention"]).signals["layers.2.attention"])
        #expect(signal.shape == [2, 3, 17, 17])
        let values = try signal.values()
        for number in rows.indices {
            let map = try #require(maps.tokenAttention[number])
            #expect(map.height == 4 && map.width == 4)
            let weights = (0..<16).map { place in
                (0..<3).reduce(0.0) { $0 + Double(values[((number * 3 + $1) * 17 + 0) * 17 + 1 + place]) / 3 }
            }
            let largest = try #require(weights.max())
            #expect(try largest > 1.05 * #require(weights.min()), "all alike tells nothing")
            for (got, weight) in zip(map.values, weights) {
                #expect(abs(Double(got) - 255 * weight / largest) <= 0.51)
            }
        }
    }

    @Test("without a class token the map is the mean over all queries; tokens that make no square have none")
    func tokenAttention() {
        // Two heads, four patches: every query of head 0 looks at patch 1, of head 1 at itself.
        var probabilities = [Float](repeating: 0, count: 2 * 4 * 4)
        for query in 0..<4 {
            probabilities[query * 4 + 1] = 1
            probabilities[16 + query * 4 + query] = 1
        }
        // (0 + 1)/8, (4 + 1)/8, … of which 5/8 is the largest.
        #expect(
            ModelMaps.tokenAttention(probabilities[...], [1, 2, 4, 4])
                == HeatMap([1, 5, 1, 1], height: 2, width: 2))
        #expect(ModelMaps.tokenAttention([Float](repeating: 1, count: 36)[...], [1, 1, 6, 6]) == nil)
        #expect(ModelMaps.tokenAttention([1, 1, 1, 1], [1, 1, 2, 2]) == nil)
        // The second of two pictures: a class token that looks at the last patch.
        var five = [Float](repeating: 0, count: 2 * 25)
        five[25] = 0.9
        five[29] = 0.1
        #expect(
            ModelMaps.tokenAttention(five[25...], [2, 1, 5, 5])
                == HeatMap([0, 0, 0, 1], height: 2, width: 2))
    }

    @Test("the page has a row for each arm that looks, each picture once, and goes without where there is nothing")
    func page() {
        let page = htmlReport(Samples.pictures, facts: [])
        #expect(page.contains("Where the models look"))
        #expect(page.components(separatedBy: "background-image").count == 3)
        // Attention: teacher on both, student on one; its class token: student on both; activation: teacher on both.
        #expect(page.components(separatedBy: "data:image/png;base64,").count == 1 + 3 + 2 + 2)
        #expect(page.components(separatedBy: "Attention of the class token").count == 2)
        #expect(!htmlReport(Samples.plain, facts: []).contains("Where the models look"))
        // Whose answers the pictures were chosen by is said where it could be several arms'.
        #expect(page.contains("divergence of the distilled student") && !page.contains("the answer of the arm"))
        var several = Samples.pictures
        several.arms.append(ArmResult(role: "dkd", contract: [], seeds: []))
        #expect(htmlReport(several, facts: []).contains("divergence of the answer of the arm student from the teacher"))
        var without = Samples.pictures
        without.gallery = Gallery(channels: 3, height: 5, width: 7, pictures: [])
        #expect(!htmlReport(without, facts: []).contains("Where the models look"))
    }
}
