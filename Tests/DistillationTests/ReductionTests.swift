import Foundation
import RetortData
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport
import TestSupport
import Testing

@testable import RetortDistillation

/// How the losses of tokens become one number: against float64, in parts, padded and packed, and with TRL's numbers.
@Suite("Reductions of tokens")
struct ReductionTests {
    /// Texts of 24 tokens, some of whose places are learned.
    enum Layout: String, CaseIterable, Sendable {
        case padded, packed

        var batch: LanguageBatch {
            switch self {
            case .padded:
                // The last text has nothing to learn.
                Self.batch(length: 8, [[(8, 2)], [(5, 0)], [(3, 1)], [(6, 6)]], isPacked: false)
            case .packed:
                // A document without anything to learn, and padding.
                Self.batch(length: 12, [[(5, 1), (4, 0), (3, 3)], [(7, 3), (3, 0)], [(12, 4)]], isPacked: true)
            }
        }

        /// - Parameter rows: of each its texts: their tokens, and how many from the first predict nothing that is learned.
        private static func batch(length: Int, _ rows: [[(count: Int, prompt: Int)]], isPacked: Bool) -> LanguageBatch {
            var tokens = [Int32](repeating: 0, count: rows.count * length)
            var targets = [Int32](repeating: LanguageBatch.ignored, count: tokens.count)
            var documents = [Int32](repeating: -1, count: tokens.count)
            for (row, texts) in rows.enumerated() {
                var place = row * length
                for (document, text) in texts.enumerated() {
                    for token in 0..<text.count {
                        tokens[place + token] = Int32((row * 7 + document * 5 + token * (2 + row)) % 23)
                        documents[place + token] = Int32(document)
                    }
                    for token in text.prompt..<max(text.prompt, text.count - 1) {
                        targets[place + token] = tokens[place + token + 1]
                    }
                    place += text.count
                }
            }
            return LanguageBatch(
                rows: rows.count, length: length, tokens: tokens, targets: targets,
                valid: documents.map { $0 >= 0 }, documents: isPacked ? documents : nil)
        }
    }

    /// The weight of each place, from the definitions.
    private static func weights(_ batch: LanguageBatch, _ reduction: String) throws -> [Double] {
        var sequences: [[Int]: [Int]] = [:]
        for place in batch.targets.indices where batch.targets[place] >= 0 {
            sequences[[place / batch.length, Int(batch.documents?[place] ?? 0)], default: []].append(place)
        }
        let tokens = Double(sequences.values.reduce(0) { $0 + $1.count })
        var weights = [Double](repeating: 0, count: batch.targets.count)
        for places in sequences.values {
            for place in places {
                switch reduction {
                case "token-mean": weights[place] = 1 / tokens
                case "sequence-mean": weights[place] = 1 / Double(sequences.count * places.count)
                case "batch-mean": weights[place] = 1 / Double(sequences.count)
                case "element-mean": weights[place] = 1 / (tokens * 24)
                case "sum": weights[place] = 1
                default: throw RetortError.internalBug(reduction)
                }
            }
        }
        return weights
    }

    private static let objectives = [
        "loss: forward-kl, temperature: 2, alpha: 0.6", "loss: logit-mse, alpha: 0.3",
    ]

    /// A loss of one place in double.
    private static func loss(_ objective: String, _ z: [Double], _ y: [Double], _ label: Int) -> Double {
        guard objective.contains("forward-kl") else {
            return 0.3 * Float64Reference.mean(zip(z, y).map { ($0 - $1) * ($0 - $1) })
        }
        return 0.6 * 4
            * Float64Reference.divergence(
                Float64Reference.softmax(y, temperature: 2), Float64Reference.logSoftmax(z, temperature: 2))
            - 0.4 * Float64Reference.logSoftmax(z)[label]
    }

    private static func term(_ keys: String) throws -> LanguageArmTerm {
        try LanguageArmTerm(
            RecipeReader.readValue("{\(keys)}", .variant(key: "loss", LanguageObjectiveRegistry.sections)))
    }

