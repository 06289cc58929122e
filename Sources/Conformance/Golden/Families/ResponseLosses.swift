import RetortDistillation
import RetortModels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Losses of two models' logits that are no divergence of their softmax alone.
    static let logitVariants = TensorFamily { trial in
        let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
        let temperature = try trial.parameters.float("T")
        let kind = try trial.parameters.word("kind")
        switch kind {
        case "mse_logits":
            trial.give("loss", try student.logitRegression(teacher: teacher, temperature: temperature))
        case "ce_soft": trial.give("loss", try student.softCrossEntropy(teacher: teacher, temperature: temperature))
        case "logit_std":
            trial.give("loss", try student.standardizedDivergence(teacher: teacher, temperature: temperature))
        case "dist":
            let (beta, gamma) = (try trial.parameters.float("beta"), try trial.parameters.float("gamma"))
            let parts = try student.correlationDistance(teacher: teacher, temperature: temperature)
            trial.give("loss", try parts.inter * beta + parts.intra * gamma)
            trial.give("inter", parts.inter)
            trial.give("intra", parts.intra)
        default: throw GoldenParameters.unknownValue("kind", kind)
        }
    }

    static let decoupled = TensorFamily { trial in
        let student = try trial.tensor("student")
        let parts = try student.decoupledDivergence(
            teacher: trial.tensor("teacher"), labels: trial.view(trial.labels("target")),
            temperature: trial.parameters.float("T"))
        trial.give(
            "loss", try parts.target * trial.parameters.float("alpha") + parts.others * trial.parameters.float("beta"))
        trial.give("tckd", parts.target)
        trial.give("nckd", parts.others)
    }

    /// Two peers that teach each other, each with the losses of a recipe's mutual arm.
    static let mutual = TensorFamily { trial in
        let (a, b) = (try trial.tensor("z1"), try trial.tensor("z2"))
        let labels = try trial.view(trial.labels("target"))
        let temperature = try trial.parameters.float("T")
        let objectives = try ["{loss: cross-entropy}", "{loss: forward-kl, temperature: \(temperature)}"]
            .compactMap { try ObjectiveRegistry.parse($0) as? any LogitObjective }
        func loss(_ own: Tensor, peer: Tensor) throws -> Tensor {
            let input = ObjectiveInput(student: own, teacher: peer, labels: labels)
            return try objectives[0].loss(input) + objectives[1].loss(input)
        }
        let (first, second) = (try loss(a, peer: b), try loss(b, peer: a))
        trial.give("loss1", first)
        trial.give("loss2", second)
        trial.give("loss", try first + second)
    }

    static let multiTeacher = TensorFamily { trial in
        let student = try trial.tensor("student")
        let teachers = try stack(trial, "teachers")
        let labels = try trial.view(trial.labels("target"))
        let mode = try trial.parameters.word("mode")
        let combination: TeacherCombination =
            switch mode {
            case "mean_prob": .meanProbabilities
            case "mean_logits": .meanLogits
            case "weighted_loss": .weights(try trial.numbers("weights").values)
            case "confidence": .confidence
            default: throw GoldenParameters.unknownValue("mode", mode)
            }
        let divergence = try student.divergence(
            fromTeachers: teachers, combination, labels: labels, temperature: trial.parameters.float("T"))
        let alpha = try trial.parameters.float("alpha")
        let hard = try student.crossEntropy(labels, scale: 1 / Float(student.shape[0])).total
        trial.give("kd", divergence)
        trial.give("loss", try divergence * alpha + hard * (1 - alpha))
    }

    /// What federated rounds compute; told apart by their inputs.
    static let federated = TensorFamily { trial in
        if trial.has("n") {
            let weights = try trial.tensor("weights")
            let device = trial.device.compute
            let shape = weights.shape.dropFirst()
            let mean = try device.empty(shape)
            try FedAvg.average(
                (0..<weights.shape[0]).map { weights.view.slice($0..<($0 + 1)).reshaped(shape) },
                examples: trial.labels("n").map(Int.init), into: mean, on: device)
            trial.give("w", Tensor(view: mean, on: trial.device))
        } else if trial.has("w_global") {
            let mu = try trial.parameters.float("mu")
            trial.give("loss", try trial.tensor("w").proximalTerm(global: trial.tensor("w_global"), mu: mu))
        } else {
            let clients = try stack(trial, "all")
            let temperature = try trial.parameters.float("T")
            // FedMD's consensus is the mean of logits, FedDF's that of probabilities.
            let isClient = trial.has("client")
            let student = try trial.tensor(isClient ? "client" : "student")
            let term = ConsensusTerm(.divergence(temperature: temperature), on: trial.device)
            term.targets = try ConsensusTerm.target(
                of: clients, isClient ? .meanLogits : .meanProbabilities, temperature: temperature)
            let rows = (0..<Int32(student.shape[0])).map { $0 }
            let ids = try trial.device.compute.view(rows, [rows.count], .i32)
            trial.give(
                "loss",
                try term.loss(
                    ObjectiveInput(student: ModelOutput(logits: student), teachers: [], labels: ids, ids: ids)))
        }
    }

    /// The slices of an input's first dimension.
    private static func stack(_ trial: GoldenTrial, _ name: String) throws -> [Tensor] {
        let all = try trial.tensor(name)
        return try (0..<all.shape[0]).map { try all.slice($0..<($0 + 1)).reshaped(all.shape.dropFirst()) }
    }
}
