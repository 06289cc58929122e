import RetortModels
import RetortRuntime
import TestSupport
import Testing

@testable import RetortDistillation

/// A step learns from the tokens of its batch: neither the parts that it is gone through in nor the order of its rows count.
@Suite("Batches of language models")
struct LanguageBatchTests {
    /// Forty texts of different lengths that count up, five batches of eight.
    private static let examples = (0..<40).map { row in
        let tokens = (0..<(10 - row % 4)).map { Int32((row * 7 + $0 * (1 + row % 5)) % 24) }
        return TokenizedExample(tokens: tokens, isTarget: tokens.map { _ in true })
    }

    /// The loss of each step and the weights at the end; momentum keeps every difference of a gradient.
    private func outcome(
        _ arm: String, microBatch: Int? = nil, examples: [TokenizedExample] = Self.examples, steps: Int,
        on device: Device
    ) throws -> [[Float]] {
        let part = microBatch.map { ", micro-batch: \($0)" } ?? ""
        let train = "{optimizer: {kind: sgd, lr: 0.01, momentum: 0.9}, schedule: {kind: constant}, clip: 0\(part)}"
        let training = try SmallTraining(
            "{\(arm), train: \(train)}", deviation: 0.4, examples: examples, ends: [2, 3, 8, 17], on: device)
        let losses = try training.trainer.train(steps: steps)
        #expect(losses.count == steps)
        return [losses, try training.weights()]
    }

    private func expectSame(_ found: [[Float]], _ expected: [[Float]], _ what: String) {
        for (own, other) in zip(found, expected) {
            let largest = other.map { Double(abs($0)) }.max() ?? 0
            expectClose(own, other.map(Double.init), absolute: 5e-5 * largest, what)
        }
    }

    /// Those of a collection learn for six steps from texts that the start wrote, mixtures with a teacher's say in every token: what a token
    /// counts is then another number for each, which has to go with its part. Those that write in every step do so with weights that differ in
    /// the last bits, which changes one token in a million.
    private static let inParts = [
        "objective: [{loss: hinton, temperature: 2, alpha: 0.5}, {loss: akl}]",
        "objective: [{loss: hinton, alpha: 0.5, reduction: sequence-mean}, {loss: akl, alpha: 0.1, reduction: batch-mean}]",
        "objective: [{loss: hidden-states, layers: last}, {loss: minilm}]",
        "objective: [{loss: jsd}], rollouts: {kind: student, share: 1, max-new-tokens: 6, prompt-tokens: 3}",
        "objective: [{loss: sampled-reverse-kl, reduction: sequence-mean}], rollouts: {kind: student, share: 1, max-new-tokens: 6, prompt-tokens: 3}",
        "objective: [{loss: minillm}], rollouts: {kind: mixed, share: 0.4, collect: 24, epochs: 2, max-new-tokens: 6, prompt-tokens: 3}",
        "objective: [{loss: minillm, clip: 0.05, single-step: 0.5}, {loss: cross-entropy, on: plain}], rollouts: {kind: mixed, share: 0.3, collect: 24, epochs: 2, max-new-tokens: 6, prompt-tokens: 3}",
        "objective: [{loss: sampled-reverse-kl}], rollouts: {kind: student, share: 1, max-new-tokens: 6, prompt-tokens: 3}",
        "objective: [{loss: sampled-reverse-kl, clip: 0.1}], rollouts: {kind: mixed, share: 0.3, collect: 24, epochs: 2, max-new-tokens: 6, prompt-tokens: 3}",
        "objective: [{loss: distillm2}], rollouts: {kind: pairs, collect: 24, epochs: 2, max-new-tokens: 6, prompt-tokens: 3}",
    ]

    @Test("parts of 3 and of 1 are as the whole", arguments: TestBackend.fast, inParts)
    func parts(_ backend: TestBackend, _ arm: String) throws {
        let device = try backend.device()
        let whole = try outcome(arm, steps: 6, on: device)
        for size in [3, 1] {
            let parts = try outcome(arm, microBatch: size, steps: 6, on: device)
            expectSame(parts, whole, "\(arm) in parts of \(size)")
            #expect(parts != whole, "it was not gone through in parts")
        }
    }

    /// What is drawn goes by a text's place in the batch, and so do dropout's masks: of texts that models write only the likeliest are the same
    /// in any order. `PolicyLossTests` has texts that were drawn in another.
    private static let inAnyOrder = [
        "objective: [{loss: cross-entropy}]",
        "objective: [{loss: hinton, temperature: 2, alpha: 0.5}, {loss: dkd}]",
        "objective: [{loss: jsd}, {loss: akl}]",
        "objective: [{loss: hidden-states, layers: last}, {loss: minilm}]",
        "objective: [{loss: jsd}], rollouts: {kind: student, share: 1, temperature: 0, max-new-tokens: 6, prompt-tokens: 3}",
    ]

    @Test("the order of the rows of a batch changes nothing", arguments: TestBackend.fast, inAnyOrder)
    func order(_ backend: TestBackend, _ arm: String) throws {
        let device = try backend.device()
        /// Two epochs.
        func outcome(_ examples: [TokenizedExample], microBatch: Int? = nil) throws -> [[Float]] {
            try self.outcome(arm, microBatch: microBatch, examples: examples, steps: 10, on: device)
        }
        let straight = try outcome(Self.examples)
        for order in [[7, 6, 5, 4, 3, 2, 1, 0], [3, 0, 6, 1, 7, 2, 5, 4]] {
            let moved = stride(from: 0, to: 40, by: 8).flatMap { first in order.map { Self.examples[first + $0] } }
            expectSame(try outcome(moved), straight, "\(arm) in the order \(order)")
            expectSame(try outcome(moved, microBatch: 3), straight, "\(arm) in the order \(order), in parts")
        }
        // Rows that move to another batch do change something.
        let others = try outcome(Array(Self.examples[3...] + Self.examples[..<3]))
        let largest = zip(others[0], straight[0]).map { abs($0 - $1) }.max() ?? 0
        #expect(largest > 1e-3)
    }
}
