import Foundation
import RetortKernels
import TestSupport
import Testing

@testable import RetortRuntime

@Suite("Random numbers for augmentation")
struct BatchMixingTests {
    /// The largest distance between the share of draws below x and the distribution's, times √n: above 1.95 in one of a thousand
    /// correct samples. The draws are fixed.
    private func distance(_ alpha: Double, _ beta: Double, cumulative: (Double) -> Double) -> Double {
        let philox = Philox(seed: 11, stream: Philox.stream("beta/test"))
        let draws = (0..<20_000).map { philox.beta(UInt64($0), alpha, beta) }.sorted()
        let n = Double(draws.count)
        let worst =
            draws.enumerated().map { index, x in
                max(abs(cumulative(x) - Double(index) / n), abs(cumulative(x) - Double(index + 1) / n))
            }.max() ?? 0
        return worst * n.squareRoot()
    }

    @Test("Beta follows its distribution where that is known in closed form")
    func betaDistribution() {
        #expect(distance(1, 1) { $0 } < 1.95)
        #expect(distance(0.5, 0.5) { 2 / Double.pi * asin($0.squareRoot()) } < 1.95)
        #expect(distance(2, 2) { $0 * $0 * (3 - 2 * $0) } < 1.95)
        #expect(distance(3, 1) { $0 * $0 * $0 } < 1.95)
        #expect(distance(0.2, 1) { pow($0, 0.2) } < 1.95)
        // The test itself can fail.
        #expect(distance(2, 2) { $0 } > 5)
    }

    @Test("Beta for tiny and large parameters: moments, no NaN")
    func betaMoments() {
        for alpha in [0.001, 0.2, 1.0, 40] {
            let philox = Philox(seed: 5, stream: 3)
            let draws = (0..<20_000).map { philox.beta(UInt64($0), alpha, alpha) }
            #expect(draws.allSatisfy { $0 >= 0 && $0 <= 1 })
            let mean = draws.reduce(0, +) / 20_000
            let variance = draws.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 20_000
            let expected = 1 / (4 * (2 * alpha + 1))
            // Four standard errors; that of the variance is at most the variance's own size over √n times √2.
            #expect(abs(mean - 0.5) < 4 * (expected / 20_000).squareRoot())
            #expect(abs(variance - expected) < 4 * expected * 0.01)
        }
    }

    @Test("a mixture is a function of seed and step")
    func mixtures() throws {
        let mix = try BatchMix(.cutMix(alpha: 1), rows: 31, height: 20, width: 12, seed: 3, step: 7)
        #expect(try mix == BatchMix(.cutMix(alpha: 1), rows: 31, height: 20, width: 12, seed: 3, step: 7))
        #expect(try mix != BatchMix(.cutMix(alpha: 1), rows: 31, height: 20, width: 12, seed: 3, step: 8))
        #expect(mix.partners.sorted() == Array(0..<31))
        for step in 0..<500 {
            let mix = try BatchMix(.cutMix(alpha: 0.5), rows: 2, height: 20, width: 12, seed: 3, step: step)
            let box = try #require(mix.box)
            #expect(box.lines.lowerBound >= 0 && box.lines.upperBound <= 20)
            #expect(box.columns.lowerBound >= 0 && box.columns.upperBound <= 12)
            #expect(mix.weight == Float(1 - Double(box.lines.count * box.columns.count) / 240))
        }
        #expect(throws: TensorError.self) {
            try BatchMix(.mixup(alpha: 0), rows: 2, height: 1, width: 1, seed: 0, step: 0)
        }
    }

    @Test(
        "pictures and targets agree: a picture of one number is mixed as its class is", arguments: TestBackend.available
    )
    func consistency(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (rows, classes) = (13, 5)
        let labels = (0..<rows).map { Int32($0 * 3 % classes) }
        // Every pixel of channel c is 1 where c is the class: the mean over pixels is the mixed target.
        let x = labels.flatMap { label in
            (0..<classes).flatMap { [Float](repeating: $0 == Int(label) ? 1 : 0, count: 6 * 7) }
        }
        let images = try Tensor(x, [rows, classes, 6, 7], on: device)
        for mixing in [BatchMixing.mixup(alpha: 0.4), .cutMix(alpha: 1)] {
            for step in 0..<4 {
                let mix = try BatchMix(mixing, rows: rows, height: 6, width: 7, seed: 1, step: step)
                let mixed = try mix.images(images).values()
                let targets = try mix.targets(labels, classes: classes, on: device).values()
                for (k, target) in targets.enumerated() {
                    let mean = mixed[(k * 42)..<((k + 1) * 42)].reduce(0, +) / 42
                    #expect(abs(mean - target) < 1e-5)
                }
                for row in 0..<rows {
                    #expect(targets[(row * classes)..<((row + 1) * classes)].reduce(0, +) == 1)
                }
                // A micro-batch has the same rows.
                let part = try mix.images(
                    Tensor(Array(x[(4 * classes * 42)..<(9 * classes * 42)]), [5, classes, 6, 7], on: device),
                    pool: images, partners: Array(mix.partners[4..<9]))
                #expect(try part.values() == Array(mixed[(4 * classes * 42)..<(9 * classes * 42)]))
                let partTargets = try mix.targets(labels, classes: classes, rows: 4..<9, on: device)
                #expect(try partTargets.values() == Array(targets[(4 * classes)..<(9 * classes)]))
            }
        }
    }
}

