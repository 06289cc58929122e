import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// PCKD: a hint whose projectors must rank items for a user as the student itself does. Zhu & Zhang, "Preference-Consistent Knowledge Distillation for
/// Recommender System", TKDE 2025 (arXiv:2311.04549v2).
///
/// alpha·(DE + beta·R). DE is the hint of `DistillationExpertsObjective`. R compares, for items drawn from the front of each user's ranking, the scores
/// z = ⟨p(s_u), p(s_i)⟩ after the projectors with y = ⟨s_u, s_i⟩ before them:
/// - list: −Σ_i softmax(y/τ)_i · log softmax(z/τ)_i over the `items` drawn;
/// - pair: −log σ((z_a − z_b)(y_a − y_b)) of the first two items drawn;
/// - both: their sum.
/// R is a mean over pairs of the batch and sees the student as a constant: it trains the projectors alone, and through them shapes what DE asks of the
/// student.
///
/// From the paper's abstract and algorithm: two regularisation terms on projectors and their combination, items drawn by rank, rankings renewed every so
/// many epochs by the *student*. From the authors' code (github.com/woriazzc/KDs at a3a7a64, class `CPD`): both formulas, the constant student, drawing
/// without replacement with weights exp(−(r + 1)/T) from the first `top`, their published settings (list, items 5, T 10, top 100, τ 0.1, alpha 0.05 or
/// 0.005, beta 0.1 to 0.5), which rank by the *teacher*. Both rankings can be had here (`rank-by`). Not verified: the paper's equations themselves, which
/// could not be read here, and so how its hybrid draws its pairs and weighs the two terms; `both` is a plain sum.
public struct PreferenceConsistentObjective: RecommenderObjective {
    public static let section = RecipeSection(
        "preference-consistent", "PCKD: a hint whose projectors keep the order of each user's preferences.",
        [AlphaField.field("0.05")] + ExpertProjector.fields(experts: 5) + [
            RecipeField(
                "beta", .number(0...1e9), .defaulted("0.5"),
                "weight of the regularisation beside the hint; 0 leaves the hint alone"),
            RecipeField(
                "regularizer", .choice(Regularizer.allCases.map(\.rawValue)), .defaulted("list"),
                "how order before and after the projectors is compared"),
            RecipeField("items", .integer(2...4096), .defaulted("5"), "drawn for each user and epoch"),
            RecipeField("top", .integer(2...65536), .defaulted("100"), "the front of the ranking they are drawn from"),
            RecipeField(
                "sharpness", .number(1e-3...1e6), .defaulted("10"), "rank r is drawn by exp(−(r + 1)/sharpness)"),
            RecipeField("temperature", .number(1e-3...1e3), .defaulted("0.1"), "τ of the list"),
            RecipeField("rank-by", .choice(["teacher", "student"]), .defaulted("teacher"), "whose ranking"),
            RecipeField(
                "refresh", .integer(1...1_000_000), .defaulted("1"), "epochs between two rankings by the student"),
        ])

    enum Regularizer: String, CaseIterable, Sendable { case list, pair, both }

    private let alpha: Float
    private let beta: Float
    private let experts: Int
    private let finalTemperature: Double
    private let regularizer: Regularizer
    private let items: Int
    private let top: Int
    private let sharpness: Double
    private let temperature: Float
    private let ranksByStudent: Bool
    private let refresh: Int
    private let location: RetortError.Location?

    public init(_ recipe: RecipeNode) {
        alpha = AlphaField.value(recipe)
        beta = Float(recipe.required("beta").number)
        experts = recipe.required("experts").integer
        finalTemperature = recipe.required("final-temperature").number
        regularizer = Regularizer(rawValue: recipe.required("regularizer").text) ?? .list
        items = recipe.required("items").integer
        top = recipe.required("top").integer
        sharpness = recipe.required("sharpness").number
        temperature = Float(recipe.required("temperature").number)
        ranksByStudent = recipe.required("rank-by").text == "student"
        refresh = recipe.required("refresh").integer
        location = recipe.location
    }

    public var needsTeacher: Bool { true }
    public var contract: String {
        let order =
            switch regularizer {
            case .list: "cross entropy of softmax(z/\(temperature.short)) with softmax(y/\(temperature.short))"
            case .pair: "−log σ(Δz·Δy)"
            case .both:
                "cross entropy of softmax(z/\(temperature.short)) with softmax(y/\(temperature.short)) − log σ(Δz·Δy)"
            }
        return
            "\(alpha.short)·(Σ ‖t − p(s)‖² over distinct users and half of that over items, per pair, + \(beta.short)·\(order)), "
            + "p of \(experts) trained experts, y and z scores of \(items) items before and after p, from the first \(top) "
            + "by the \(ranksByStudent ? "student" : "teacher"); the second part trains p alone"
    }

