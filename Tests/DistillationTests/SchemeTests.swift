import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// Arms trained on made-up rows, as a run trains them.
private struct ArmSample {
    let device: Device
    let data: DeviceRows
    private static let classes = 3
    static let epochs = 3

    init(_ backend: TestBackend) throws {
        device = try backend.device()
        let random = Philox(seed: 8, stream: Philox.stream("schemes"))
        data = try DeviceRows(
            try TabularDataset(
                features: random.uniforms(40 * 6, -1, 1), labels: (0..<40).map { Int32($0 * 7 % Self.classes) },
                columnNames: (0..<6).map { "x\($0)" }, classes: Self.classes), on: device)
    }

    static func recipe(
        _ arm: String, teachers: String = "teacher: {model: {kind: mlp, layers: [6, 9, 3]}}",
        student: String = "[6, 5, 3]"
    ) throws -> Recipe {
        try Recipe.parse(
            """
            data: {kind: csv, path: none.csv, label: none, test: {every: 5}}
            \(teachers)
            student: {model: {kind: mlp, layers: \(student)}}
            arms: {arm: {\(arm)}}
            train: {epochs: \(epochs), batch: 16, optimizer: {kind: sgd, lr: 0.1, momentum: 0.9}}
            """, name: "schemes")
    }

    /// A teacher of this width that has not learned anything: what it says is as good as any.
    func teacher(_ width: Int, seed: UInt64) throws -> any Model {
        let model = MLP([6, width, 3])
        _ = try model.materialize(on: device, seed: seed)
        return model
    }

    func session(_ recipe: Recipe, teacher: (any Teacher)?, seed: UInt64 = 4) -> ArmSession {
        let arm = recipe.arms[0]
        return ArmSession(
            role: arm.name, seed: seed, initialSeed: seed, model: recipe.student,
            task: ClassificationTask(sample: [6], classes: Self.classes), terms: arm.terms, balance: arm.balance,
            view: recipe.studentSees,
            training: arm.train, teacher: teacher, data: data, test: data, device: device, report: { _ in },
            note: { _ in })
    }

    /// The student's parameters after the arm's training, and its losses by epoch.
    func train(_ recipe: Recipe, teachers: [any Model] = []) throws -> (parameters: [Float], session: ArmSession) {
        let arm = recipe.arms[0]
        let session = session(
            recipe, teacher: arm.teachers.isEmpty ? nil : LocalTeacher(arm.teachers.map { teachers[$0] }))
        let model = try arm.scheme.train(session)
        return (try Self.parameters(model), session)
    }

    static func parameters(_ model: any Model) throws -> [Float] { try model.parameters.flatMap { try $0.values() } }
}

@Suite("Schemes")
struct SchemeTests {
    private static let alone = "objective: [{loss: cross-entropy}]"

    @Test(
        "mutual learning: the peers' answers change the student, and weight 0 leaves it alone",
        arguments: TestBackend.fast)
    func mutual(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        func train(_ scheme: String, _ loss: String = "forward-kl") throws -> [Float] {
            try sample.train(
                ArmSample.recipe("objective: [{loss: cross-entropy}, {loss: \(loss)}], scheme: {\(scheme)}")
            ).parameters
        }
        let alone = try sample.train(ArmSample.recipe(Self.alone)).parameters
        let taught = try train("kind: mutual")
        #expect(taught != alone)
        #expect(try taught == train("kind: mutual"))
        #expect(try taught != train("kind: mutual, peers: 3"))
        #expect(try taught != train("kind: mutual, refresh: 2"))
        #expect(try train("kind: mutual", "logit-mse, alpha: 0") == alone)
    }

    @Test(
        "retrieval is of the student as it is when it is asked: rounded, where it is saved so",
        arguments: TestBackend.fast)
    func retrieval(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let recipe = try ArmSample.recipe(
            "objective: [{loss: contrastive, width: 7}], train: {epochs: 60, optimizer: {kind: adam, lr: 0.01}}")
        let session = sample.session(recipe, teacher: LocalTeacher([try sample.teacher(9, seed: 5)]))
        let model = try recipe.arms[0].scheme.train(session)
        let learned = try #require(try session.retrieval())
        // All rows get the same embedding: it is nearest to one of the 40.
        for parameter in model.parameters { try parameter.assign(parameter.values().map { _ in 0 }) }
        let lost = try #require(try session.retrieval())
        #expect(learned > 0.1 && lost <= 1.0 / 40, "\(learned) \(lost)")
    }

