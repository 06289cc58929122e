import RetortKernels
import RetortSupport

/// What the training of a teacher or of an arm's student will take.
public struct PlannedRole: Sendable {
    public let name: String
    /// Numbers of the model.
    public let parameters: Int
    /// Those that are trained; of a model with adapters the adapters' alone.
    public let trained: Int
    public let batch: Batch
    /// Optimizer steps of one seed.
    public let steps: Int
    /// Of the step that takes most: what the run will report as `peak_bytes`, and what it is made of.
    public let memory: MemoryReport
    /// What models that only teach hold of it.
    public let teacher: [Purpose: Int]
    /// Bytes that the program takes from the device for it, between steps too: while models are measured or write.
    public let taken: Int
    /// Bytes of the largest piece asked for at once.
    public let largestPiece: Int
    /// Of all steps of one seed.
    let work: Rehearsal.Work
    /// What the numbers leave open.
    public let notes: [String]

    /// What a step goes through.
    public struct Batch: Sendable {
        /// Examples, and those of one forward and backward pass.
        public let rows: Int
        public let part: Int
        /// Tokens of the largest batch and of a usual one, padding included; nil where there are none.
        public var tokens: (largest: Int, usual: Int)?
    }

    /// Floating-point operations and bytes of a step, the mean over all.
    public var stepCost: Cost { (work * (1 / Double(max(1, steps)))).cost }
    /// Estimated, of one seed.
    public var seconds: Double { work.seconds }

    /// What memory is for, by name, in the order in which it is shown.
    static let purposes = [
        "parameters", "gradients", "optimizer", "activations", "loss_chunk", "kv_cache", "workspace", "data", "teacher",
    ]

    /// Bytes by the names of `purposes`.
    func bytes(_ report: [Purpose: Int]) -> [(name: String, bytes: Int)] {
        func own(_ purpose: Purpose) -> Int { report[purpose, default: 0] - teacher[purpose, default: 0] }
        let teaching = teacher.values.reduce(0, +)
        let values = [
            own(.parameters), own(.gradients), own(.optimizer), own(.activations), own(.logits), own(.cache),
            own(.workspace), own(.data), teaching,
        ]
        return Array(zip(Self.purposes, values))
    }

    var json: JSON {
        func object(_ report: [Purpose: Int]) -> JSON {
            .object(bytes(report).map { (key: $0.name, value: .int($0.bytes)) })
        }
        var batch: [(key: String, value: JSON)] = [("rows", .int(self.batch.rows)), ("part", .int(self.batch.part))]
        if let tokens = self.batch.tokens {
            batch += [("largest_tokens", .int(tokens.largest)), ("usual_tokens", .int(tokens.usual))]
        }
        return [
            "role": .string(name), "parameters": .int(parameters), "trainable_parameters": .int(trained),
            "batch": .object(batch), "steps": .int(steps), "peak_bytes": .int(memory.peak),
            "at_peak": object(memory.atPeak),
            "largest": object(memory.most), "taken_bytes": .int(taken), "largest_piece_bytes": .int(largestPiece),
            "flops_per_step": .double(stepCost.flops), "bytes_per_step": .double(stepCost.bytes),
            "estimated_step_us": .double(seconds / Double(max(1, steps)) * 1e6), "estimated_seconds": .double(seconds),
            "notes": .array(notes.map(JSON.string)),
        ]
    }
}
