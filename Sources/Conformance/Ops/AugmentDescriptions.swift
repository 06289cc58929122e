import RetortKernels
import RetortRuntime

private struct GatherImagesSample {
    let images: Int
    let channels: Int
    let height: Int
    let width: Int
    let count: Int
    var augmentation = ImageAugmentation.none
    var epoch: UInt32 = 0
    /// Pictures are numbered otherwise than in the table.
    var renumbered = false
    var seed: UInt64 = 0x1234_5678_9ABC_DEF0
    var outside = false
    var size = SampleSize.tiny

    var text: String {
        "\(count) of \(images)x\(channels)x\(height)x\(width)"
            + (augmentation.padding > 0 ? " padding=\(augmentation.padding)" : "")
            + (augmentation.flipProbability > 0 ? " flip=\(augmentation.flipProbability)" : "")
            + (epoch > 0 ? " epoch=\(epoch)" : "") + (renumbered ? " renumbered" : "")
            + (seed == .max ? " seed=max" : "") + (outside ? " outside" : "")
    }

    /// The picture of `id` as the definition says it: zeros around it, a crop, a flip, then each byte's value.
    private func picture(_ table: [UInt32], _ values: [Float], _ id: Int, _ sample: Int32, _ stream: UInt64) -> [Float]
    {
        let words = Philox(seed: seed, stream: stream).block(UInt64(epoch) << 32 | UInt64(sample))
        let p = augmentation.padding
        func offset(_ word: UInt32) -> Int { Int((UInt64(word) * UInt64(2 * p + 1)) >> 32) }
        let (down, right) = (offset(words.0), offset(words.1))
        let flips = Double(words.2) < (augmentation.flipProbability * 0x1p32).rounded()
        var result: [Float] = []
        for c in 0..<channels {
            var padded = [[Int]](repeating: [Int](repeating: 0, count: width + 2 * p), count: height + 2 * p)
            for i in 0..<height {
                for j in 0..<width {
                    padded[i + p][j + p] = Int(table[((id * channels + c) * height + i) * width + j])
                }
            }
            for line in padded[down..<(down + height)] {
                let crop = Array(line[right..<(right + width)])
                result += (flips ? crop.reversed() : crop).map { values[c * 256 + $0] }
            }
        }
        return result
    }

    var sample: OpSample {
        OpSample(text, size) { [self] random in
            let stream = Philox.stream("augment/test")
            let plane = channels * height * width
            let table = random.integers(images * plane, 0...255).map(UInt32.init)
            var chosen = random.integers(count, 0...(images - 1)).map(Int32.init)
            if outside {
                for (i, id) in [Int32(-1), Int32(images), .max, .min].enumerated() where i < count { chosen[i] = id }
            }
            let ids = chosen
            let samples = renumbered ? random.integers(count, 0...Int(Int32.max)).map(Int32.init) : ids
            let (mean, deviation) = (random.uniform(channels, 0.2, 0.6), random.uniform(channels, 0.2, 0.4))
            let values = zip(mean, deviation).flatMap { mean, deviation in
                (0...255).map { (Float($0) / 255 - mean) / deviation }
            }
            let op = GatherImages(
                augmentation, seed: seed, stream: stream, epoch: epoch)
            var c = OpCase()
            c.input("table", bits: table, .u8, [images, channels, height, width])
            c.input("ids", ints: ids, [count])
            if renumbered { c.input("samples", ints: samples, [count]) }
            c.input("values", values, [channels, 256])
            c.output("y", [count, channels, height, width])
            c.run(op) {
                .init(
                    table: $0["table"], ids: $0["ids"], samples: $0.optional("samples"), values: $0["values"],
                    y: $0["y"])
            }
            c.reference = {
                var y: [Float] = []
                for (id, sample) in zip(ids, samples) {
                    let isKnown = id >= 0 && Int(id) < images
                    y +=
                        isKnown
                        ? picture(table, values, Int(id), sample, stream) : [Float](repeating: .nan, count: plane)
                }
                return ["y": .exact(y)]
            }
            return c
        }
    }

