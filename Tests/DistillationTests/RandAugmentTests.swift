import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// What RandAugment draws, and that batches have it, whoever makes them.
@Suite("RandAugment")
struct RandAugmentTests {
    private typealias Moment = DeviceRows.Moment

    /// The word of an operation, and its strength where it has one.
    private func parts(_ operation: PictureOperation) -> (word: String, value: Double) {
        switch operation {
        case .identity: ("identity", 0)
        case .autocontrast: ("autocontrast", 0)
        case .equalize: ("equalize", 0)
        case .rotate(let degrees): ("rotate", degrees)
        case .solarize(let threshold): ("solarize", threshold)
        case .color(let factor): ("color", factor)
        case .posterize(let bits): ("posterize", Double(bits))
        case .contrast(let factor): ("contrast", factor)
        case .brightness(let factor): ("brightness", factor)
        case .sharpness(let factor): ("sharpness", factor)
        case .shearX(let slope): ("shear-x", slope)
        case .shearY(let slope): ("shear-y", slope)
        case .translateX(let pixels): ("translate-x", pixels)
        case .translateY(let pixels): ("translate-y", pixels)
        case .cut(let lines, let columns): ("cut", Double(lines.count * 1000 + columns.count))
        }
    }

    /// The operations in the order in which words of random numbers name them, and the ends of FixMatch's ranges for pictures of 20 × 40.
    private static let table: [(word: String, range: ClosedRange<Double>)] = [
        ("identity", 0...0), ("autocontrast", 0...0), ("equalize", 0...0), ("rotate", -30...30), ("solarize", 0...256),
        ("color", 0.05...0.95), ("posterize", 4...7), ("contrast", 0.05...0.95), ("brightness", 0.05...0.95),
        ("sharpness", 0.05...0.95), ("shear-x", -0.3...0.3), ("shear-y", -0.3...0.3), ("translate-x", -12...12),
        ("translate-y", -6...6),
    ]

    @Test("all operations alike, over the whole of their ranges")
    func ranges() throws {
        let augment = RandAugment(operations: 3)
        var seen: [String: [Double]] = [:]
        for sample in 0..<5000 {
            let drawn = augment.drawn(sample, .strong, at: Moment(seed: 7, epoch: 3, step: 0), height: 20, width: 40)
            #expect(drawn.count == 3)
            for operation in drawn {
                let (word, value) = parts(operation)
                seen[word, default: []].append(value)
            }
        }
        #expect(Set(seen.keys) == Set(Self.table.map { $0.word }))
        for (word, range) in Self.table {
            let values = seen[word] ?? []
            // 15000 / 14 with a standard deviation of 32.
            #expect(abs(Double(values.count) - 15000.0 / 14) < 160, "\(word) \(values.count)")
            #expect(values.allSatisfy { range.contains($0) }, "\(word)")
            let width = range.upperBound - range.lowerBound
            #expect((values.max() ?? 0) > range.upperBound - 0.02 * width - 1e-9, "\(word)")
            #expect((values.min() ?? 1) < range.lowerBound + 0.02 * width + 1e-9, "\(word)")
        }
    }

    @Test("a function of seed, view, pass and number alone, by the words that the documents name")
    func words() {
        let augment = RandAugment(operations: 2)
        func drawn(
            _ sample: Int, _ view: ExampleView, _ seed: UInt64, _ epoch: Int, step: Int = 0
        ) -> [PictureOperation] {
            augment.drawn(sample, view, at: Moment(seed: seed, epoch: epoch, step: step), height: 20, width: 40)
        }
        let base = (0..<50).map { drawn($0, .weak, 5, 2) }
        #expect((0..<50).map { drawn($0, .weak, 5, 2, step: 9) } == base)
        #expect((0..<50).map { drawn($0, .strong, 5, 2) } != base)
        #expect((0..<50).map { drawn($0, .weak, 6, 2) } != base)
        #expect((0..<50).map { drawn($0, .weak, 5, 3) } != base)
        #expect(Set(base.map { "\($0)" }).count > 40, "each picture its own")
        for (view, stream) in [(ExampleView.weak, "rand-augment"), (ExampleView.strong, "rand-augment/strong")] {
            for sample in 0..<200 {
                for (place, operation) in drawn(sample, view, 11, 4).enumerated() {
                    let words = Philox(seed: 11, stream: Philox.stream(stream) &+ UInt64(place))
                        .block(4 << 32 + UInt64(sample))
                    let (word, range) = Self.table[Int(Double(words.0) / 0x1p32 * 14)]
                    let (got, value) = parts(operation)
                    #expect(got == word)
                    guard word != "posterize" else { continue }
                    let share = Double(words.1) / 0x1p32
                    let expected = range.lowerBound + (range.upperBound - range.lowerBound) * share
                    #expect(abs(value - expected) < 1e-9, "\(word) \(value) \(expected)")
                }
            }
        }
    }

