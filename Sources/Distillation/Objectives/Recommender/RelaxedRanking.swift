import RetortModels
import RetortRuntime
import RetortSupport

/// RRD of DE-RRD: the student ranks what interests the teacher in the teacher's order, and all of it above what does not interest it:
/// −alpha·Σ_k (s_k − log(Σ_{j ≥ k} e^{s_j} + Σ_l e^{s_l})) over the distinct users of a batch, per pair; k and j run over `interesting` items drawn from
/// the teacher's first `top` by exp(−(r + 1)/sharpness) in the teacher's order, l over `uninteresting` items drawn evenly from all others. Items the user
/// has taken are in neither. Drawn anew in each epoch. Kang et al. 2020 (arXiv:2012.04357).
public struct RelaxedRankingObjective: RecommenderObjective {
    public static let section = RecipeSection(
        "relaxed-ranking-distillation", "RRD: the teacher's order among what interests it, and that above the rest.",
        [
            AlphaField.field("0.1"),
            RecipeField("interesting", .integer(1...4096), .defaulted("40"), "items K in the teacher's order"),
            RecipeField("uninteresting", .integer(1...65536), .defaulted("40"), "items L below them"),
            RecipeField("top", .integer(1...65536), .defaulted("100"), "the front of the ranking the former come from"),
            RecipeField(
                "sharpness", .number(1e-3...1e6), .defaulted("10"), "rank r is drawn by exp(−(r + 1)/sharpness)"),
        ])
    private let alpha: Float
    private let interesting: Int
    private let uninteresting: Int
    private let top: Int
    private let sharpness: Double
    private let location: RetortError.Location?

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        interesting = recipe.required("interesting").integer
        uninteresting = recipe.required("uninteresting").integer
        top = recipe.required("top").integer
        sharpness = recipe.required("sharpness").number
        location = recipe.location
    }

    public var needsTeacher: Bool { true }
    public var contract: String {
        "\(alpha.short)·list-wise negative log likelihood of the teacher's order of \(interesting) of its first \(top) items above "
            + "\(uninteresting) others, sum over distinct users, per pair"
    }

    public func term(_ context: RecommenderContext) throws -> any RecommenderTerm {
        guard interesting <= top else {
            throw RetortError.recipe(
                "relaxed-ranking-distillation draws \(interesting) items from the first \(top)", at: location,
                help: "interesting ≤ top")
        }
        return try Term(self, context)
    }

    private final class Term: RecommenderTerm {
        private let options: RelaxedRankingObjective
        private let context: RecommenderContext
        private let sampler: RankSampler
        /// What each user's other items are not: taken, or at the front of the teacher's ranking; ascending.
        private let excluded: [[Int32]]
        private var others: [Int32: [Int32]] = [:]
        private var random: Philox

        init(_ options: RelaxedRankingObjective, _ context: RecommenderContext) throws {
            self.options = options
            self.context = context
            try context.requireUnobserved(
                options.top + options.uninteresting, of: "relaxed-ranking-distillation", at: options.location)
            let ranking = try context.required().topItems(
                options.top, of: context.task, excludingPositives: true, on: context.device)
            excluded = ranking.enumerated().map { ($1 + context.task.train[$0]).distinct }
            sampler = RankSampler(
                ranking, sharpness: options.sharpness, seed: context.seed, purpose: "\(context.name)/interesting")
            random = Philox(seed: context.seed, stream: 0)
        }

        func beginEpoch(_ progress: TrainingProgress, student: EmbeddingTables) throws {
            sampler.begin(epoch: progress.epoch)
            others = [:]
            random = Philox(
                seed: context.seed, stream: Philox.stream("\(context.name)/uninteresting/\(progress.epoch)"))
        }

        private func uninteresting(_ user: Int32) -> [Int32] {
            if let known = others[user] { return known }
            let excluded = excluded[Int(user)]
            let ranks = random.subset(
                options.uninteresting, below: context.task.items - excluded.count, block: UInt64(user))
            let items = ranks.map { UnobservedItems.item(Int32($0), without: excluded[...]) }
            others[user] = items
            return items
        }

        func loss(_ input: RecommenderInput) throws -> Tensor {
            let users = input.users.distinct
            let (k, l) = (options.interesting, options.uninteresting)
            // The best last: a running sum from the left then holds, at each item, it and all below it.
            let lists = users.flatMap { sampler.ranked($0, k).reversed() + uninteresting($0) }
            let scores = try input.student.scores(users, lists: lists)
            // Any shift of a user's scores changes nothing; the largest score keeps the exponentials in range.
            let shifted = try scores - scores.detached.max(-1, keepingDimension: true)
            let ranked = try shifted.narrowed(axis: 1, 0..<k)
            let rest = try shifted.narrowed(axis: 1, k..<(k + l)).exp().sum(-1, keepingDimension: true)
            let below = try (ranked.exp().cumulativeSum(1) + rest).map(.clampMinimum(1e-37)).log()
            return try (below - ranked).sum() * (options.alpha / Float(input.pairs))
        }
    }
}
