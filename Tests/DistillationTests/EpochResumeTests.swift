import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// A classifier's training that is stopped and goes on from its last whole epoch is the training that was not.
@Suite("Resuming between epochs")
struct EpochResumeTests {
    /// An arm of a recipe with a teacher of random weights, over rows or pictures.
    private final class Rig {
        let device: Device
        let recipe: Recipe
        private let task: ClassificationTask
        private let rows: DeviceRows
        private let teacher: any Model
        /// What metrics.jsonl would have.
        private(set) var lines: [String] = []
        /// Epochs that were trained here, those again that were lost.
        private(set) var epochs = 0

        init(_ arm: String, pictures: Bool, _ backend: TestBackend) throws {
            device = try backend.device()
            let isViewed = arm.contains("view: strong")
            let models =
                pictures
                ? ("kind: resnet, depth: 8", "kind: resnet, depth: 8")
                : ("kind: mlp, layers: [6, 9, 3]", "kind: mlp, layers: [6, 5, 3]")
            recipe = try Recipe.parse(
                """
                data: \(isViewed ? "{kind: idx, path: none, strong-augment: {}}" : "{kind: csv, path: none.csv, label: none, test: {every: 5}}")
                teacher: {model: {\(models.0)}}
                student: {model: {\(models.1)}}
                arms: {arm: {\(arm.replacing("mixes: ", with: ""))}}
                train: {epochs: 8, batch: 8, optimizer: {kind: sgd, lr: 0.02, momentum: 0.9}, schedule: {kind: cosine, warmup: 3}}
                """, name: "resume")
            let sample = pictures ? [3, 8, 8] : [6]
            task = ClassificationTask(sample: sample, classes: 3)
            let labels = (0..<20).map { Int32($0 * 7 % 3) }
            if pictures {
                let all = SamplePictures(channels: 3, height: 8, width: 8)
                rows = try DeviceRows(
                    .images(
                        ImageDataset(
                            pixels: (0..<20).flatMap { all.pixels($0 * 7) }, labels: labels, channels: 3, height: 8,
                            width: 8, classNames: ["a", "b", "c"])),
                    augmentation: ImageAugmentation(padding: 1, flipProbability: 0.5),
                    strong: isViewed
                        ? PictureAugmentation(
                            ImageAugmentation(padding: 1), randAugment: RandAugment(operations: 2, cutout: 0.5)) : nil,
                    mixing: arm.contains("mixes: ") ? .mixup(alpha: 0.4) : nil, on: device)
            } else {
                let random = Philox(seed: 8, stream: Philox.stream("resume"))
                rows = try DeviceRows(
                    TabularDataset(
                        features: random.uniforms(20 * 6, -1, 1), labels: labels,
                        columnNames: (0..<6).map { "x\($0)" }, classes: 3), on: device)
            }
            guard case .train(let spec, _) = recipe.teachers[0].source else {
                throw RetortError.internalBug("no teacher")
            }
            teacher = try spec.make(for: task, who: "teacher")
            _ = try teacher.materialize(on: device, seed: 3)
        }

        private static func beginning(_ generation: Int?) -> String { (generation.map(String.init) ?? "last") + " " }

        /// - Parameters:
        ///   - folder: where it is written down; nil: nowhere.
        ///   - lost: number of the epochs trained here in the last of which a signal comes.
        func session(_ folder: String? = nil, _ checkpoint: String = "{minutes: 0}", stopIn lost: Int = .max) throws
            -> ArmSession
        {
            let arm = recipe.arms[0]
            let place = try folder.map {
                CheckpointPlace(
                    folder: $0,
                    spec: CheckpointSpec(try RecipeReader.readValue(checkpoint, CheckpointSpec.field.type)),
                    forget: { generation, count in
                        var own = 0
                        self.lines = self.lines.filter { line in
                            guard line.hasPrefix(Self.beginning(generation)) else { return true }
                            own += 1
                            return own <= count
                        }
                    })
            }
            epochs = 0
            return ArmSession(
                role: "arm", seed: 4, initialSeed: 4, model: recipe.student, task: task, terms: arm.terms,
                balance: arm.balance, view: recipe.studentSees, training: arm.train,
                teacher: arm.teachers.isEmpty ? nil : LocalTeacher(teacher), data: rows, test: rows, device: device,
                report: {
                    self.epochs += 1
                    self.lines.append(Self.beginning($0.generation) + "\($0.point) \($0.facts)")
                    if self.epochs == lost { throw RetortError.stopped("") }
                }, note: { _ in }, place: place)
        }

