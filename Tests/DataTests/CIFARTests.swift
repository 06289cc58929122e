import RetortSupport
import TestSupport
import Testing

@testable import RetortData

/// `count` records: label bytes, then 3072 pixels that say where they are.
private func records(_ labels: [[UInt8]], seed: Int) -> [UInt8] {
    labels.enumerated().flatMap { index, labels in
        labels + (0..<3072).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ((index &+ seed) &* 131)) }
    }
}

private let names10 = "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n"

private func cifar10(_ change: (ScratchFolder) throws -> Void = { _ in }) throws -> ScratchFolder {
    let folder = try ScratchFolder()
    for batch in 1...5 {
        try folder.write(
            records((0..<batch).map { [UInt8((batch * 3 + $0) % 10)] }, seed: batch), to: "data_batch_\(batch).bin")
    }
    try folder.write(records((0..<300).map { [UInt8($0 % 10)] }, seed: 9), to: "test_batch.bin")
    try folder.write(Array(names10.utf8), to: "batches.meta.txt")
    try change(folder)
    return folder
}

private func cifar100(_ change: (ScratchFolder) throws -> Void = { _ in }) throws -> ScratchFolder {
    let folder = try ScratchFolder()
    try folder.write(records([[19, 99], [0, 5], [7, 50]], seed: 1), to: "train.bin")
    try folder.write(records([[3, 8]], seed: 2), to: "test.bin")
    try folder.write(Array((0..<100).map { "fine \($0)\n" }.joined().utf8), to: "fine_label_names.txt")
    try change(folder)
    return folder
}

@Suite("CIFAR files")
struct CIFARTests {
    @Test("CIFAR-10: five batches in order, more records than are read at a time")
    func ten() throws {
        let folder = try cifar10()
        let split = try ImageSplit.cifar10(folder: folder.path)
        #expect(split.train.count == 15 && split.test.count == 300)
        #expect((split.train.channels, split.train.height, split.train.width) == (3, 32, 32))
        #expect(split.train.labels == [3, 6, 7, 9, 0, 1, 2, 3, 4, 5, 5, 6, 7, 8, 9])
        #expect(split.train.classNames.first == "airplane" && split.train.classNames.last == "truck")
        // Batch 4 begins with image 6; the test's image 299 is in its second block.
        #expect(Array(split.train.image(6)) == Array(records([[0]], seed: 4).dropFirst()))
        #expect(Array(split.test.image(299)) == Array(records([[0]], seed: 308).dropFirst()))
        #expect(split.test.labels[299] == 9)
    }

    @Test("CIFAR-100: fine and coarse labels, names or numbers")
    func hundred() throws {
        let folder = try cifar100()
        let fine = try ImageSplit.cifar100(folder: folder.path)
        #expect(fine.train.labels == [99, 5, 50] && fine.test.labels == [8])
        #expect(fine.train.classNames.count == 100 && fine.train.classNames[99] == "fine 99")
        #expect(Array(fine.train.image(1)) == Array(records([[]], seed: 2)))
        let coarse = try ImageSplit.cifar100(folder: folder.path, labels: .coarse)
        #expect(coarse.train.labels == [19, 0, 7])
        #expect(coarse.train.classNames == (0..<20).map { "\($0)" })
    }

    @Test("malformed files")
    func malformed() throws {
        let good = records([[1], [2]], seed: 0)
        let cases: [(String, [UInt8], String)] = [
            ("data_batch_3.bin", [], "0 bytes are not a whole number of records of 3073"),
            ("data_batch_3.bin", Array(good.dropLast()), "6145 bytes are not a whole number"),
            ("data_batch_3.bin", records([[1, 2], [3, 4]], seed: 0), "This may be a file of CIFAR-100."),
            ("test_batch.bin", records([[1], [10]], seed: 0), "record 1, at byte 3073, has label 10"),
            ("batches.meta.txt", Array("a\nb\n".utf8), "it has 2 lines"),
            ("batches.meta.txt", [0x61, 0xFF], "not valid UTF-8 at byte 1"),
        ]
        for (name, content, says) in cases {
            let folder = try cifar10 { try $0.write(content, to: name) }
            let failure = error { _ = try ImageSplit.cifar10(folder: folder.path) }
            #expect(failure?.exit == .badData, "\(name)")
            #expect(failure?.description.contains(name) == true, "\(failure?.description ?? "")")
            #expect(failure?.description.contains(says) == true, "\(failure?.description ?? "")")
        }
        let fine = try cifar100 { try $0.write(records([[3, 100]], seed: 0), to: "test.bin") }
        #expect(
            error { _ = try ImageSplit.cifar100(folder: fine.path) }?.why.contains(
                "record 0, at byte 0, has label 100") == true)
    }

    @Test("missing files and limits")
    func missing() throws {
        #expect(error { _ = try ImageSplit.cifar10(folder: "/nonexistent") }?.exit == .missingInput)
        let folder = try ScratchFolder()
        let failure = error { _ = try ImageSplit.cifar10(folder: folder.path) }
        #expect(failure?.exit == .missingInput)
        #expect(failure?.description.contains("data_batch_1.bin") == true)
        let limits = ImageDataset.Limits(pixelBytes: 14 * 3072)
        let good = try cifar10()
        let limited = error { _ = try ImageSplit.cifar10(folder: good.path, limits: limits) }
        #expect(limited?.what == "15 CIFAR images are too many")
    }
}
