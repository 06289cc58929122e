import RetortData
import RetortKernels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

@Suite("Federated shards")
struct FederatedShardTests {
    /// 1000 rows of 10 classes of 100, mixed.
    private static let labels = (0..<1000).map { Int32($0 * 7 % 10) }

    private func shards(
        clients: Int = 8, alpha: Double, publicRows: Int = 0, seed: UInt64 = 0, labels: [Int32] = labels
    ) -> FederatedShards {
        FederatedShards(
            labels: labels, classes: 10, clients: clients, alpha: alpha, publicRows: publicRows, seed: seed)
    }

    /// How many rows of each class a client has.
    private func histogram(_ rows: [Int32]) -> [Int] {
        var counts = [Int](repeating: 0, count: 10)
        for row in rows { counts[Int(Self.labels[Int(row)])] += 1 }
        return counts
    }

    @Test(
        "every row is in exactly one place, nobody has none", arguments: [0.001, 0.1, 0.5, 10, 1e9],
        [(1, 0), (8, 200), (100, 1), (500, 500)])
    func partition(_ alpha: Double, _ size: (clients: Int, publicRows: Int)) {
        for seed in 0..<3 {
            let shards = shards(
                clients: size.clients, alpha: alpha, publicRows: size.publicRows, seed: UInt64(seed))
            #expect(shards.publicRows.count == size.publicRows && shards.clients.count == size.clients)
            #expect(shards.clients.allSatisfy { !$0.isEmpty && $0 == $0.sorted() })
            #expect((shards.publicRows + shards.clients.joined()).sorted() == (0..<1000).map(Int32.init))
        }
    }

    @Test("the same seed gives the same shards, another gives others")
    func seeds() {
        let (a, b, c) = (
            shards(alpha: 0.5, publicRows: 99), shards(alpha: 0.5, publicRows: 99), shards(alpha: 0.5, seed: 1)
        )
        #expect(a.clients == b.clients && a.publicRows == b.publicRows)
        #expect(a.clients != c.clients)
        // What is public does not depend on labels or clients.
        #expect(shards(clients: 3, alpha: 9, publicRows: 99).publicRows == a.publicRows)
    }

    @Test("a large alpha gives everybody the same mixture")
    func uniform() {
        // 100 rows of each class over 8 clients: 12 or 13 of each.
        for rows in shards(alpha: 1e9).clients { #expect(histogram(rows).allSatisfy { (12...13).contains($0) }) }
    }

    @Test("a small alpha gives most of a class to one client, a middling one does not")
    func skewed() {
        func largestShare(_ alpha: Double) -> Double {
            let counts = (0..<5).flatMap { seed -> [Double] in
                let histograms = shards(alpha: alpha, seed: UInt64(seed)).clients.map(histogram)
                return (0..<10).map { label in Double(histograms.map { $0[label] }.max() ?? 0) / 100 }
            }
            return counts.reduce(0, +) / Double(counts.count)
        }
        #expect(largestShare(0.01) > 0.9)
        #expect((0.3..<0.7).contains(largestShare(0.5)))
        #expect(largestShare(1e9) < 0.14)
    }

    @Test("selected rows are the rows, changed at random as in the whole", arguments: TestBackend.fast)
    func selection(_ backend: TestBackend) throws {
        let device = try backend.device()
        let random = Philox(seed: 4, stream: 0)
        let images = try ImageDataset(
            pixels: (0..<(20 * 3 * 6 * 5)).map { UInt8(random.word(UInt64($0)) & 255) },
            labels: (0..<20).map { Int32($0 % 4) }, channels: 3, height: 6, width: 5, classNames: ["a", "b", "c", "d"])
        let whole = try DeviceRows(
            .images(images), augmentation: ImageAugmentation(padding: 2, flipProbability: 0.5), on: device)
        let chosen: [Int32] = [17, 3, 4, 11, 0, 19]
        let part = try whole.selecting(chosen, on: device)
        #expect(part.rows == 6 && part.sample == [3, 6, 5])
        #expect(try device.compute.read(part.labels, as: Int32.self) == chosen.map { $0 % 4 })
        let moment = DeviceRows.Moment(seed: 3, epoch: 2, step: 1)
        func batch(_ rows: DeviceRows, _ ids: [Int32]) throws -> TrainingBatch {
            try rows.batch(device.compute.view(ids, [ids.count], .i32), at: moment, classes: 4, on: device)
        }
        let (own, same) = (try batch(part, [5, 0, 2]), try batch(whole, [19, 17, 4]))
        #expect(try own.x.values() == same.x.values())
        #expect(try device.compute.read(own.ids, as: Int32.self) == [5, 0, 2], "numbers are the selection's")
        #expect(try device.compute.read(own.labels, as: Int32.self) == [3, 1, 0])
        // Of a selection, in order, as they are.
        let again = try part.selecting([4, 1], augmented: false, on: device)
        let plain = try whole.batch([0, 3], on: device)
        #expect(try again.examples(0..<2, on: device).values() == plain.x.values())
        #expect(try batch(again, [0, 1]).x.values() == plain.x.values())
        #expect(try batch(whole, [0, 3]).x.values() != plain.x.values())
        #expect(throws: KernelError.self) { try part.selecting([6], on: device) }
    }
}