    @Test("each peer's loss is looked at on its own: three peers are the mean of two", arguments: TestBackend.fast)
    func meanOfPeers(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let recipe = try ArmSample.recipe("objective: [{loss: forward-kl}], scheme: {kind: mutual, peers: 3}")
        let session = sample.session(recipe, teacher: nil)
        let students = try (0..<3).map { try session.student(number: $0) }
        let trainers = try students.map { own in
            let others = students.map(\.model).filter { $0 !== own.model }
            return try session.trainer(own.model, own.arena, teacher: nil, peers: others)
        }
        let order = trainers[0].permutation(epoch: 0)
        let (x, labels) = try sample.data.batch(Array(order.prefix(16)), on: sample.device)
        _ = labels
        let answers = try students.map { student in
            student.model.setTraining(false)
            return try Autograd.withoutGradients { try student.model(x).values() }
        }
        let losses = try Trainer.epoch(0, of: trainers)
        for own in 0..<3 {
            let expected = (0..<3).filter { $0 != own }.map { other -> Double in
                Float64Reference.mean(
                    zip(
                        Float64Reference.rows(answers[other].map(Double.init), 3),
                        Float64Reference.rows(answers[own].map(Double.init), 3)
                    ).map { Float64Reference.divergence(Float64Reference.softmax($0), Float64Reference.logSoftmax($1)) }
                )
            }
            expectClose([losses[own][0]], [Float64Reference.mean(expected)], absolute: 1e-6, relative: 1e-5, "\(own)")
        }
    }

    @Test(
        "several peers: what balances losses sees their mean, which is what is minimised", arguments: TestBackend.fast)
    func balancedPeers(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let recipe = try ArmSample.recipe(
            "objective: [{loss: forward-kl}], scheme: {kind: mutual, peers: 3}, balance: {kind: uncertainty}, "
                + "train: {batch: 40}")
        let session = sample.session(recipe, teacher: nil)
        let students = try (0..<3).map { try session.student(number: $0) }
        let trainers = try students.map { own in
            let others = students.map(\.model).filter { $0 !== own.model }
            return try session.trainer(own.model, own.arena, teacher: nil, peers: others)
        }
        // One step: exp(−s)·L + s with s = 0 is L, and s moves by −0.1 · (1 − L).
        let losses = try Trainer.epoch(0, of: trainers)
        for (trainer, loss) in zip(trainers, losses) {
            #expect(loss.count == 1)
            #expect(abs(try trainer.balance()[0] - exp(0.1 * (1 - Double(loss[0])))) < 1e-5)
        }
    }

    @Test("with several peers each has a projector of its own", arguments: TestBackend.fast)
    func projectorsOfPeers(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let recipe = try ArmSample.recipe(
            "objective: [{loss: cross-entropy}, {loss: fitnet, student: [layers.0.hidden], teacher: [layers.0.hidden]}], "
                + "scheme: {kind: mutual, peers: 3}")
        let trained = try sample.train(recipe)
        let names = try #require(trained.session.projectors).parameters.map(\.name)
        #expect(Set(names).count == names.count && names.count == 4, "\(names)")
    }

    @Test(
        "peers of other architectures: each learns from the others, shows what they look at, and is kept",
        arguments: TestBackend.fast)
    func otherArchitectures(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let fitnet = "{loss: fitnet, alpha: 0.01, student: [layers.0.hidden], teacher: [layers.0.hidden]}"
        func arm(_ scheme: String) throws -> Recipe {
            try ArmSample.recipe(
                "objective: [{loss: cross-entropy}, {loss: forward-kl}, \(fitnet)], scheme: {kind: mutual, \(scheme)}")
        }
        let others = "others: [{kind: mlp, layers: [6, 8, 7, 3]}]"
        let trained = try sample.train(arm(others))
        let sizes = trained.session.peers.map(\.parameterCount)
        #expect(sizes == [6 * 8 + 8 + 8 * 7 + 7 + 7 * 3 + 3])
        // Its hidden layer has eight numbers, which a projector of that width is for.
        func isOfEight(_ session: ArmSession) -> Bool? {
            session.projectors?.parameters.contains { Array($0.shape).contains(8) }
        }
        #expect(isOfEight(trained.session) == true)
        #expect(try isOfEight(sample.train(arm("peers: 2")).session) == false)
        #expect(try trained.parameters != sample.train(arm("peers: 2")).parameters)
        // The other has learned too, and its first weights are its own.
        let fresh = try trained.session.student(number: 1, arm(others).arms[0].scheme.peers[0]).model
        #expect(try ArmSample.parameters(trained.session.peers[0]) != ArmSample.parameters(fresh))
        let three = try sample.train(arm("\(others), peers: 3, refresh: 2"))
        #expect(three.session.peers.map(\.parameterCount) == sizes + [6 * 5 + 5 + 5 * 3 + 3])

        // What a peer is looked at for is not what it learns by itself.
        let crossed = try sample.train(
            ArmSample.recipe(
                "objective: [{loss: fitnet, alpha: 0.01, student: [layers.0.hidden], teacher: [layers.1.hidden]}], "
                    + "scheme: {kind: mutual, \(others)}", student: "[6, 5, 4, 3]"))
        #expect(crossed.session.steps == 3 * ArmSample.epochs)

        let error = thrown(RetortError.self) {
            _ = try arm("others: [{kind: mlp, layers: [6, 8, 3]}, {kind: mlp, layers: [6, 7, 3]}], peers: 2")
        }
        #expect(error?.exit == .recipe && error?.help.contains("peers: 3") == true, "\(String(describing: error))")
    }