        /// Everything that comes out of a training.
        func outcome(_ session: ArmSession) throws -> [String] {
            let model = try recipe.arms[0].scheme.train(session)
            let projectors = session.projectors
            let parameters = model.parameters + (projectors?.parameters ?? [])
            let buffers = model.buffers + (projectors?.buffers ?? [])
            return try parameters.map { "\(try $0.values())" }
                + buffers.map { "\($0.name) \(try device.compute.read($0.view) as [Float])" }
                + ["\(session.curve)", "\(session.finalBalance)", "\(session.steps)"] + lines
                + session.metrics.map { "\($0.key) \($0.value)" }.sorted()
        }
    }

    private static let both = "[{loss: cross-entropy}, {loss: at}]"

    @Test(
        "classifiers: weights, statistics, projectors, balance, curve and lines are the same bits",
        arguments: TestBackend.fast,
        [
            "objective: [{loss: hinton, temperature: 2, alpha: 0.5}], train: {micro-batch: 3}",
            "objective: [{loss: crd, negatives: 12}, {loss: cross-entropy}], train: {optimizer: {kind: adamw, lr: 0.01}}",
            "objective: [{loss: cross-entropy}, {loss: crd, negatives: 12, ramp: {kind: between, first: 4}}], train: {micro-batch: 5}",
            "objective: [{loss: cross-entropy}, {loss: logit-mse}, {loss: rkd}], balance: {kind: dynamic-average}",
            "objective: [{loss: cross-entropy}, {loss: logit-mse, ramp: {kind: linear}}], balance: {kind: uncertainty}",
            "pictures: objective: [{loss: be-your-own-teacher}]",
            "pictures: objective: \(both), train: {optimizer: {kind: adam, lr: 0.01}, clip: 1}",
            "pictures: mixes: objective: [{loss: cross-entropy}, {loss: fitnet}], train: {micro-batch: 4}",
            "pictures: objective: [{loss: cross-entropy}, {loss: ft, alpha: 3, paraphrase: 0.4}], train: {clip: 1}",
            "pictures: objective: [{loss: cross-entropy, view: strong}, {loss: mlkd}, {loss: mlkd, beta: 0, gamma: 0, view: strong}], train: {micro-batch: 3}",
            "pictures: mixes: objective: [{loss: cross-entropy}, {loss: hinton, view: strong, ramp: {kind: between, first: 4}}]",
        ])
    func offline(_ backend: TestBackend, _ arm: String) throws { try resumes(backend, arm) }

    @Test(
        "schemes: peers, stale peers, generations, a moving average, clients and their server",
        arguments: TestBackend.fast,
        [
            "pictures: objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: mutual}",
            "pictures: objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: mutual, peers: 3, refresh: 2}",
            "objective: [{loss: cross-entropy}, {loss: crd, negatives: 12}], scheme: {kind: mutual}",
            "objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: mutual, others: [{kind: mlp, layers: [6, 4, 3]}]}",
            "objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: mutual, others: [{kind: mlp, layers: [6, 4, 3]}], refresh: 2}",
            "pictures: objective: [{loss: hinton}], scheme: {kind: born-again, generations: 2}",
            "pictures: objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: moving-average, decay: 0.8, hidden: 0.2}",
            "pictures: objective: [{loss: cross-entropy}, {loss: forward-kl, view: strong}], scheme: {kind: moving-average, decay: 0.8, hidden: 0.2}",
            "pictures: objective: [{loss: cross-entropy}, {loss: forward-kl, view: strong}], scheme: {kind: mutual}",
            "pictures: objective: [{loss: cross-entropy}], scheme: {kind: federated, method: fedavg, clients: 2, rounds: 8}",
            "objective: [{loss: cross-entropy}], scheme: {kind: federated, method: fedprox, clients: 4, fraction: 0.5, rounds: 8, local-epochs: 2}",
            "objective: [{loss: cross-entropy}], scheme: {kind: federated, method: feddf, clients: 2, public: 6, rounds: 8, public-epochs: 2, models: [{kind: mlp, layers: [6, 5, 3]}, {kind: mlp, layers: [6, 4, 3]}]}",
            "objective: [{loss: cross-entropy}], scheme: {kind: federated, method: fedmd, clients: 2, public: 6, rounds: 8, private-epochs: 2, transfer-epochs: 2}",
        ])
    func schemes(_ backend: TestBackend, _ arm: String) throws { try resumes(backend, arm) }

