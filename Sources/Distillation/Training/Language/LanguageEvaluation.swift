import Foundation
import RetortKernels
import RetortModels
import RetortRuntime

/// How well a language model predicts the tokens of examples, and how it differs from a teacher. Means over all tokens that are to be
/// predicted, in nats.
struct LanguageEvaluation: Sendable {
    private(set) var tokens = 0
    /// Mean of −ln q(token).
    private(set) var crossEntropy = 0.0
    /// Share of tokens that are the likeliest.
    private(set) var accuracy = 0.0
    /// Against the teacher; nil without one.
    private(set) var comparison: Comparison?

    struct Comparison: Sendable {
        /// Mean of KL(teacher ‖ student) and of KL(student ‖ teacher).
        var forward = 0.0
        var reverse = 0.0
        /// Share of tokens for which both find the same successor likeliest.
        var agreement = 0.0
    }

    var perplexity: Double { exp(crossEntropy) }

    /// - Parameter rows: examples that go through the models at once.
    init(
        _ model: any LanguageModel, _ data: any TokenExamples, teacher: (any LanguageModel)? = nil, rows: Int,
        on device: Device
    ) throws {
        model.setTraining(false)
        teacher?.setTraining(false)
        var sums = Sums()
        for start in stride(from: 0, to: data.count, by: max(1, rows)) {
            let batch = try data.batch(start..<min(data.count, start + max(1, rows)))
            try Autograd.withoutGradients { try sums.add(batch, model, teacher, on: device) }
        }
        tokens = sums.tokens
        let count = Double(max(1, tokens))
        crossEntropy = sums.crossEntropy / count
        accuracy = Double(sums.hits) / count
        comparison = teacher.map { _ in
            Comparison(
                forward: sums.forward / count, reverse: sums.reverse / count, agreement: Double(sums.same) / count)
        }
    }

    private struct Sums {
        var tokens = 0
        var crossEntropy = 0.0
        var hits = 0
        var forward = 0.0
        var reverse = 0.0
        var same = 0

        mutating func add(
            _ batch: LanguageBatch, _ model: any LanguageModel, _ teacher: (any LanguageModel)?, on device: Device
        ) throws {
            let ids = try TokenBatch(batch)
            let count = batch.targets.count
            let logits = try model.forward(ids).logits.reshaped([count, model.vocabulary])
            let labels = try device.compute.view(batch.targets, [count], .i32)
            let places = batch.targets.indices.filter { batch.targets[$0] != LanguageBatch.ignored }
            let losses = try logits.crossEntropyPerRow(labels).values()
            let best = try device.compute.read(logits.argmax(-1), as: Int32.self)
            tokens += places.count
            for place in places {
                crossEntropy += Double(losses[place])
                if best[place] == batch.targets[place] { hits += 1 }
            }
            guard let teacher else { return }
            let taught = try teacher.forward(ids).logits.reshaped([count, model.vocabulary])
            let theirs = try device.compute.read(taught.argmax(-1), as: Int32.self)
            let there = try logits.divergence(Divergence(.forwardKL), teacher: taught.view).perRow.values()
            let back = try logits.divergence(Divergence(.reverseKL), teacher: taught.view).perRow.values()
            for place in places {
                forward += Double(there[place])
                reverse += Double(back[place])
                if best[place] == theirs[place] { same += 1 }
            }
        }
    }
}

/// Median time of a forward pass of one example, in microseconds, everything enqueued and waited for.
func forwardLatency(_ model: any LanguageModel, _ data: any TokenExamples, on device: Device) throws -> Double {
    model.setTraining(false)
    let tokens = try TokenBatch(data.batch([0]))
    return try medianMicroseconds(on: device) { _ = try Autograd.withoutGradients { try model.forward(tokens) } }
}
