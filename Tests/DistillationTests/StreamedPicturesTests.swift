import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Pictures that are decoded while they are trained on: the same training, bit for bit, as with all of them on the device.
@Suite("Pictures decoded ahead")
struct StreamedPicturesTests {
    private static let pictures = SamplePictures(channels: 3, height: 10, width: 8)

    private struct Sets {
        let folder: ScratchFolder
        let opened: ImageFolder
        let held: ExampleSet
        let streamed: ExampleSet

        init(train: Int = 37, test: Int = 9) throws {
            folder = try ScratchFolder()
            try StreamedPicturesTests.pictures.writeFolder(folder, "data", train: train, test: test)
            opened = try ImageFolder(folder.path("data"), .init(height: 10, width: 8))
            held = try ExampleSet(ImageFiles(opened.train, of: opened), memory: .max)
            streamed = try ExampleSet(ImageFiles(opened.train, of: opened), memory: 0)
        }
    }

    @Test("what fits is held, what does not stays on disk")
    func choice() throws {
        let sets = try Sets()
        guard case .images(let images) = sets.held, case .files = sets.streamed else {
            Issue.record("held and streamed are the wrong way round")
            return
        }
        #expect(images.count == 37 && sets.streamed.count == 37 && sets.streamed.sample == [3, 10, 8])
        let exact = try ExampleSet(ImageFiles(sets.opened.train, of: sets.opened), memory: 37 * 240)
        let short = try ExampleSet(ImageFiles(sets.opened.train, of: sets.opened), memory: 37 * 240 - 1)
        if case .files = exact { Issue.record("37 pictures of 240 bytes fit in as many") }
        if case .images = short { Issue.record("a byte too few") }
        // Of one budget the test is served first.
        func kinds(_ memory: Int, rows: Int? = nil) throws -> [Bool] {
            var options = sets.opened.options
            options.limits.pixelBytes = memory
            let parts = try DataSource.Kind.folder(options).images(sets.folder.path("data"), rows: rows)
            return [parts.train, parts.test].map { if case .images = $0 { true } else { false } }
        }
        #expect(try kinds(46 * 240) == [true, true])
        #expect(try kinds(46 * 240 - 1) == [false, true])
        #expect(try kinds(9 * 240 - 1) == [false, false])
        #expect(try kinds(11 * 240, rows: 2) == [true, true])
        #expect(try kinds(11 * 240 - 1, rows: 2) == [false, true])
    }

    @Test("means and deviations are the same bits, pictures the same bytes")
    func statistics() throws {
        // More than one part of 256.
        let sets = try Sets(train: 300, test: 3)
        #expect(try sets.streamed.measuredNormalization() == sets.held.measuredNormalization())
        #expect(try sets.streamed.pictures([299, 0, 17]) == sets.held.pictures([299, 0, 17]))
        #expect(try sets.streamed.pictures([299, 0, 17])[1] == Self.pictures.pixels(0))
    }

    private struct Trace: Equatable {
        var losses: [Float] = []
        var weights: [[Float]] = []
        var logits: [Float] = []
    }

    /// Two epochs of a teacher's pupil; everything that came out of them.
    private func train(
        _ set: ExampleSet, microBatch: Int? = nil, mixing: BatchMixing? = nil, peers: Int = 1,
        randAugment: RandAugment? = nil, strong: PictureAugmentation? = nil, _ backend: TestBackend
    ) throws -> Trace {
        let device = try backend.device()
        let views = strong == nil ? "" : ", strong-augment: {}"
        let second = strong == nil ? "" : ", {loss: hinton, alpha: 0.9, view: strong}"
        let recipe = try Recipe.parse(
            """
            data: {kind: images, path: none, height: 10, width: 8\(views)}
            teacher: {model: {kind: cnn, channels: [5]}}
            student: {model: {kind: cnn, channels: [3]}}
            arms: {student: {objective: [{loss: hinton, temperature: 3, alpha: 0.7}\(second)]}}
            train: {epochs: 2, batch: 8\(microBatch.map { ", micro-batch: \($0)" } ?? ""), optimizer: {kind: sgd, lr: 0.05, momentum: 0.9}}
            """, name: "streamed")
        let task = ClassificationTask(sample: [3, 10, 8], classes: 3)
        guard case .train(let spec, _) = recipe.teachers[0].source else { throw RetortError.internalBug("no teacher") }
        let teacher = try spec.make(for: task, who: "teacher")
        _ = try teacher.materialize(on: device, seed: 1)
        let normalization = try set.measuredNormalization()
        let data = try DeviceRows(
            set, normalization: normalization, augmentation: .init(padding: 2, flipProbability: 0.5),
            randAugment: randAugment, strong: strong, mixing: mixing, on: device)
        let students = try (0..<peers).map { _ in try recipe.student.make(for: task, who: "student") }
        let trainers = try students.enumerated().map { number, student in
            try Trainer(
                student, try student.materialize(on: device, seed: UInt64(2 + number)),
                goal: .init(
                    recipe.arms[0].terms, teacher: peers > 1 ? nil : LocalTeacher(teacher),
                    peers: students.filter { $0 !== student }),
                data: data, spec: recipe.train, seed: 5, on: device)
        }
        var trace = Trace()
        for epoch in 0..<2 { trace.losses += try Trainer.epoch(epoch, of: trainers).flatMap { $0 } }
        trace.weights = try students.flatMap { try $0.parameters.map { try $0.values() } }
        trace.logits = try Evaluation(students[0], data, on: device).logits
        return trace
    }