    private func resumes(_ backend: TestBackend, _ arm: String) throws {
        let isPictures = arm.contains("pictures: ")
        let arm = arm.replacing("pictures: ", with: "")
        let folder = try ScratchFolder()
        let whole = try Rig(arm, pictures: isPictures, backend)
        let expected = try whole.outcome(whole.session())
        for checkpoint in ["{minutes: 0}", "{minutes: 0, steps: 4}"] {
            let place = folder.path(checkpoint.contains("steps") ? "steps" : "signal")
            let parts = try Rig(arm, pictures: isPictures, backend)
            let stops = [3, 4, 2] + (whole.epochs > 8 ? [6, 3] : [])
            for lost in stops {
                let session = try parts.session(place, checkpoint, stopIn: lost)
                #expect(thrown(RetortError.self) { _ = try parts.outcome(session) }?.exit == .stopped)
                #expect(try session.stopped().exit == .stopped)
            }
            // All but one epoch of each are kept.
            let last = try parts.session(place, checkpoint)
            #expect(try parts.outcome(last) == expected)
            #expect(parts.epochs == whole.epochs - stops.reduce(0) { $0 + $1 - 1 }, "\(parts.epochs)")
            #expect(
                try FileManager.default.contentsOfDirectory(atPath: place).filter { !$0.hasPrefix("generation") }.count
                    <= 1)
        }
    }

    @Test(
        "factor transfer's paraphraser stays as it is once it is frozen, whatever the optimizer does",
        arguments: TestBackend.fast,
        [
            "{loss: ft, alpha: 3, paraphrase: 0}",
            // In the last epochs no loss looks at its view.
            "{loss: cross-entropy}, {loss: ft, alpha: 3, paraphrase: 0, view: strong, ramp: {kind: between, first: 1, last: 4}}",
        ])
    func frozenParaphraser(_ backend: TestBackend, _ losses: String) throws {
        func projectors(_ optimizer: String) throws -> [String: [Float]] {
            let arm = "objective: [\(losses)], train: {optimizer: \(optimizer)}"
            let rig = try Rig(arm, pictures: true, backend)
            let session = try rig.session()
            _ = try rig.outcome(session)
            let parameters = try #require(session.projectors).parameters
            return Dictionary(uniqueKeysWithValues: try parameters.map { ($0.name, try $0.values()) })
        }
        let still = try projectors("{kind: sgd, lr: 0}")
        let moved = try projectors("{kind: sgd, lr: 0.05, momentum: 0.9, weight-decay: 0.1}")
        for (name, values) in still {
            #expect((moved[name] == values) == name.contains("paraphraser"), "\(name)")
        }
    }

    @Test("stopped in the first epoch it begins again; what is measured after the last one does not train again")
    func ends() throws {
        let folder = try ScratchFolder()
        let arm = "objective: [{loss: hinton}]"
        let whole = try Rig(arm, pictures: false, .cpu)
        let expected = try whole.outcome(whole.session())
        let parts = try Rig(arm, pictures: false, .cpu)
        let first = try parts.session(folder.path("place"), stopIn: 1)
        #expect(thrown(RetortError.self) { _ = try parts.outcome(first) } != nil)
        _ = try first.stopped()
        #expect(!FileManager.default.fileExists(atPath: folder.path("place")))
        let trained = try parts.session(folder.path("place"))
        #expect(try parts.outcome(trained) == expected && parts.epochs == 8)
        // As if the signal came while the trained model was measured.
        _ = try trained.stopped()
        #expect(try parts.outcome(parts.session(folder.path("place"))) == expected && parts.epochs == 0)
    }

    @Test("the state of another training is refused")
    func refused() throws {
        let folder = try ScratchFolder()
        func stop(_ arm: String) throws {
            let rig = try Rig(arm, pictures: false, .cpu)
            let session = try rig.session(folder.path("place"), stopIn: 3)
            _ = thrown(RetortError.self) { _ = try rig.outcome(session) }
            _ = try session.stopped()
        }
        func refuse(_ arm: String, _ word: String) throws {
            let rig = try Rig(arm, pictures: false, .cpu)
            let error = thrown(RetortError.self) { _ = try rig.outcome(rig.session(folder.path("place"))) }
            #expect(error?.exit == .badData && error?.what.contains(word) == true, "\(arm): \(error?.what ?? "none")")
        }
        let crd = "objective: [{loss: cross-entropy}, {loss: crd, width: 12}]"
        try stop("objective: [{loss: cross-entropy}, {loss: forward-kl}]")
        try refuse(crd, "projectors")
        try refuse("objective: [{loss: cross-entropy}, {loss: forward-kl}], balance: {kind: uncertainty}", "balance")
        try refuse(
            "objective: [{loss: cross-entropy}, {loss: forward-kl}], balance: {kind: dynamic-average}", "balance")
        try refuse("objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: mutual}", "peer0.student")
        try refuse("objective: [{loss: forward-kl}], scheme: {kind: moving-average}", "teacher")
        try refuse("objective: [{loss: cross-entropy}], train: {optimizer: {kind: adam, lr: 1}}", "student.")
        try FileManager.default.removeItem(atPath: folder.path("place"))
        try stop(crd)
        try refuse(crd.replacing("width: 12", with: "width: 13"), "loss.1.0.student is [20, 12]")
        try refuse("objective: [{loss: forward-kl}, {loss: cross-entropy}, {loss: crd, width: 12}]", "loss.2")
    }
}