    @Test("with a magnitude all are as strong, signs apart", arguments: [0.0, 9, 10.5, 30])
    func magnitudes(_ magnitude: Double) {
        let share = magnitude / 30
        let factors = [1 - 0.9 * share, 1 + 0.9 * share]
        func ends(_ most: Double) -> [Double] { [-most * share, most * share] }
        func shifts(_ side: Double) -> [Double] {
            let pixels = (150 * side / 331 * share + 1e-9).rounded(.down)
            return [-pixels, pixels]
        }
        let expected: [String: [Double]] = [
            "identity": [0], "autocontrast": [0], "equalize": [0], "rotate": ends(30),
            "solarize": [255 * (1 - share)], "color": factors, "posterize": [8 - (4 * share).rounded()],
            "contrast": factors, "brightness": factors, "sharpness": factors, "shear-x": ends(0.3),
            "shear-y": ends(0.3), "translate-x": shifts(40), "translate-y": shifts(20),
        ]
        let augment = RandAugment(operations: 1, magnitude: magnitude)
        var signs: [String: Set<Double>] = [:]
        for sample in 0..<2000 {
            let drawn = augment.drawn(sample, .weak, at: Moment(seed: 1, epoch: 0, step: 0), height: 20, width: 40)
            let (word, value) = parts(drawn[0])
            signs[word, default: []].insert(value)
            #expect(expected[word]?.contains { abs($0 - value) < 1e-9 } == true, "\(word) \(value)")
        }
        for (word, values) in expected where Set(values).count > 1 && magnitude > 0 {
            #expect(signs[word]?.count == 2, "\(word): both signs")
        }
    }

    @Test("the square: inside the picture, up to the share of the width, as often as not cut off by an edge")
    func cutout() throws {
        let augment = RandAugment(operations: 1, cutout: 0.5)
        var sides: [Int] = []
        for sample in 0..<3000 {
            let drawn = augment.drawn(sample, .strong, at: Moment(seed: 3, epoch: 1, step: 0), height: 20, width: 32)
            guard drawn.count == 2, case .cut(let lines, let columns) = drawn[1] else {
                Issue.record("no square")
                continue
            }
            let words = Philox(seed: 3, stream: Philox.stream("cutout/strong")).block(1 << 32 + UInt64(sample))
            let side = 0.5 * 32 * Double(words.0) / 0x1p32
            for (range, word, length) in [(columns, words.1, 32), (lines, words.2, 20)] {
                let first = Int(max(0, Double(word) / 0x1p32 * Double(length) - side / 2))
                // Both ends meant, the last one cut to a whole pixel; none beyond the picture.
                let last = min(length - 1, Int(min(Double(length), Double(first) + side)))
                #expect(range == first..<(last + 1))
            }
            sides.append(columns.count)
        }
        #expect(sides.max() == 16 || sides.max() == 17)
        #expect(sides.min() == 1)
        let none = RandAugment(operations: 1).drawn(
            0, .strong, at: Moment(seed: 3, epoch: 1, step: 0), height: 20, width: 32)
        #expect(none.count == 1)
    }

    // MARK: Batches

    private static let height = 8
    private static let width = 9
    private static let normalization = ImageNormalization(mean: [0.5, 0.4, 0.3], deviation: [0.25, 0.5, 0.2])
    private static let geometry = ImageAugmentation(padding: 2, flipProbability: 0.5)
    private static let strong = PictureAugmentation(
        ImageAugmentation(padding: 1, flipProbability: 0.5), randAugment: RandAugment(operations: 2, cutout: 0.5))

    private func images() throws -> ImageDataset {
        let pixels = (0..<(11 * 3 * Self.height * Self.width)).map { UInt8(truncatingIfNeeded: $0 &* $0 &* 89 &+ $0) }
        return try ImageDataset(
            pixels: pixels, labels: (0..<11).map { Int32($0 % 4) }, channels: 3, height: Self.height,
            width: Self.width, classNames: ["a", "b", "c", "d"])
    }

    private func rows(_ randAugment: RandAugment? = nil, on device: Device) throws -> DeviceRows {
        try DeviceRows(
            .images(images()), normalization: Self.normalization, augmentation: Self.geometry,
            randAugment: randAugment, strong: Self.strong, on: device)
    }

    /// A picture changed on the host and normalised there.
    private func expected(_ id: Int32, _ augmentation: PictureAugmentation, _ view: ExampleView, _ epoch: Int) throws
        -> [Float]
    {
        var picture = PictureBytes(
            Array(try images().image(Int(id))), channels: 3, height: Self.height, width: Self.width)
        augmentation.apply(to: &picture, Int(id), view, at: Moment(seed: 9, epoch: epoch, step: 0))
        let size = Self.height * Self.width
        return picture.pixels.enumerated().map { Self.normalization.table[$0.offset / size * 256 + Int($0.element)] }
    }