    @Test("born again: each generation learns from the one before", arguments: TestBackend.fast)
    func bornAgain(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let teacher = try sample.teacher(9, seed: 1)
        let hinton = "objective: [{loss: hinton, temperature: 3}]"
        let recipe = try ArmSample.recipe(hinton + ", scheme: {kind: born-again, generations: 2}")
        let trained = try sample.train(recipe, teachers: [teacher])
        #expect(trained.session.steps == 2 * 3 * ArmSample.epochs)
        // By hand: a first student from weights of its own, whose answers the second learns from.
        let plain = try ArmSample.recipe(hinton)
        let session = sample.session(plain, teacher: LocalTeacher(teacher))
        let (first, firstArena) = try session.student(number: 1)
        try session.fit(try session.trainer(first, firstArena, teacher: session.teacher))
        let (second, secondArena) = try session.student()
        try session.fit(try session.trainer(second, secondArena, teacher: LocalTeacher(first)))
        #expect(try ArmSample.parameters(second) == trained.parameters)
    }

    @Test("a moving average without memory is the student itself and teaches nothing", arguments: TestBackend.fast)
    func movingAverage(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        func train(_ scheme: String) throws -> [Float] {
            try sample.train(
                ArmSample.recipe(
                    "objective: [{loss: cross-entropy}, {loss: forward-kl}], scheme: {kind: moving-average, \(scheme)}")
            ).parameters
        }
        let alone = try sample.train(ArmSample.recipe(Self.alone)).parameters
        // KL of equal answers has no gradient but rounding.
        expectClose(try train("decay: 0"), alone.map(Double.init), absolute: 1e-4)
        let slow = try train("decay: 0.9")
        #expect(zip(slow, alone).contains { abs($0 - $1) > 1e-3 })
        #expect(try train("decay: 0.9, hidden: 0.3") != slow)
    }

    @Test("the average: a · d + w · (1 − d) after each step", arguments: TestBackend.fast)
    func average(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let recipe = try ArmSample.recipe(Self.alone)
        let session = sample.session(recipe, teacher: nil)
        let (model, arena) = try session.student()
        let (copy, copied) = try session.student()
        let teacher = MovingAverageTeacher(copy, copied, follows: model, arena, decay: 0.75)
        var expected = try ArmSample.parameters(copy).map(Double.init)
        // A step at a time, so that every weight on the way is seen.
        for epoch in 0..<4 {
            let few = try Trainer(
                model, arena, goal: .init(recipe.arms[0].terms, teacher: nil), data: sample.data,
                spec: recipe.arms[0].train, seed: UInt64(epoch), on: sample.device)
            try few.epoch(0, order: few.permutation(epoch: 0))
            try teacher.afterStep()
            expected = zip(expected, try ArmSample.parameters(model)).map { 0.75 * $0 + 0.25 * Double($1) }
        }
        expectClose(try ArmSample.parameters(copy), expected, absolute: 1e-6)
    }

    @Test("what is hidden from the student does not depend on micro-batches", arguments: TestBackend.fast)
    func hiddenInParts(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        func train(_ more: String) throws -> [Float] {
            try sample.train(
                ArmSample.recipe(
                    "objective: [{loss: cross-entropy}, {loss: forward-kl}], "
                        + "scheme: {kind: moving-average, hidden: 0.4}\(more)")
            ).parameters
        }
        expectClose(try train(", train: {micro-batch: 3}"), try train("").map(Double.init), absolute: 2e-5)
    }

    // MARK: Several teachers

    private static let two = """
        teachers:
          small: {model: {kind: mlp, layers: [6, 4, 3]}}
          wide: {model: {kind: mlp, layers: [6, 11, 3]}}
        """