    @Test("the same losses, weights and answers, bit for bit", arguments: TestBackend.fast)
    func sameTraining(_ backend: TestBackend) throws {
        let sets = try Sets()
        let whole = try train(sets.held, backend)
        #expect(whole.losses.count == 10 && whole.logits.count == 37 * 3)
        #expect(try train(sets.streamed, backend) == whole)
        // Twice the same, however fast the threads were.
        #expect(try train(sets.streamed, backend) == whole)
        // Mixtures take their partners from the batch, micro-batches their parts, peers the batch itself.
        for mixing in [BatchMixing.mixup(alpha: 0.4), .cutMix(alpha: 1)] {
            let mixed = try train(sets.held, mixing: mixing, backend)
            #expect(mixed.losses != whole.losses)
            #expect(try train(sets.streamed, mixing: mixing, backend) == mixed)
        }
        #expect(try train(sets.streamed, microBatch: 3, backend) == train(sets.held, microBatch: 3, backend))
        #expect(try train(sets.streamed, peers: 2, backend) == train(sets.held, peers: 2, backend))
    }

    @Test("views that the host changes: the same from files as from memory", arguments: TestBackend.fast)
    func sameViews(_ backend: TestBackend) throws {
        let sets = try Sets()
        let plain = try train(sets.held, backend)
        let random = RandAugment(operations: 2, cutout: 0.5)
        // Cropped and flipped by the device alone, by the host, and both in one batch.
        for (weak, strong) in [
            (random, nil), (nil, PictureAugmentation(randAugment: random)), (random, PictureAugmentation()),
            (random, PictureAugmentation(.init(padding: 1), randAugment: random)),
        ] as [(RandAugment?, PictureAugmentation?)] {
            let held = try train(sets.held, randAugment: weak, strong: strong, backend)
            #expect(held.losses != plain.losses)
            #expect(try train(sets.streamed, randAugment: weak, strong: strong, backend) == held)
            #expect(
                try train(sets.streamed, microBatch: 3, randAugment: weak, strong: strong, backend)
                    == train(sets.held, microBatch: 3, randAugment: weak, strong: strong, backend))
        }
    }

    @Test("a whole run: data.memory changes no result", arguments: TestBackend.fast)
    func wholeRun(_ backend: TestBackend) throws {
        let folder = try ScratchFolder()
        try Self.pictures.writeFolder(folder, "data", train: 30, test: 12)
        let recipe = try folder.write(
            """
            data: {kind: images, path: data, height: 10, width: 8, augment: {crop: 1, flip: 0.5}, strong-augment: {rand-augment: {}}}
            teacher: {model: {kind: cnn, channels: [5]}, train: {epochs: 2}}
            student: {model: {kind: cnn, channels: [3]}}
            arms: {student-alone: {objective: [{loss: cross-entropy}]}, student: {objective: [{loss: at, view: strong}, {loss: hinton}]}}
            train: {epochs: 2, batch: 8, optimizer: {kind: adam, lr: 0.01}}

            """, to: "r.yaml")
        func run(_ memory: String, _ overrides: String...) throws -> (RunResults, [String: Data]) {
            let training = try TrainingRun(
                try Recipe.read(recipe, overrides: ["data.memory=" + memory] + overrides), device: try backend.device(),
                output: folder.path("run-" + memory), progress: Progress(quiet: true))
            return (try training.run(), try contents(of: folder.path("run-" + memory)))
        }
        let (held, heldFiles) = try run("2GiB")
        let (streamed, streamedFiles) = try run("0")
        for (path, bytes) in heldFiles where path.contains("/final/") {
            #expect(streamedFiles[path] == bytes, "\(path)")
        }
        #expect(heldFiles.keys.filter { $0.hasSuffix("final/preprocessor_config.json") }.count == 3)
        for (a, b) in zip(held.arms, streamed.arms) {
            for key in ["accuracy", "macro_f1", "agreement", "kl_to_teacher"] {
                #expect(a.seeds[0].metrics[key] == b.seeds[0].metrics[key], "\(a.role) \(key)")
            }
            #expect(a.seeds[0].curve.map(\.loss) == b.seeds[0].curve.map(\.loss))
        }
        // What the students and their teacher say of the twelve test rows.
        #expect(held.arms[0].seeds[0].teacherConfusion.isEmpty)
        for arm in held.arms.dropFirst() {
            let counts = arm.seeds[0].teacherConfusion
            #expect(counts.joined().reduce(0, +) == 12)
            let same = Double(counts.indices.reduce(0) { $0 + counts[$1][$1] }) / 12
            #expect(abs(same - (arm.seeds[0].metrics["agreement"] ?? -1)) < 1e-12, "\(arm.role)")
        }
        let report = try #require(heldFiles["report.html"])
        #expect(String(decoding: report, as: UTF8.self).contains("Teacher against student"))
        #expect(held.gallery != nil && held.gallery == streamed.gallery)
        #expect(
            String(decoding: streamedFiles["log.txt"]!, as: UTF8.self).contains("30 training images are decoded anew"))
        let log = String(decoding: heldFiles["log.txt"]!, as: UTF8.self)
        #expect(!log.contains("decoded anew") && !log.contains("no loss looks"))
        let blind = try run("1GiB", "train.epochs=1", "arms.student.objective=[{loss: hinton}]").1
        #expect(
            String(decoding: blind["log.txt"]!, as: UTF8.self).contains(
                "no loss looks at the view that data.strong-augment makes"))
    }

    /// Threads of this process that fetch ahead.
    private func fetchers() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").filter { task in
            (try? String(contentsOfFile: "/proc/self/task/\(task)/comm", encoding: .utf8))?.hasPrefix("retort prefetch")
                == true
        }.count
    }

    @Test("a file that is damaged comes in its place, with its name, and leaves no thread", arguments: TestBackend.fast)
    func damaged(_ backend: TestBackend) throws {
        let sets = try Sets()
        let device = try backend.device()
        let order = (0..<37).map(Int32.init)
        let bad = sets.opened.train[20].path
        try Array("no picture".utf8).withUnsafeBytes { try Data($0).write(to: URL(fileURLWithPath: bad)) }
        let data = try DeviceRows(sets.streamed, on: device)
        let pass = try TrainingPass(data, order: order, batch: 8, classes: 3, seed: 0, epoch: 0, on: device)
        // Pictures 0 to 15 are whole.
        for _ in 0..<2 { #expect(try pass.next(step: 0).labels.count == 8) }
        let failure = thrown(RetortError.self) { _ = try pass.next(step: 0) }
        #expect(failure?.exit == .badData && failure?.location?.file == bad, "\(String(describing: failure))")
        let measured = thrown(RetortError.self) { _ = try sets.streamed.measuredNormalization() }
        #expect(measured?.exit == .badData && measured?.location?.file == bad)
        try FileManager.default.removeItem(atPath: bad)
        let gone = thrown(RetortError.self) {
            try data.forEachPart(of: 16, on: device) { _ in }
        }
        #expect(gone?.exit == .missingInput && gone?.description.contains(bad) == true)
    }

    @Test(
        "a pass that is given up in the middle ends its thread and gives back its memory", arguments: TestBackend.fast)
    func givenUp(_ backend: TestBackend) throws {
        let sets = try Sets()
        let device = try backend.ownDevice()
        let data = try DeviceRows(sets.streamed, on: device)
        let before = device.compute.memory.live
        for _ in 0..<20 {
            let pass = try TrainingPass(
                data, order: (0..<37).map(Int32.init), batch: 8, classes: 3, seed: 0, epoch: 0, on: device)
            _ = try pass.next(step: 0)
        }
        try device.compute.synchronize()
        #expect(device.compute.memory.live == before)
        // Others may fetch at the same time, in other tests; ours are gone when the pass is.
        #expect(try fetchers() < 20)
    }
}