    /// A batch in parts of so many rows, as a trainer goes through it.
    private static func backward(
        _ model: any LanguageModel, _ arena: ParameterArena, _ teacher: any LanguageModel, _ term: LanguageArmTerm,
        _ batch: LanguageBatch, rows: Int, on device: Device
    ) throws -> (loss: Double, gradient: [Float]) {
        let train = try RecipeReader.readValue(
            "{steps: 1, batch: 2, optimizer: {kind: sgd, lr: 0}}", .section(.languageTrain))
        let corpus = try TokenizedCorpus([TokenizedExample(tokens: [1, 2], isTarget: [false, true])])
        let trainer = try LanguageTrainer(
            model, arena, terms: [term], teachers: [LanguageTeacher(teacher, on: device)],
            data: LanguageBatches(corpus, batch: 2, seed: 0), spec: LanguageTrainSpec(nil, fallback: train), seed: 0,
            on: device)
        for parameter in model.parameters { parameter.clearGradient() }
        model.setTraining(false)
        let slot = try device.compute.empty([1], for: .data)
        let parts = stride(from: 0, to: batch.rows, by: rows).map { batch.rows($0..<min(batch.rows, $0 + rows)) }
        try trainer.backward(parts, lossInto: slot)
        let value: [Float] = try device.compute.read(slot)
        return (Double(value[0]), try model.parameters.flatMap { try $0.gradientValues() })
    }

    @Test(
        "each reduction is its definition, whole and in parts, padded and packed", arguments: TestBackend.fast,
        Layout.allCases)
    func definitions(_ backend: TestBackend, _ layout: Layout) throws {
        let device = try backend.device()
        let (student, arena) = try LanguageTeacherTests.Rig.model(1, on: device)
        let teacher = try LanguageTeacherTests.Rig.model(2, on: device).model
        let batch = layout.batch
        func logits(_ model: any LanguageModel) throws -> Tensor {
            try model.forward(TokenBatch(batch)).logits.reshaped([batch.targets.count, 24])
        }
        student.setTraining(false)
        let (own, theirs) = try Autograd.withoutGradients {
            (
                Float64Reference.rows(try logits(student).values().map(Double.init), 24),
                Float64Reference.rows(try logits(teacher).values().map(Double.init), 24)
            )
        }
        for objective in Self.objectives {
            var values: [Double] = []
            for reduction in TokenReduction.allCases.map(\.rawValue) {
                let what = "\(objective), \(reduction), \(layout)"
                let weights = try Self.weights(batch, reduction)
                let expected = weights.indices.filter { weights[$0] > 0 }.reduce(0.0) {
                    $0 + weights[$1] * Self.loss(objective, own[$1], theirs[$1], Int(batch.targets[$1]))
                }
                // The gradient of all logits at once.
                for parameter in student.parameters { parameter.clearGradient() }
                let rowWeights = try Tensor(weights.map { Float($0) }, [weights.count], on: device)
                let (z, y) = (try logits(student), try Autograd.withoutGradients { try logits(teacher) })
                let dense: Tensor
                if objective.contains("forward-kl") {
                    dense = try z.divergence(
                        Divergence(.forwardKL, temperature: 2, softWeight: 2.4, hardWeight: 0.4), teacher: y.view,
                        labels: device.compute.view(batch.targets, [batch.targets.count], .i32),
                        rowWeights: rowWeights.view
                    ).total
                } else {
                    dense = try ((z - y).squared().sum(-1) * rowWeights).sum() * (0.3 / 24)
                }
                try dense.backward()
                let gradient = try student.parameters.flatMap { try $0.gradientValues() }.map(Double.init)
                let largest = gradient.map { abs($0) }.max() ?? 0
                #expect(largest > 1e-4, "\(what)")

                let term = try Self.term("\(objective), reduction: \(reduction)")
                for rows in [batch.rows, 2, 1] {
                    let found = try Self.backward(student, arena, teacher, term, batch, rows: rows, on: device)
                    #expect(abs(found.loss - expected) < 1e-5 * expected, "\(what), \(rows): \(found.loss) \(expected)")
                    expectClose(found.gradient, gradient, absolute: 2e-5 * largest, "\(what), \(rows)")
                }
                values.append(expected)
            }
            // Each is another number.
            for (index, value) in values.enumerated() {
                for other in values[..<index] { #expect(abs(value - other) > 1e-3 * value, "\(objective): \(values)") }
            }
        }
    }

    @Test("of an encoder's tokens, at both kinds of places")
    func masked() {
        let batch = LanguageBatch(
            rows: 2, length: 4, tokens: [5, 6, 7, 8, 9, 10, 11, 0], targets: [-100, 3, 4, -100, -100, 2, -100, -100],
            valid: [true, true, true, true, true, true, true, false])
        func weights(_ places: TermPlaces, _ reduction: TokenReduction, _ classes: Int = 1) -> [Float] {
            PredictedPlaces(
                places, of: batch, learned: 3, size: 7, reduction: reduction, sequences: SequenceCount([batch])[places],
                classes: classes
            ).weights
        }
        #expect(weights(.masked, .sequenceMean) == [0.25, 0.25, 0.5])
        #expect(weights(.masked, .batchMean) == [0.5, 0.5, 0.5])
        #expect(weights(.masked, .elementMean, 10) == [Float](repeating: 1 / 30, count: 3))
        #expect(
            weights(.all, .sequenceMean)
                == [Float](repeating: 1 / 8, count: 4) + [Float](repeating: 1 / (2 * Float(3)), count: 3))
        #expect(weights(.all, .sum) == [Float](repeating: 1, count: 7))
        // Of a step without any such token nothing is divided by 0.
        let nothing = batch.rows(1..<2)
        let none = PredictedPlaces(
            .masked,
            of: LanguageBatch(
                rows: 1, length: 4, tokens: nothing.tokens, targets: [-100, -100, -100, -100], valid: nothing.valid),
            learned: 0, size: 3, reduction: .sequenceMean, sequences: 0)
        #expect(none.weights == [0] && none.places == [0])
        // Of pairs of answers every second row is the better one.
        #expect(SequenceCount([batch])[.chosen] == 1 && SequenceCount([batch, batch])[.masked] == 4)
    }

