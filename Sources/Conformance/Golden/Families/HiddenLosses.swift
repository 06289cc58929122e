import RetortDistillation
import RetortKernels
import RetortRuntime
import RetortSupport

/// Losses of what language models hide: states and relations between tokens.
extension GoldenFamilies {
    /// MiniLM: attention's and values' relations of one head each (v1), or those of queries, keys and values cut anew (v2).
    static let relationsOfTokens = TensorFamily { trial in
        let mask = try trial.labels("mask")
        let shape = try trial.shape("mask")
        let real = Float(mask.count { $0 != 0 })
        let weights = try Tensor(mask.map { $0 == 0 ? 0 : 1 / real }, shape, on: trial.device)
        let hidden = try Tensor(mask.map { $0 == 0 ? -1e9 : 0 }, [shape[0], 1, 1, shape[1]], on: trial.device)
        func relation(_ name: String, _ scores: (String) throws -> Tensor) throws -> Tensor {
            let loss = try scores("s").relationDivergence(scores("t"), hidden: hidden, weights: weights)
            trial.give(name, loss)
            return loss
        }
        let kind = try trial.parameters.word("kind")
        switch kind {
        case "v1":
            let attention = try relation("attention") { who in
                try trial.tensor("\(who)_q").relationScores(trial.tensor("\(who)_k"))
            }
            let value = try relation("value") { who in
                let values = try trial.tensor("\(who)_v")
                return try values.relationScores(values)
            }
            trial.give("loss", try attention + value)
        case "v2":
            let heads = try trial.parameters.integer("R")
            let parts = try ["q", "k", "v"].map { letter in
                try relation(letter + letter) { who in
                    let x = try trial.tensor("\(who)_\(letter)")
                    let cut = try x.reshaped([x.shape[0], x.shape[1], 1, x.shape[2]]).byHeads(heads)
                    return try cut.relationScores(cut)
                }
            }
            trial.give("loss", try parts[0] + parts[1] + parts[2])
        default: throw GoldenParameters.unknownValue("kind", kind)
        }
    }

    /// DistilBERT's divergence, masked-language-model and cosine losses.
    static let distilBERT = TensorFamily { trial in
        let parameters = trial.parameters
        let (mask, labels) = (try trial.labels("mask"), try trial.labels("labels"))
        let shape = try trial.shape("mask")
        let temperature = try parameters.number("T")
        let real = Float(mask.count { $0 != 0 })
        let weights = try Tensor(mask.map { $0 == 0 ? 0 : 1 / real }, shape, on: trial.device)
        let student = try trial.tensor("student")
        let divergence = try student.divergence(
            Divergence(
                .forwardKL, temperature: Float(temperature), softWeight: Float(temperature * temperature)),
            teacher: trial.tensor("teacher").view, rowWeights: weights.view.reshaped([mask.count])
        ).total
        let known = labels.count { $0 != -100 }
        let language = try student.crossEntropy(trial.view(labels), scale: 1 / Float(max(1, known))).total
        let cosine = try trial.tensor("s_hidden").hiddenDistance(
            trial.tensor("t_hidden"), form: .cosine, weights: weights)
        trial.give("kl", divergence)
        trial.give("mlm", language)
        trial.give("cos", cosine)
        trial.give(
            "loss",
            try divergence * parameters.float("a_ce") + language * parameters.float("a_mlm")
                + cosine * parameters.float("a_cos"))
    }

    /// TextBrewer's intermediate losses: those of our recipes; the others are not built.
    static let hiddenFeatures: TensorFamily = {
        var family = TensorFamily { trial in
            let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
            let mask = trial.has("mask") ? try trial.labels("mask") : nil
            let kind = try trial.parameters.word("kind")
            switch kind {
            case "att_mse":
                let (rows, length) = (student.shape[0], student.shape[2])
                guard let mask else { throw GoldenParameters.unknownValue("mask", "none") }
                let lengths = (0..<rows).map { row in mask[row * length..<(row + 1) * length].count { $0 != 0 } }
                let pairs = Float(lengths.reduce(0) { $0 + $1 * $1 })
                var weights: [Float] = []
                for row in 0..<rows {
                    for query in 0..<length {
                        for key in 0..<length {
                            let counts = mask[row * length + query] != 0 && mask[row * length + key] != 0
                            weights.append(counts ? 1 / pairs : 0)
                        }
                    }
                }
                trial.give(
                    "loss",
                    try student.scoreDistance(
                        teacher, weights: Tensor(weights, [rows, length, length], on: trial.device)))
            case "hid_mse":
                let shape = student.shape.prefix(2)
                let mask = mask ?? [Int32](repeating: 1, count: shape[0] * shape[1])
                let real = Float(mask.count { $0 != 0 })
                let weights = try Tensor(mask.map { $0 == 0 ? 0 : 1 / real }, shape, on: trial.device)
                trial.give("loss", try student.hiddenDistance(teacher, form: .mse, weights: weights))
            case "pkd":
                // Of the first token of each row.
                let (rows, length) = (student.shape[0], student.shape[1])
                let weights = (0..<rows * length).map { $0 % length == 0 ? 1 / Float(rows) : 0 }
                trial.give(
                    "loss",
                    try student.hiddenDistance(
                        teacher, form: .normalized, weights: Tensor(weights, [rows, length], on: trial.device)))
            default: throw GoldenParameters.unknownValue("kind", kind)
            }
        }
        family.skipNames = ["att_mse", "att_ce", "att_ce_mask", "mmd", "fsp_text"]
        return family
    }()
}