    static let cifar = ImageAugmentation(padding: 4, flipProbability: 0.5)
    static let all: [GatherImagesSample] = [
        GatherImagesSample(images: 1, channels: 1, height: 1, width: 1, count: 1),
        GatherImagesSample(images: 7, channels: 1, height: 5, width: 3, count: 5),
        GatherImagesSample(images: 3, channels: 3, height: 7, width: 17, count: 0),
        GatherImagesSample(images: 5, channels: 3, height: 6, width: 19, count: 9, augmentation: cifar),
        GatherImagesSample(
            images: 5, channels: 3, height: 6, width: 19, count: 9, augmentation: cifar, epoch: 1),
        GatherImagesSample(
            images: 5, channels: 3, height: 6, width: 19, count: 9, augmentation: cifar, epoch: .max,
            renumbered: true),
        GatherImagesSample(
            images: 5, channels: 2, height: 7, width: 33, count: 11,
            augmentation: ImageAugmentation(flipProbability: 0.5), seed: .max),
        GatherImagesSample(
            images: 4, channels: 1, height: 3, width: 16, count: 7, augmentation: ImageAugmentation(flipProbability: 1)),
        GatherImagesSample(
            images: 6, channels: 1, height: 3, width: 5, count: 23,
            augmentation: ImageAugmentation(padding: 9, flipProbability: 0.5)),
        GatherImagesSample(
            images: 5, channels: 3, height: 4, width: 7, count: 6, augmentation: cifar, outside: true),
        GatherImagesSample(
            images: 41, channels: 1, height: 28, width: 28, count: 67,
            augmentation: ImageAugmentation(padding: 2), size: .small),
        GatherImagesSample(
            images: 53, channels: 3, height: 32, width: 32, count: 131, augmentation: cifar, epoch: 7, size: .small),
        GatherImagesSample(
            images: 2000, channels: 3, height: 32, width: 32, count: 128, augmentation: cifar, size: .perf),
    ]
}

private struct MixImagesSample {
    let shape: [Int]
    let weight: Float
    var box: ImageBox?
    var pool: Int?
    var outside = false
    var size = SampleSize.tiny

    var text: String {
        shape.shapeText + " weight=\(weight)" + (box.map { " lines=\($0.lines) columns=\($0.columns)" } ?? "")
            + (pool.map { " pool=\($0)" } ?? "") + (outside ? " outside" : "")
    }

    var sample: OpSample {
        OpSample(text, size) { [self] random in
            let (rows, channels, height, width) = (shape[0], shape[1], shape[2], shape[3])
            let plane = channels * height * width
            let poolRows = pool ?? max(1, rows)
            let x = random.normal(rows * plane)
            let other = random.normal(poolRows * plane)
            var chosen = random.integers(rows, 0...(poolRows - 1)).map(Int32.init)
            if outside { for (i, id) in [Int32(-1), Int32(poolRows)].enumerated() where i < rows { chosen[i] = id } }
            let partners = chosen
            var c = OpCase()
            c.input("x", x, shape)
            c.input("pool", other, [poolRows, channels, height, width])
            c.input("partners", ints: partners, [rows])
            c.output("y", shape)
            c.run(MixImages(weight: weight, box: box)) {
                .init(x: $0["x"], pool: $0["pool"], partners: $0["partners"], y: $0["y"])
            }
            c.reference = {
                let y: [Estimate] = x.indices.map { k in
                    let (line, column) = (k / width % height, k % width)
                    let own = Double(x[k])
                    if let box, !box.lines.contains(line) || !box.columns.contains(column) { return Estimate(own) }
                    let partner = Int(partners[k / plane])
                    guard partner >= 0, partner < poolRows else { return Estimate(.nan) }
                    let theirs = Double(other[partner * plane + k % plane])
                    let rest = Double(1 - weight)
                    // Two products and a sum, each rounded; a weight of 0 is a copy.
                    let error = weight == 0 ? 0 : eps * (abs(Double(weight) * own) + abs(rest * theirs))
                    return Estimate(Double(weight) * own + rest * theirs, error)
                }
                return ["y": .near(y)]
            }
            return c
        }
    }