    @Test("TRL's reductions of its JSD", arguments: TestBackend.fast)
    func trl(_ backend: TestBackend) throws {
        let device = try backend.device()
        let tensors = try SafeTensors(path: Project.golden("losses/gjsd.safetensors"))
        let cases: [(name: String, reduction: TokenReduction, length: Int, classes: Int, items: Int?)] = [
            ("beta0.5_T1_lab", .tokenMean, 5, 13, nil), ("beta0.5_T1", .batchMean, 5, 13, nil),
            ("beta0.5_sum", .sum, 6, 11, nil), ("beta0.5_mean", .elementMean, 6, 11, nil),
            // Of a batch of 37 tokens, this is a part.
            ("beta0.5_batchmean_numitems", .tokenMean, 6, 11, 37),
        ]
        for one in cases {
            let count = 2 * one.length
            // Without labels all tokens count.
            let labels =
                one.name == "beta0.5_T1"
                ? [Int32](repeating: 1, count: count)
                : try tensors.int64s("\(one.name)/in/labels").map { $0 < 0 ? Int32(-100) : Int32($0) }
            let batch = LanguageBatch(
                rows: 2, length: one.length, tokens: [Int32](repeating: 0, count: count), targets: labels)
            let places = PredictedPlaces(
                .next, of: batch, learned: one.items ?? batch.targetCount, size: batch.tokenCount,
                reduction: one.reduction, sequences: SequenceCount([batch])[.next], classes: one.classes)
            func logits(_ who: String) throws -> Tensor {
                try Tensor(tensors.floats("\(one.name)/in/\(who)"), [count, one.classes], on: device)
            }
            let value = try logits("student").divergence(
                Divergence(.jsd, mix: 0.5), teacher: logits("teacher").view,
                rowWeights: device.compute.view(places.weights, [count])
            ).total.item()
            let expected = Double(try tensors.floats("\(one.name)/out/loss")[0])
            #expect(abs(Double(value) - expected) < 2e-6 * expected, "\(one.name): \(value) \(expected)")
        }
    }

