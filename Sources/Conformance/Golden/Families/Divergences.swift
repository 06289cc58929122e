import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// KL in both directions: from the fused kernel (the teacher is a constant there), and from softmax and sums, where
    /// the teacher has a gradient too.
    static let klDivergence = TensorFamily([
        GoldenWay("fused", constants: ["teacher"]) { trial in
            let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
            let direction = try trial.parameters.word("direction")
            let kind: DivergenceKind
            switch direction {
            case "forward": kind = .forwardKL
            case "reverse": kind = .reverseKL
            default: throw GoldenParameters.unknownValue("direction", direction)
            }
            let op = Divergence(
                kind, temperature: try trial.parameters.float("T"), scale: try scale(trial, student.shape))
            let loss = try student.divergence(op, teacher: teacher.view)
            guard let perRow = loss.divergence else { throw RetortError.badData("no divergence per row") }
            trial.give("per_row", try perRow.reshaped(student.shape.dropLast()))
            trial.give("loss", loss.total)
        },
        GoldenWay("composed") { trial in
            let temperature = try trial.parameters.float("T")
            let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
            let isForward = try trial.parameters.word("direction") == "forward"
            let (first, second) = isForward ? (teacher, student) : (student, teacher)
            let perRow = try Tensor.klDivergence(
                first.logSoftmax(temperature: temperature), second.logSoftmax(temperature: temperature))
            trial.give("per_row", perRow)
            let scale = try scale(trial, student.shape)
            trial.give("loss", try perRow.sum() * scale)
            // Softmax in float32 rounds each logarithm; the fused kernel cancels that, a composition cannot quite.
            trial.allow("loss", asSumOf: "per_row", share: Double(scale) * Double(perRow.count))
        },
    ])

    /// What the sum over all rows is multiplied by.
    private static func scale(_ trial: GoldenTrial, _ shape: Dimensions) throws -> Float {
        let reduction = try trial.parameters.word("reduction")
        switch reduction {
        case "sum": return 1
        case "batchmean": return 1 / Float(shape[0])
        case "rowmean": return 1 / Float(shape.dropLast().product)
        case "mean": return 1 / Float(shape.product)
        default: throw GoldenParameters.unknownValue("reduction", reduction)
        }
    }

    /// alpha · T² · KL + (1 − alpha) · CE, with both parts.
    static let hinton = TensorFamily { trial in
        let (temperature, alpha) = (try trial.parameters.number("T"), try trial.parameters.number("alpha"))
        let student = try trial.tensor("student")
        let rows = student.shape[0]
        let op = Divergence(
            .forwardKL, temperature: Float(temperature), softWeight: Float(alpha * temperature * temperature),
            hardWeight: Float(1 - alpha), reportedFactor: Float(temperature * temperature), scale: 1 / Float(rows))
        let labels = try trial.view(trial.labels("target"))
        let loss = try student.divergence(op, teacher: trial.tensor("teacher").view, labels: labels)
        guard let divergence = loss.divergence, let crossEntropy = loss.crossEntropy else {
            throw RetortError.badData("the parts of the loss are missing")
        }
        trial.give("loss", loss.total)
        trial.give("kd", try divergence.mean())
        trial.give("ce", try crossEntropy.mean())
    }

    /// GKD's generalised Jensen–Shannon divergence, with TRL's reductions.
    static let generalizedJSD = DivergencePath.family { trial, path in
        let op = Divergence(
            .jsd, mix: try trial.parameters.float("beta"), temperature: try trial.parameters.float("T"),
            scale: try jsdScale(trial, try trial.shape("student")))
        let labels = trial.has("labels") ? try trial.labels("labels") : nil
        let weights = try labels.map { labels in
            try trial.device.compute.view(labels.map { $0 == -100 ? Float(0) : 1 }, [labels.count])
        }
        trial.give("loss", try path.loss(op, trial, rowWeights: weights).total)
    }

    /// What the sum over unmasked rows is multiplied by: TRL's batchmean counts unmasked tokens when there are labels,
    /// else the first dimension; mean counts unmasked elements; a given number of items replaces the count.
    private static func jsdScale(_ trial: GoldenTrial, _ shape: Dimensions) throws -> Float {
        let classes = shape[shape.count - 1]
        let labels = trial.has("labels") ? try trial.labels("labels") : nil
        let valid = labels.map { $0.count { $0 != -100 } }
        let reduction = try trial.parameters.word("reduction")
        if let items = try trial.parameters.integer(ifPresent: "num_items") { return 1 / Float(items) }
        switch reduction {
        case "sum": return 1
        case "batchmean": return 1 / Float(valid ?? shape[0])
        case "mean": return 1 / Float((valid ?? shape.dropLast().product) * classes)
        default: throw GoldenParameters.unknownValue("reduction", reduction)
        }
    }

    /// Token losses in DistiLLM's form, averaged over the tokens that count; row weights come from the device.
    static let tokenDivergence = DivergencePath.family { trial, path in
        let name = try trial.parameters.word("kind")
        guard let kind = tokenKinds[name] else { throw GoldenParameters.unknownValue("kind", name) }
        let lambda = try trial.parameters.float("lam", default: 0)
        // Their JS mixes λ of the student, ours β of the teacher.
        let op = Divergence(kind, mix: kind == .jsd ? 1 - lambda : lambda)
        let weights = try Tensor.tokenWeights(trial.view(trial.labels("labels")), on: trial.device)
        trial.give("loss", try path.loss(op, trial, rowWeights: weights).total)
    }

    /// Hinton's loss of a causal language model: each position against its successor's label, averaged over those that have one.
    static let languageModel = DivergencePath.family { trial, path in
        let (temperature, alpha) = (try trial.parameters.number("T"), try trial.parameters.number("alpha"))
        let shape = try trial.shape("student")
        let labels = try trial.labels("labels")
        let successors = labels.indices.map { ($0 + 1) % shape[1] == 0 ? Int32(-100) : labels[$0 + 1] }
        let targets = try trial.view(successors)
        let valid = successors.count { $0 != -100 }
        let op = Divergence(
            .forwardKL, temperature: Float(temperature), softWeight: Float(alpha * temperature * temperature),
            hardWeight: Float(1 - alpha), reportedFactor: Float(temperature * temperature))
        let weights = try Tensor.tokenWeights(targets, divisor: Float(valid), on: trial.device)
        let loss = try path.loss(op, trial, labels: targets, rowWeights: weights)
        guard let divergence = loss.parts.divergence, let crossEntropy = loss.parts.crossEntropy else {
            throw RetortError.badData("the parts of the loss are missing")
        }
        trial.give("loss", loss.total)
        // Rows that do not count are 0.
        trial.give("kd", try divergence.sum() * (1 / Float(valid)))
        trial.give("ce", try crossEntropy.sum() * (1 / Float(valid)))
    }

    private static let tokenKinds: [String: DivergenceKind] = [
        "fkl": .forwardCrossEntropy, "fkl_true": .forwardKL, "rkl": .reverseKL, "sym": .symmetric, "js": .jsd,
        "tvd": .totalVariation, "sfkl": .skewCrossEntropy, "sfkl_true": .skewKL, "srkl": .skewReverseKL,
    ]
}