    @Test("a loss looks at the teacher it names, as if there were no other", arguments: TestBackend.fast)
    func named(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let teachers = [try sample.teacher(4, seed: 1), try sample.teacher(11, seed: 2)]
        for loss in [
            "hinton", "fitnet, alpha: 1, student: [layers.0.hidden], teacher: [layers.0.hidden]",
            "crd, alpha: 0.1, negatives: 9",
        ] {
            func train(_ from: String, _ models: [any Model], _ teachers: String? = Self.two) throws -> [Float] {
                let arm = "objective: [{loss: cross-entropy}, {loss: \(loss)\(from)}]"
                return try sample.train(
                    teachers.map { try ArmSample.recipe(arm, teachers: $0) } ?? ArmSample.recipe(arm), teachers: models
                ).parameters
            }
            let wide = try train(", from: wide", teachers)
            #expect(try wide == train("", [teachers[1]], nil), "\(loss)")
            #expect(try wide != train(", from: small", teachers), "\(loss)")
        }
    }

    @Test("two teachers in one arm, also in micro-batches", arguments: TestBackend.fast)
    func both(_ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let teachers = [try sample.teacher(4, seed: 1), try sample.teacher(11, seed: 2)]
        func train(_ objective: String, part: Int? = nil) throws -> [Float] {
            let own = part.map { ", train: {micro-batch: \($0)}" } ?? ""
            return try sample.train(
                ArmSample.recipe("objective: [\(objective)]\(own)", teachers: Self.two), teachers: teachers
            ).parameters
        }
        for objective in [
            "{loss: hinton, from: small}, {loss: rkd, from: wide}", "{loss: ensemble}",
            "{loss: cross-entropy}, {loss: learned-ensemble}", "{loss: ensemble, combine: confidence}",
        ] {
            let whole = try train(objective)
            let parts = try train(objective, part: 5)
            expectClose(parts, whole.map(Double.init), absolute: 2e-5, objective)
            #expect(try whole == train(objective), "\(objective)")
        }
        // Gates that start equal, and stay so without a step, are the mean of probabilities.
        #expect(try train("{loss: ensemble}") != train("{loss: learned-ensemble}"))
    }

    @Test("which teacher: said where it must be, and only where it can be")
    func whichTeacher() throws {
        func error(_ arm: String, _ teachers: String) throws -> RetortError {
            try #require(thrown(RetortError.self) { _ = try ArmSample.recipe(arm, teachers: teachers) })
        }
        let one = "teacher: {model: {kind: mlp, layers: [6, 4, 3]}}"
        let cases = [
            (try error("objective: [{loss: hinton}]", Self.two), "looks at one teacher, and the recipe has 2"),
            (try error("objective: [{loss: hinton, from: wid}]", Self.two), "there is no teacher 'wid'"),
            (try error("objective: [{loss: hinton, from: wide}]", one), "there is no teacher 'wide'"),
            (try error("objective: [{loss: ensemble, from: wide}]", Self.two), "cannot be given a teacher"),
            (try error("objective: [{loss: cross-entropy, from: wide}]", Self.two), "cannot be given a teacher"),
            (
                try error("objective: [{loss: hinton, from: wide}], scheme: {kind: mutual}", Self.two),
                "cannot be given a teacher"
            ),
            (
                try error(
                    "objective: [{loss: hinton, from: wide}, {loss: rkd, from: small}], scheme: {kind: born-again}",
                    Self.two),
                "later generations have one only"
            ),
            // Before anything is trained, and where the weights stand.
            (
                try error("objective: [{loss: ensemble, combine: weights, weights: [1]}]", Self.two),
                "1 weight for 2 teachers"
            ),
            (
                try error("objective: [{loss: ensemble, combine: weights, weights: [0, 1e-60]}]", Self.two),
                "are all 0"
            ),
            (try error("objective: [{loss: ensemble, combine: weights}]", Self.two), "0 weights for 2 teachers"),
            (try error("objective: [{loss: ensemble, weights: [1, 2]}]", Self.two), "does not use them"),
            (
                try error(
                    "objective: [{loss: ensemble, combine: weights, weights: [1, 2]}], scheme: {kind: mutual}", Self.two
                ),
                "2 weights for 1 teacher"
            ),
            (try error(Self.alone, one + "\n" + Self.two), "has both teacher and teachers"),
            (try error(Self.alone, ""), "either teacher or teachers"),
        ]
        for (error, what) in cases {
            #expect(error.exit == .recipe && error.what.contains(what), "\(error.what)")
            #expect(error.location != nil, "\(error.what)")
        }
        #expect(cases[1].0.help.contains("wide"))
    }