@Suite("Tables of pictures")
struct ImageTableTests {
    @Test("batches are the same however they are cut, on every device", arguments: TestBackend.available)
    func batches(_ backend: TestBackend) throws {
        let device = try backend.device()
        let count = 11 * 216
        let pixels: [UInt8] = (0..<count).map { UInt8(truncatingIfNeeded: $0 * 89) }
        let normalization = PixelNormalization(mean: [0.5, 0.4, 0.3], deviation: [0.25, 0.5, 0.2])
        let table = try ImageTable(pixels, [11, 3, 8, 9], normalization: normalization, on: device)
        let plain = try table.batch([4, 10, 0]).values()
        var expected: [Float] = []
        for id in [4, 10, 0] {
            for k in 0..<216 {
                let (mean, deviation) = (normalization.mean[k / 72], normalization.deviation[k / 72])
                expected.append((Float(pixels[id * 216 + k]) / 255 - mean) / deviation)
            }
        }
        #expect(plain == expected)
        let augmentation = ImageAugmentation(padding: 2, flipProbability: 0.5)
        let ids = (0..<11).map { Int32($0 * 7 % 11) }
        func batch(_ table: ImageTable, _ ids: [Int32], samples: [Int32]? = nil, epoch: Int = 2) throws -> [Float] {
            try table.batch(ids, samples: samples, augmentation: augmentation, seed: 9, epoch: epoch).values()
        }
        let whole = try batch(table, ids)
        let parts = try batch(table, Array(ids[..<4])) + batch(table, Array(ids[4...]))
        #expect(whole == parts)
        #expect(try batch(table, ids, epoch: 3) != whole)
        // A table of some pictures that says which they are.
        let part = try ImageTable(
            Array(pixels[(3 * 216)..<(8 * 216)]), [5, 3, 8, 9], normalization: normalization, on: device)
        #expect(try batch(part, [4, 0], samples: [7, 3]) == batch(table, [7, 3]))
        #expect(throws: TensorError.self) { try part.batch([4, 0], samples: [7]) }
        let other = try ImageTable(
            pixels, [11, 3, 8, 9], normalization: normalization, on: Device(.cpu(CPUDevice(threads: 1))))
        #expect(try batch(other, ids) == whole)
    }

    @Test("what does not fit is an error", arguments: TestBackend.available)
    func errors(_ backend: TestBackend) throws {
        let device = try backend.device()
        let one = PixelNormalization(mean: [0], deviation: [1])
        #expect(throws: TensorError.self) {
            try ImageTable([1, 2, 3], [1, 1, 2, 2], normalization: one, on: device)
        }
        #expect(throws: TensorError.self) {
            try ImageTable([1, 2, 3, 4], [1, 2, 1, 2], normalization: one, on: device)
        }
        #expect(throws: TensorError.self) {
            try ImageTable([1], [1, 1, 1, 1], normalization: .init(mean: [0], deviation: [0]), on: device)
        }
        let table = try ImageTable([1, 2, 3, 4], [1, 1, 2, 2], normalization: one, on: device)
        #expect(throws: TensorError.self) { try table.batch([1]) }
        #expect(throws: KernelError.self) { try table.batch([0], augmentation: ImageAugmentation(flipProbability: 2)) }
        #expect(throws: KernelError.self) { try table.batch([0], augmentation: ImageAugmentation(padding: -1)) }
    }
}
