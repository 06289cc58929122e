import Foundation
import RetortModels
import RetortRuntime
import RetortSupport

/// RD: the teacher's first `top` items among those a user has not taken count as taken: −alpha·Σ_r w_r · log σ(s(u, π_r)) per pair of the batch, r from
/// 1. Tang & Wang 2018 (arXiv:1809.07428).
///
/// w_r ∝ exp(−r/sharpness) (importance of the position), normalised. From epoch `start` on times tanh(max(μ·(r̂_r − r), 0)), r̂_r the rank that the
/// student gives the item, estimated from how many of `samples` items the user has not taken score above it (discrepancy of the ranking), normalised
/// again. Weights are constants. Here r̂ is not rounded to a whole number, which no kernel does.
public struct RankingDistillationObjective: RecommenderObjective {
    public static let section = RecipeSection(
        "ranking-distillation", "RD: the teacher's first items count as taken.",
        [
            AlphaField.field("0.1"),
            RecipeField("top", .integer(1...65536), .defaulted("30"), "items of the teacher's ranking"),
            RecipeField("sharpness", .number(1e-3...1e6), .defaulted("1"), "rank r weighs exp(−r/sharpness)"),
            RecipeField("mu", .number(0...1e6), .defaulted("0.1"), "how fast a wrong rank gains weight"),
            RecipeField("samples", .integer(1...65536), .defaulted("100"), "items that estimate the student's rank"),
            RecipeField(
                "start", .integer(1...1_000_000), .defaulted("1"),
                "epoch, counted from 1, from which ranks are estimated"),
        ])
    private let alpha: Float
    private let top: Int
    private let sharpness: Double
    private let mu: Float
    private let samples: Int
    private let start: Int
    private let location: RetortError.Location?

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        top = recipe.required("top").integer
        sharpness = recipe.required("sharpness").number
        mu = Float(recipe.required("mu").number)
        samples = recipe.required("samples").integer
        start = recipe.required("start").integer
        location = recipe.location
    }

    public var needsTeacher: Bool { true }
    public var contract: String {
        "−\(alpha.short)·Σ w·log σ(s(u, π_r)) over the teacher's first \(top), per pair, w ∝ exp(−r/\(Float(sharpness).short))"
            + "·tanh(max(\(mu.short)·(r̂ − r), 0)) from epoch \(start), r̂ estimated from \(samples) items"
    }

    public func term(_ context: RecommenderContext) throws -> any RecommenderTerm { try Term(self, context) }

    private final class Term: RecommenderTerm {
        private let options: RankingDistillationObjective
        private let ranking: [[Int32]]
        /// `[1, top]`.
        private let positions: Tensor
        private let ranks: Tensor
        private let items: Int
        private let unobserved: UnobservedItems
        /// The samples of this epoch, by user.
        private var drawn: [Int32: [Int32]] = [:]

        init(_ options: RankingDistillationObjective, _ context: RecommenderContext) throws {
            self.options = options
            try context.requireUnobserved(options.top, of: "ranking-distillation", at: options.location)
            ranking = try context.required().topItems(
                options.top, of: context.task, excludingPositives: true, on: context.device)
            let weights = (1...options.top).map { exp(-Double($0) / options.sharpness) }
            let sum = weights.reduce(0, +)
            positions = try Tensor(weights.map { Float($0 / sum) }, [1, options.top], on: context.device)
            ranks = try Tensor((1...options.top).map(Float.init), [1, options.top], on: context.device)
            items = context.task.items
            unobserved = UnobservedItems(
                context.task.train, items: items, seed: context.seed, purpose: "\(context.name)/samples")
        }

        func loss(_ input: RecommenderInput) throws -> Tensor {
            let lists = input.users.flatMap { ranking[Int($0)] }
            let scores = try input.student.scores(input.users, lists: lists)
            let weights = try weights(scores.detached, input)
            return try (weights * scores.map(.logSigmoid)).sum() * (-options.alpha / Float(input.pairs))
        }

        func beginEpoch(_ progress: TrainingProgress, student: EmbeddingTables) throws { drawn = [:] }

        private func samples(_ user: Int32, _ progress: TrainingProgress) -> [Int32] {
            if let known = drawn[user] { return known }
            let count = UInt64(options.samples)
            let first = UInt64(progress.epoch) << 32 + UInt64(user) * count
            let items = (0..<count).map { unobserved.draw(user, number: first + $0) }
            drawn[user] = items
            return items
        }

        /// `[pairs, top]`, or `[1, top]` before ranks are estimated.
        private func weights(_ scores: Tensor, _ input: RecommenderInput) throws -> Tensor {
            guard input.progress.epoch + 1 >= options.start else { return positions }
            let (rows, count) = (input.pairs, options.samples)
            let lists = input.users.flatMap { samples($0, input.progress) }
            let others = try input.student.detached.scores(input.users, lists: lists)
            let above = try (others.reshaped([rows, 1, count]) - scores.reshaped([rows, options.top, 1])).isPositive()
            let estimated = try above.mean(-1).scaled(Float(items - 1)).adding(1)
            let discrepancy = try ((estimated - ranks) * options.mu).relu().map(.tanh)
            let weights = try positions * discrepancy
            return try weights / weights.sum(-1, keepingDimension: true).map(.clampMinimum(1e-12))
        }
    }
}

extension RecommenderContext {
    /// - Throws: `RetortError` 78 when a user leaves fewer items untaken than a loss wants.
    func requireUnobserved(_ count: Int, of loss: String, at location: RetortError.Location?) throws {
        let fewest = (0..<task.users).map { task.items - task.train[$0].count }.min() ?? task.items
        guard count <= fewest else {
            throw RetortError.recipe(
                "\(loss) wants \(count) items that a user has not taken", at: location,
                why: "of \(task.items) items one user leaves \(fewest)", help: "lower its numbers of items")
        }
    }
}