    private func batch(
        _ rows: DeviceRows, _ ids: [Int32], epoch: Int = 2, step: Int = 0, _ views: [ExampleView], on device: Device
    ) throws -> [[Float]] {
        let batch = try rows.batch(
            device.compute.view(ids, [ids.count], .i32), at: Moment(seed: 9, epoch: epoch, step: step), classes: 4,
            views: views, on: device)
        #expect(batch.views.map { $0.view } == views)
        return try batch.views.map { try $0.x.values() }
    }

    @Test(
        "views in one batch: the device's crop and flip is the host's; RandAugment comes behind them",
        arguments: TestBackend.available)
    func views(_ backend: TestBackend) throws {
        let device = try backend.device()
        let ids: [Int32] = [4, 10, 0, 7, 3, 3]
        let random = RandAugment(operations: 3, magnitude: 20)
        func values(_ augmentation: PictureAugmentation, _ view: ExampleView, _ epoch: Int = 2) throws -> [Float] {
            try ids.flatMap { try expected($0, augmentation, view, epoch) }
        }
        let both = try batch(rows(on: device), ids, [.weak, .strong], on: device)
        #expect(try both == [values(.init(Self.geometry), .weak), values(Self.strong, .strong)])
        #expect(try batch(rows(on: device), ids, [.strong], on: device) == [both[1]])
        #expect(try batch(rows(on: device), ids, epoch: 3, [.strong], on: device) == [values(Self.strong, .strong, 3)])
        let changed = try batch(rows(random, on: device), ids, [.weak, .strong], on: device)
        #expect(try changed == [values(.init(Self.geometry, randAugment: random), .weak), both[1]])
        #expect(changed[0] != both[0])
        // However a batch is cut.
        let parts = try [Array(ids[..<2]), Array(ids[2...])].map {
            try batch(rows(random, on: device), $0, [.weak, .strong], on: device)
        }
        #expect(parts[0][0] + parts[1][0] == changed[0] && parts[0][1] + parts[1][1] == changed[1])
        // What is measured is never changed.
        #expect(
            try rows(random, on: device).batch(ids, on: device).x.values()
                == ids.flatMap { try expected($0, .none, .weak, 0) })
    }

    @Test("a selection's pictures are changed by their numbers in the whole", arguments: TestBackend.fast)
    func selection(_ backend: TestBackend) throws {
        let device = try backend.device()
        let whole = try rows(RandAugment(), on: device)
        let part = try whole.selecting([9, 2, 5], on: device)
        let views = [ExampleView.weak, .strong]
        #expect(
            try batch(part, [2, 0], views, on: device) == batch(whole, [5, 9], views, on: device))
        let plain = try whole.selecting([9, 2, 5], augmented: false, on: device)
        #expect(try batch(plain, [2, 0], [.weak], on: device) == [whole.batch([5, 9], on: device).x.values()])
        let error = thrown(RetortError.self) { _ = try batch(plain, [1], [.strong], on: device) }
        #expect(error?.exit == .recipe && error?.what.contains("strong view") == true)
    }

    @Test("mixtures mix both views alike", arguments: TestBackend.fast)
    func mixing(_ backend: TestBackend) throws {
        let device = try backend.device()
        let ids: [Int32] = [1, 6, 8, 2]
        let mixed = try DeviceRows(
            .images(images()), normalization: Self.normalization, strong: Self.strong, mixing: .mixup(alpha: 1),
            on: device)
        let views = try batch(mixed, ids, step: 3, [.weak, .strong], on: device)
        let mix = try BatchMix(
            .mixup(alpha: 1), rows: 4, height: Self.height, width: Self.width, seed: 9, step: 3)
        for (values, (augmentation, view)) in zip(
            views, [(PictureAugmentation.none, ExampleView.weak), (Self.strong, ExampleView.strong)])
        {
            let own = try ids.map { try expected($0, augmentation, view, 2).map(Double.init) }
            let weight = Double(mix.weight)
            let reference = own.indices.flatMap { row in
                zip(own[row], own[Int(mix.partners[row])]).map { weight * $0 + (1 - weight) * $1 }
            }
            expectClose(values, reference, absolute: 1e-5, relative: 1e-5, view.rawValue)
        }
    }

    @Test("a pass makes ahead what a batch makes at once", arguments: TestBackend.fast)
    func ahead(_ backend: TestBackend) throws {
        let device = try backend.device()
        let rows = try rows(RandAugment(), on: device)
        let order: [Int32] = [10, 3, 4, 0, 9, 1, 2, 8, 5, 7, 6]
        let pass = try TrainingPass(
            rows, order: order, batch: 4, classes: 4, views: [.weak, .strong], seed: 9, epoch: 2, on: device)
        for start in stride(from: 0, to: 11, by: 4) {
            let got = try pass.next(step: start).views.map { try $0.x.values() }
            let ids = Array(order[start..<min(11, start + 4)])
            #expect(try got == batch(rows, ids, [.weak, .strong], on: device))
        }
    }
}