    public func term(_ context: RecommenderContext) throws -> any RecommenderTerm {
        guard items <= top, top <= context.task.items else {
            throw RetortError.recipe(
                "preference-consistent draws \(items) items from the first \(top) of \(context.task.items)",
                at: location,
                help: "items ≤ top ≤ the items of the data")
        }
        return try Term(self, context)
    }

    private final class Term: RecommenderTerm, LastingPart {
        private let options: PreferenceConsistentObjective
        private let pair: ExpertProjector.Pair
        private let sampler: RankSampler
        private let context: RecommenderContext

        init(_ options: PreferenceConsistentObjective, _ context: RecommenderContext) throws {
            self.options = options
            self.context = context
            pair = try ExpertProjector.Pair(
                context, experts: options.experts, finalTemperature: options.finalTemperature)
            let ranking =
                options.ranksByStudent
                ? [] : try pair.teacher.topItems(options.top, of: context.task, on: context.device)
            sampler = RankSampler(
                ranking, sharpness: options.sharpness, seed: context.seed, purpose: "\(context.name)/preferences")
        }

        var modules: [any Module] { pair.modules }

        /// The student's ranking stays for some epochs.
        func describe(_ state: inout TrainingState, as name: String) {
            guard options.ranksByStudent else { return }
            state.add(name + ".ranking", Array(sampler.ranking.joined()), shape)
        }

        func resume(_ stored: StoredState, as name: String, on device: ComputeDevice) throws {
            guard options.ranksByStudent else { return }
            let items = try stored.integers(name + ".ranking", shape)
            guard items.allSatisfy({ (0..<Int32(context.task.items)).contains($0) }) else {
                throw stored.isOther("\(name).ranking names items that are not in the data")
            }
            sampler.begin(
                epoch: 0,
                ranking: stride(from: 0, to: items.count, by: options.top).map { Array(items[$0..<($0 + options.top)]) }
            )
        }

        private var shape: [Int] { [context.task.users, options.top] }

        func beginEpoch(_ progress: TrainingProgress, student: EmbeddingTables) throws {
            let isRenewed = options.ranksByStudent && progress.epoch % options.refresh == 0
            sampler.begin(
                epoch: progress.epoch,
                ranking: isRenewed ? try student.topItems(options.top, of: context.task, on: context.device) : nil)
        }

        func loss(_ input: RecommenderInput) throws -> Tensor {
            let hint = try pair.hint(input)
            guard options.beta > 0 else { return try hint * options.alpha }
            return try (hint + regularization(input) * options.beta) * options.alpha
        }

        private func regularization(_ input: RecommenderInput) throws -> Tensor {
            let (rows, count) = (input.pairs, options.items)
            let lists = input.users.flatMap { sampler.draw($0, count) }
            let student = input.student.detached
            let (s, t) = (
                try student.users.gatherRows(input.users, shape: [rows]),
                try pair.teacher.users.gatherRows(input.users, shape: [rows])
            )
            let (si, ti) = (
                try student.items.gatherRows(lists, shape: [rows * count]),
                try pair.teacher.items.gatherRows(lists, shape: [rows * count])
            )
            let user = try pair.users.project(s, teacher: t, rows: input.users, input.progress)
            let item = try pair.items.project(si, teacher: ti, rows: lists, input.progress)
            let before = try Self.products(s, si, count)
            let after = try Self.products(user, item, count)
            var terms: [Tensor] = []
            if options.regularizer != .pair {
                let wanted = try before.softmax(temperature: options.temperature)
                terms.append(try -(wanted * after.logSoftmax(temperature: options.temperature)).sum())
            }
            if options.regularizer != .list {
                terms.append(try (-(Self.margin(after) * Self.margin(before))).map(.softplus).sum())
            }
            return try Tensor.total(terms) * (1 / Float(rows))
        }

        /// `[rows, d]` and `[rows · count, d]` → `[rows, count]`.
        private static func products(_ user: Tensor, _ items: Tensor, _ count: Int) throws -> Tensor {
            let (rows, dimension) = (user.shape[0], user.shape[1])
            return try (user.reshaped([rows, 1, dimension]) * items.reshaped([rows, count, dimension])).sum(-1)
        }

        private static func margin(_ scores: Tensor) throws -> Tensor {
            try scores.narrowed(axis: 1, 0..<1) - scores.narrowed(axis: 1, 1..<2)
        }
    }
}