    // MARK: Balance and temperature

    @Test("dynamic weights: softmax of how much each loss fell")
    func dynamicWeights() {
        let weights = DynamicAverageBalance.weights(last: [1, 3, nil, 5], before: [2, 3, 4, 0], temperature: 2)
        // Ratios ½, 1, unknown, and 1 for one that was 0.
        let powers = [0.25, 0.5, 0.5].map { exp($0) }
        let sum = powers.reduce(0, +)
        #expect(weights[2] == 1)
        for (index, power) in zip([0, 1, 3], powers) { #expect(abs(weights[index] - 3 * power / sum) < 1e-12) }
    }

    @Test("learned uncertainty: s of each loss follows its gradient, 1 − exp(−s)·loss", arguments: TestBackend.fast)
    func uncertainty(_ backend: TestBackend) throws {
        let device = try backend.device()
        let spec = try ArmSample.recipe(Self.alone).train.optimizer
        let balance = try LossBalance.uncertainty.make(terms: 2, optimizer: spec, on: device)
        var s = [0.0, 0.0]
        var speed = [0.0, 0.0]
        let losses = [3.0, 0.25]
        for _ in 0..<5 {
            for part in [0.25, 0.75] {
                for (index, loss) in losses.enumerated() {
                    let (tensor, _) = try Tensor.variable([Float(loss)], [], on: device)
                    let weighed = try balance.weigh(tensor, term: index, share: Float(part)) * Float(part)
                    #expect(abs(Double(try weighed.item()) - part * (exp(-s[index]) * loss + s[index])) < 1e-5)
                    try weighed.backward()
                }
            }
            try balance.step(learningRate: 0.1)
            for index in 0..<2 {
                speed[index] = 0.9 * speed[index] + (1 - exp(-s[index]) * losses[index])
                s[index] -= 0.1 * speed[index]
            }
        }
        for (weight, s) in zip(try balance.weights(), s) { #expect(abs(weight - exp(-s)) < 1e-5) }
    }

    @Test(
        "balanced arms train, repeat, and are as good in parts", arguments: ["uncertainty", "dynamic-average"],
        TestBackend.fast)
    func balanced(_ kind: String, _ backend: TestBackend) throws {
        let sample = try ArmSample(backend)
        let teachers = [try sample.teacher(9, seed: 1)]
        func train(_ more: String) throws -> (parameters: [Float], session: ArmSession) {
            try sample.train(
                ArmSample.recipe("objective: [{loss: cross-entropy}, {loss: rkd}, {loss: logit-mse}]" + more),
                teachers: teachers)
        }
        let whole = try train(", balance: {kind: \(kind)}")
        #expect(whole.session.finalBalance.count == 3 && Set(whole.session.finalBalance).count == 3)
        let plain = try train("")
        #expect(plain.session.finalBalance.isEmpty && plain.parameters != whole.parameters)
        #expect(try train(", balance: {kind: \(kind)}").parameters == whole.parameters)
        let parts = try train(", balance: {kind: \(kind)}, train: {micro-batch: 5}")
        expectClose(parts.parameters, whole.parameters.map(Double.init), absolute: 5e-5)
    }

    @Test("a temperature moves over the epochs")
    func temperatures() throws {
        let objective = try Setting(
            recipe: "loss: forward-kl, temperature: 8, temperature-ramp: {kind: linear, to: 0.125}"
        ).make()
        #expect(objective.contract.contains("T=8 (times 1.0 to 0.125 over the epochs)"), "\(objective.contract)")
        let device = try TestBackend.cpu.device()
        func loss(_ recipe: String, epoch: Int) throws -> Float {
            let objective = try #require(try Setting(recipe: recipe).make() as? any LogitObjective)
            return try objective.loss(
                ObjectiveInput(
                    student: ModelOutput(logits: try Tensor([1, 2, 3, -1], [1, 4], on: device)),
                    teachers: [ModelOutput(logits: try Tensor([2, 1, 0.5, 0], [1, 4], on: device))],
                    labels: try device.compute.view([Int32(0)], [1], .i32),
                    progress: TrainingProgress(epoch: epoch, epochs: 8, step: 0))
            ).item()
        }
        let moving = "loss: forward-kl, temperature: 8, temperature-ramp: {kind: linear, to: 0.125}"
        for (epoch, temperature) in [(0, "8"), (4, "4"), (7, "1")] {
            #expect(try loss(moving, epoch: epoch) == loss("loss: forward-kl, temperature: \(temperature)", epoch: 0))
        }
    }
}
