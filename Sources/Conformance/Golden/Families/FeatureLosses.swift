import RetortDistillation
import RetortKernels
import RetortRuntime
import RetortSupport

extension GoldenFamilies {
    /// Hints behind a regressor: a linear layer or a convolution, plain or with batch norm of the batch and ReLU.
    static let hints = TensorFamily { trial in
        let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
        let (weight, bias) = (try trial.tensor("weight"), try trial.tensor("bias"))
        if weight.rank == 2 {
            _ = try trial.parameters.word("kind")
            return trial.give("loss", try student.linear(weight, bias: bias).hintDistance(teacher))
        }
        let geometry = Conv2dGeometry(
            stride: try trial.parameters.integer("stride"), padding: try trial.parameters.integer("padding"))
        let mapped = try student.conv2d(weight, bias: bias, geometry: geometry)
        let kind = try trial.parameters.word("kind")
        switch kind {
        case "conv1x1": trial.give("loss", try mapped.hintDistance(teacher))
        case "conv1x1_bn_relu", "conv3x3s2_bn_relu":
            let channels = weight.shape[0]
            let device = trial.device.compute
            let running = RunningStatistics(
                mean: try Tensor.full(0, [channels], on: device).view,
                variance: try Tensor.full(1, [channels], on: device).view)
            let normal = try mapped.batchNorm(
                weight: trial.tensor("gamma"), bias: trial.tensor("beta"), running: running, training: true, relu: true)
            trial.give("loss", try normal.hintDistance(teacher))
        default: throw GoldenParameters.unknownValue("kind", kind)
        }
    }

    static let attentionTransfer = TensorFamily { trial in
        let power = try trial.parameters.integer("p")
        let losses = try (0..<trial.parameters.integer("pairs")).map {
            try trial.tensor("student\($0)").attentionDistance(trial.tensor("teacher\($0)"), power: power)
        }
        guard let first = losses.first else { throw RetortError.badData("no pairs") }
        trial.give("loss", try losses.dropFirst().reduce(first) { try $0 + $1 })
    }

    static let solutionFlow = TensorFamily { trial in
        trial.give(
            "loss",
            try Tensor.flowDistance(
                student: (trial.tensor("s_bot"), trial.tensor("s_top")),
                teacher: (trial.tensor("t_bot"), trial.tensor("t_top"))))
    }

    static let classAttention = TensorFamily { trial in
        trial.give(
            "loss",
            try trial.tensor("student").classAttentionDistance(
                trial.tensor("teacher"), pool: trial.parameters.integer("r"),
                normalize: trial.parameters.flag("normalize")))
    }

    /// ReviewKD's loss of one level, and the overhaul's partial distance.
    static let reviewAndOverhaul = TensorFamily { trial in
        let (student, teacher) = (try trial.tensor("student"), try trial.tensor("teacher"))
        let kind = try trial.parameters.word("kind")
        switch kind {
        case "hcl": trial.give("loss", try student.hierarchicalContextLoss(teacher))
        case "ofd": trial.give("loss", try student.partialDistance(teacher, margin: trial.tensor("margin")))
        default: throw GoldenParameters.unknownValue("kind", kind)
        }
    }

    /// CRD with its negatives given. Memory 1 holds the student's embeddings, memory 2 the teacher's.
    static let contrastive = TensorFamily { trial in
        let (temperature, momentum) = (try trial.parameters.float("tau"), try trial.parameters.float("momentum"))
        let (negatives, examples) = (try trial.parameters.integer("K"), try trial.parameters.integer("num_data"))
        let places = try ContrastPlaces(trial, examples: examples)
        func memory(_ name: String, z: String) throws -> ContrastMemory {
            let given = try trial.parameters.float(z)
            return ContrastMemory(
                try trial.tensor(name),
                normalizer: given < 0 ? nil : try Tensor.full(given, [], on: trial.device.compute))
        }
        // Z1 divides the student's scores against the teacher's memory.
        let (students, teachers) = (try memory("mem1", z: "Z2"), try memory("mem2", z: "Z1"))
        func embedding(_ side: String) throws -> Tensor {
            try trial.tensor("f_" + side).linear(trial.tensor("w" + side), bias: trial.tensor("b" + side)).normalized()
        }
        let (v, w) = (try embedding("s"), try embedding("t"))
        let noise = ContrastNoise(negatives: negatives, examples: examples)
        func loss(_ x: Tensor, _ memory: ContrastMemory) throws -> Tensor {
            try x.contrastiveLoss(
                memory, positives: places.positives, negatives: places.negatives, noise: noise, temperature: temperature
            )
        }
        trial.give("loss", try loss(v, teachers) + loss(w, students))
        guard let z1 = teachers.normalizer, let z2 = students.normalizer else { throw RetortError.badData("no Z") }
        trial.give("Z1", z1)
        trial.give("Z2", z2)
        // Copies: the tape of the loss still reads the memories.
        for (name, embeddings) in [("mem1", v), ("mem2", w)] {
            let memory = ContrastMemory(try trial.tensor(name))
            try memory.update(places.positives, embeddings, momentum: momentum)
            trial.give(name + "_new", memory.rows)
        }
    }

    /// Indices [rows, 1 + negatives] as counts [rows, examples]; the first is the row's own example.
    private struct ContrastPlaces {
        let positives: Tensor
        let negatives: Tensor

        init(_ trial: GoldenTrial, examples: Int) throws {
            let indices = try trial.labels("idx").map(Int.init)
            let shape = try trial.shape("idx")
            var counts = (
                [Float](repeating: 0, count: shape[0] * examples), [Float](repeating: 0, count: shape[0] * examples)
            )
            for (place, index) in indices.enumerated() {
                let at = place / shape[1] * examples + index
                if place % shape[1] == 0 { counts.0[at] += 1 } else { counts.1[at] += 1 }
            }
            positives = try Tensor(counts.0, [shape[0], examples], on: trial.device)
            negatives = try Tensor(counts.1, [shape[0], examples], on: trial.device)
        }
    }
}