/// The same of recommenders.
@Suite("Resuming recommenders")
struct RecommenderResumeTests {
    private struct Rig {
        let trainer: RecommenderTrainer
        let arena: ParameterArena
        let device: Device

        init(_ losses: String, _ small: SmallRecommender, _ device: Device) throws {
            guard
                let recipe = try readRecipe(
                    small.folder.path("small.yaml"),
                    overrides: ["arms.student.objective=[{loss: bpr}, {\(losses)}]"]) as? RecommenderRecipe,
                case .train(let spec, _) = recipe.teacher
            else { throw RetortError.internalBug("another recipe") }
            let task = RecommenderTask(try recipe.data.load())
            let teacher = try RecommenderRun.fresh(spec, "teacher", task, seed: 2, on: device).model
            let (model, arena) = try RecommenderRun.fresh(recipe.student, "student", task, seed: 1, on: device)
            let arm = recipe.arms[1]
            trainer = try RecommenderTrainer(
                model, arena, terms: arm.terms, teacher: RecommenderRun.constant(teacher), name: "arm", spec: arm.train,
                seed: 3, on: device)
            (self.arena, self.device) = (arena, device)
        }

        func weights() throws -> [Float] {
            try device.compute.read(arena.values) + trainer.projectors.parameters.flatMap { try $0.values() }
        }
    }

    @Test(
        "a training that goes on from a file is the training bit for bit", arguments: TestBackend.fast,
        [
            "loss: preference-consistent, top: 20, experts: 2, rank-by: student, refresh: 5",
            "loss: preference-consistent, top: 20, experts: 2", "loss: distillation-experts, experts: 3",
            "loss: ranking-distillation, top: 5, samples: 10",
            "loss: relaxed-ranking-distillation, top: 10, interesting: 4, uninteresting: 6",
        ])
    func resumes(_ backend: TestBackend, _ losses: String) throws {
        let device = try backend.device()
        let small = try SmallRecommender(backend)
        let path = small.folder.path("state.safetensors")
        let whole = try Rig(losses, small, device)
        let expected = try (0..<4).map { try whole.trainer.epoch($0) }
        let first = try Rig(losses, small, device)
        var got = try (0..<2).map { try first.trainer.epoch($0) }
        try first.trainer.state.write(to: path, from: device.compute)
        let second = try Rig(losses, small, device)
        try second.trainer.resume(StoredState(path))
        got += try (2..<4).map { try second.trainer.epoch($0) }
        #expect(got == expected)
        #expect(try second.weights() == whole.weights() && second.trainer.step == whole.trainer.step)
    }

    @Test("the state of another training is refused")
    func refused() throws {
        let device = try TestBackend.cpu.device()
        let small = try SmallRecommender(.cpu)
        let path = small.folder.path("state.safetensors")
        let plain = try Rig("loss: ranking-distillation, top: 5, samples: 10", small, device)
        _ = try plain.trainer.epoch(0)
        try plain.trainer.state.write(to: path, from: device.compute)
        for (losses, word) in [
            ("loss: distillation-experts, experts: 3", "projectors"),
            ("loss: preference-consistent, top: 20, experts: 2, rank-by: student", "projectors"),
        ] {
            let other = try Rig(losses, small, device)
            let error = thrown(RetortError.self) { try other.trainer.resume(StoredState(path)) }
            #expect(error?.exit == .badData && error?.what.contains(word) == true, "\(error?.what ?? "none")")
        }
        let by = "loss: preference-consistent, experts: 2, rank-by: student"
        let ranking = try Rig(by + ", top: 20", small, device)
        _ = try ranking.trainer.epoch(0)
        try ranking.trainer.state.write(to: path, from: device.compute)
        let longer = try Rig(by + ", top: 21", small, device)
        let error = thrown(RetortError.self) { try longer.trainer.resume(StoredState(path)) }
        #expect(
            error?.exit == .badData && error?.what.contains("ranking is [40, 20]") == true, "\(error?.what ?? "none")")
    }
}