    static let all: [MixImagesSample] = [
        MixImagesSample(shape: [1, 1, 1, 1], weight: 0.25), MixImagesSample(shape: [7, 3, 5, 3], weight: 0.7),
        MixImagesSample(shape: [0, 3, 5, 3], weight: 0.7), MixImagesSample(shape: [5, 2, 7, 19], weight: 1),
        MixImagesSample(shape: [5, 2, 7, 19], weight: 0.1, pool: 3),
        MixImagesSample(shape: [5, 2, 7, 19], weight: 0.3, outside: true),
        MixImagesSample(shape: [5, 3, 7, 37], weight: 0, box: ImageBox(lines: 2..<6, columns: 3..<30)),
        MixImagesSample(shape: [5, 3, 7, 37], weight: 0, box: ImageBox(lines: 0..<7, columns: 36..<37), outside: true),
        MixImagesSample(shape: [5, 3, 7, 37], weight: 0, box: ImageBox(lines: 4..<4, columns: 0..<37)),
        MixImagesSample(shape: [3, 1, 5, 23], weight: 0.5, box: ImageBox(lines: 1..<5, columns: 0..<18)),
        MixImagesSample(shape: [67, 3, 32, 32], weight: 0.37, size: .small),
        MixImagesSample(
            shape: [67, 3, 32, 32], weight: 0, box: ImageBox(lines: 5..<27, columns: 9..<32), size: .small),
        MixImagesSample(shape: [128, 3, 32, 32], weight: 0.37, size: .perf),
    ]
}

private func mixTargetsSample(
    _ rows: Int, _ classes: Int, _ weight: Float, outside: Bool = false, padding: Int = 0, size: SampleSize = .tiny
) -> OpSample {
    let text = "\(rows)x\(classes) weight=\(weight)" + (outside ? " outside" : "") + (padding > 0 ? " pitched" : "")
    return OpSample(text, size) { random in
        let range = outside ? -2...(classes + 1) : 0...(classes - 1)
        let labels = random.integers(rows, range).map(Int32.init)
        let others = random.integers(rows, range).map(Int32.init)
        var c = OpCase()
        c.input("labels", ints: labels, [rows])
        c.input("others", ints: others, [rows])
        c.output("y", [rows, classes], .padded(padding))
        c.run(MixTargets(weight: weight)) { .init(labels: $0["labels"], others: $0["others"], y: $0["y"]) }
        c.reference = {
            [
                "y": .exact(
                    (0..<(rows * classes)).map { k -> Float in
                        let (row, label) = (k / classes, Int32(k % classes))
                        return (labels[row] == label ? weight : 0) + (others[row] == label ? 1 - weight : 0)
                    })
            ]
        }
        return c
    }
}

extension OpDescription {
    static let augmentations: [OpDescription] = [
        OpDescription("gather_images", "GatherImages", GatherImagesSample.all.map(\.sample)),
        OpDescription("mix_images", "MixImages", MixImagesSample.all.map(\.sample)),
        OpDescription(
            "mix_targets", "MixTargets",
            [
                mixTargetsSample(1, 1, 0.3), mixTargetsSample(7, 10, 0.25), mixTargetsSample(0, 10, 0.5),
                mixTargetsSample(23, 3, 0.1), mixTargetsSample(5, 37, 1), mixTargetsSample(5, 37, 0),
                mixTargetsSample(31, 5, 0.6, outside: true), mixTargetsSample(9, 17, 0.9, padding: 3),
                mixTargetsSample(131, 1271, 0.37, size: .small), mixTargetsSample(128, 1000, 0.37, size: .perf),
            ]),
    ]
}