    @Test("a loss that takes a reduction says in its contract what becomes of the mean")
    func contracts() throws {
        for type in LanguageObjectiveRegistry.all where !type.reductions.isEmpty {
            let name = type.section.name
            let usual = try Self.term("loss: \(name)").contract
            #expect(usual.contains("mean over valid tokens") && usual.contains("mask: label ≠ −100"), "\(usual)")
            for reduction in type.reductions {
                let own = try Self.term("loss: \(name), reduction: \(reduction.rawValue)").contract
                #expect((own == usual) == (reduction == .tokenMean), "\(own)")
            }
        }
        #expect(try Self.term("loss: tvd, reduction: sum").contract.contains(", sum over valid tokens, mask"))
        #expect(
            try Self.term("loss: tvd, reduction: sequence-mean, on: data").contract.contains(
                "mean over sequences of the mean over valid tokens of the data of each"))
        for type in ObjectiveRegistry.all where type.takesReduction {
            let objective = try ObjectiveRegistry.parse("{loss: \(type.section.name)}")
            let all = RowReduction.allCases.map { ArmTerm(objective, reduction: $0).contract }
            #expect(Set(all).count == RowReduction.allCases.count, "\(all)")
            // Of the mean over classes there is one already.
            let isTwice = type.section.name == "logit-mse"
            #expect(
                all[1].contains(isTwice ? "mean over rows and once more over classes" : "mean over rows and classes"))
        }
        // Losses of pairs, of what models hide, and of two kinds of texts have means of their own.
        for name in ["dpo", "hidden-states", "distillm2"] {
            let error = thrown(RetortError.self) { _ = try Self.term("loss: \(name), reduction: sum") }
            #expect(error?.exit == .recipe && "\(String(describing: error))".contains("reduction"), "\(name)")
        }
        let error = thrown(RetortError.self) { _ = try Self.term("loss: uld, reduction: element-mean") }
        #expect(error?.exit == .recipe)
    }

    @Test(
        "the teacher's entropy is of forward divergences alone",
        arguments: ["reverse-kl", "jsd", "jsd-continuous", "skew-reverse-kl", "tvd"])
    func entropy(_ loss: String) throws {
        let keys = "loss: \(loss), teacher-entropy: true"
        for read in [{ _ = try Self.term(keys) }, { _ = try ObjectiveRegistry.parse("{\(keys)}") }]
            as [() throws -> Void]
        {
            let error = thrown(RetortError.self) { try read() }
            #expect(error?.exit == .recipe && error?.what == "the loss \(loss) has no teacher's entropy to report")
            #expect(error?.location != nil && error?.help.contains("forward-kl") == true)
        }
        #expect(try !Self.term("loss: \(loss), teacher-entropy: false").contract.contains("entropy in"))
    }

    @Test("a teacher's entropy moves the value by itself and the gradient not at all", arguments: TestBackend.fast)
    func entropyOfTokens(_ backend: TestBackend) throws {
        let device = try backend.device()
        let (student, arena) = try LanguageTeacherTests.Rig.model(1, on: device)
        let teacher = try LanguageTeacherTests.Rig.model(2, on: device).model
        let batch = Layout.packed.batch
        let logits = try Autograd.withoutGradients {
            try teacher.forward(TokenBatch(batch)).logits.values().map(Double.init)
        }
        for (objective, temperature) in [
            ("loss: hinton, temperature: 3, alpha: 0.7", 3.0), ("loss: skew-kl, lambda: 0.2, alpha: 0.7", 1),
        ] {
            let learned = batch.targets.indices.filter { batch.targets[$0] >= 0 }
            let entropy = Float64Reference.mean(
                learned.map {
                    Float64Reference.entropy(
                        Float64Reference.softmax(Array(logits[$0 * 24..<($0 + 1) * 24]), temperature: temperature))
                })
            func run(_ keys: String) throws -> (loss: Double, gradient: [Float]) {
                try Self.backward(student, arena, teacher, Self.term(objective + keys), batch, rows: 2, on: device)
            }
            let (without, with) = (try run(""), try run(", teacher-entropy: true"))
            let expected = without.loss + 0.7 * temperature * temperature * entropy
            #expect(abs(with.loss - expected) < 1e-5 * expected, "\(objective): \(with.loss) \(expected)")
            let largest = without.gradient.map { Double(abs($0)) }.max() ?? 0
            expectClose(with.gradient, without.gradient.map(Double.init), absolute: 1e-5 * largest, objective)
        }
    }
}
