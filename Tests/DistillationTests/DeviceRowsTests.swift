import RetortData
import RetortKernels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortDistillation

/// Batches of pictures as training and evaluation get them.
@Suite("Batches of pictures")
struct DeviceRowsTests {
    private static let pixels: [UInt8] = (0..<11 * 216).map { UInt8(truncatingIfNeeded: $0 * 89) }
    private static let normalization = ImageNormalization(mean: [0.5, 0.4, 0.3], deviation: [0.25, 0.5, 0])

    private func rows(_ augmentation: ImageAugmentation = .none, on device: Device) throws -> DeviceRows {
        let images = try ImageDataset(
            pixels: Self.pixels, labels: (0..<11).map { Int32($0 % 4) }, channels: 3, height: 8, width: 9,
            classNames: ["a", "b", "c", "d"])
        return try DeviceRows(
            .images(images), normalization: Self.normalization, augmentation: augmentation, on: device)
    }

    private func batch(_ rows: DeviceRows, _ ids: [Int32], epoch: Int, on device: Device) throws -> TrainingBatch {
        try rows.batch(
            try device.compute.view(ids, [ids.count], .i32), at: .init(seed: 9, epoch: epoch, step: 3), classes: 4,
            on: device)
    }

    @Test(
        "as they are: (byte / 255 − mean) / deviation; a channel that never varies is only shifted",
        arguments: TestBackend.available)
    func plain(_ backend: TestBackend) throws {
        let device = try backend.device()
        let got = try rows(on: device).batch([4, 10, 0], on: device)
        var expected: [Float] = []
        for id in [4, 10, 0] {
            for k in 0..<216 {
                let (mean, deviation) = ([0.5, 0.4, 0.3][k / 72], [0.25, 0.5, 1][k / 72])
                expected.append(Float((Double(Self.pixels[id * 216 + k]) / 255 - mean) / deviation))
            }
        }
        #expect(try got.x.values() == expected)
        #expect(try device.compute.read(got.labels, as: Int32.self) == [0, 2, 0])
    }

    @Test("augmented batches are the same however they are cut, on every device", arguments: TestBackend.available)
    func cuts(_ backend: TestBackend) throws {
        let device = try backend.device()
        let augmentation = ImageAugmentation(padding: 2, flipProbability: 0.5)
        let rows = try rows(augmentation, on: device)
        let ids = (0..<11).map { Int32($0 * 7 % 11) }
        let whole = try batch(rows, ids, epoch: 2, on: device).x.values()
        let parts =
            try batch(rows, Array(ids[..<4]), epoch: 2, on: device).x.values()
            + batch(rows, Array(ids[4...]), epoch: 2, on: device).x.values()
        #expect(whole == parts)
        #expect(try batch(rows, ids, epoch: 3, on: device).x.values() != whole)
        #expect(try self.rows(on: device).batch(ids, on: device).x.values() != whole)
        let single = Device(.cpu(try CPUDevice(threads: 1)))
        #expect(try batch(try self.rows(augmentation, on: single), ids, epoch: 2, on: single).x.values() == whole)
    }

    @Test("a row that is not there is an error", arguments: TestBackend.available)
    func noSuchRow(_ backend: TestBackend) throws {
        let device = try backend.device()
        for id in [Int32(-1), 11] {
            #expect(throws: KernelError.self) { try rows(on: device).batch([0, id], on: device) }
        }
    }

    @Test(
        "pictures and targets agree: a picture of one number is mixed as its class is", arguments: TestBackend.available
    )
    func mixing(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (count, classes) = (13, 5)
        let labels = (0..<count).map { Int32($0 * 3 % classes) }
        // Every pixel of channel c is 1 where c is the class: the mean over pixels is the mixed target.
        let pixels = labels.flatMap { label in
            (0..<classes).flatMap { [UInt8](repeating: $0 == Int(label) ? 255 : 0, count: 6 * 7) }
        }
        let images = try ImageDataset(
            pixels: pixels, labels: labels, channels: classes, height: 6, width: 7,
            classNames: (0..<classes).map(String.init))
        let ids = try device.compute.view((0..<count).map(Int32.init), [count], .i32)
        for mixing in [BatchMixing.mixup(alpha: 0.4), .cutMix(alpha: 1)] {
            let rows = try DeviceRows(.images(images), mixing: mixing, on: device)
            var seen: Set<[Float]> = []
            for step in 0..<4 {
                let batch = try rows.batch(
                    ids, at: .init(seed: 1, epoch: 0, step: step), classes: classes, on: device)
                let mixed = try batch.x.values()
                let targets: [Float] = try device.compute.read(try #require(batch.targets))
                for (k, target) in targets.enumerated() {
                    let mean = mixed[(k * 42)..<((k + 1) * 42)].reduce(0, +) / 42
                    #expect(abs(mean - target) < 1e-5)
                }
                for row in 0..<count {
                    #expect(abs(targets[(row * classes)..<((row + 1) * classes)].reduce(0, +) - 1) < 1e-6)
                }
                #expect(targets.contains { $0 > 0 && $0 < 1 })
                seen.insert(targets)
            }
            #expect(seen.count == 4, "each step mixes anew")
        }
    }
}
