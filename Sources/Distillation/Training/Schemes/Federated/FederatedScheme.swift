import Foundation
import RetortModels
import RetortRuntime
import RetortSupport

/// Federated learning, simulated: clients with private shards of the training rows, a server, rounds. What is exchanged is weights
/// (FedAvg, FedProx, FedDF) or answers on a public set (FedMD); it is counted.
public struct FederatedScheme: Scheme {
    public static let section = RecipeSection(
        "federated", "Clients with private shards of the rows learn together, in rounds.",
        [
            RecipeField(
                "method", .choice(FederatedMethod.allCases.map(\.rawValue)), .required,
                "fedavg: mean of the weights; fedprox: the same, clients kept near the server; feddf: and the server learns "
                    + "from all clients on public rows; fedmd: clients of any architecture agree on public rows; "
                    + "local: no exchange at all"),
            RecipeField("clients", .integer(1...100_000), .defaulted("10"), "how many there are"),
            RecipeField(
                "rounds", .integer(1...1_000_000), .defaulted("20"),
                "how often they exchange; with local-epochs in place of train.epochs"),
            RecipeField(
                "fraction", .number(0...1), .defaulted("1"),
                "share of the clients that take part in a round, at random"),
            RecipeField(
                "local-epochs", .integer(1...1_000_000), .defaulted("1"),
                "passes of a client over its shard in a round"),
            RecipeField(
                "dirichlet", .number(1e-3...1e9), .defaulted("0.5"),
                "how alike the shards are: small gives each client few classes, large gives all the same mixture"),
            RecipeField(
                "public", .number(0...1e9), .optional,
                "rows that are in no shard, a number or a share below 1; fedmd and feddf learn on them, the others leave "
                    + "them alone"),
            RecipeField(
                "mu", .number(0...1e6), .optional,
                "fedprox: weight of mu/2·‖w − w_server‖²; absent: 1, its authors' for MNIST and FEMNIST"),
            RecipeField(
                "models", .list(of: ModelSpec.schema, count: 1...64), .optional,
                "fedmd, feddf, local: architectures, dealt to the clients in turn; absent: the student's"),
            RecipeField(
                "ensemble", .choice(["mean-logits", "mean-probabilities"]), .optional,
                "feddf: what the server learns; absent: mean-logits, its authors'"),
            RecipeField(
                "digest", .choice(["mae", "kl"]), .optional,
                "fedmd: how a client learns the mean of the logits; absent: mae, the mean absolute error, its authors'"),
            RecipeField(
                "transfer-epochs", .integer(0...1_000_000), .optional,
                "fedmd: passes over the public rows and their labels before the first round; absent: 20, its authors'"),
            RecipeField(
                "private-epochs", .integer(0...1_000_000), .optional,
                "fedmd: passes of a client over its shard before the first round; absent: 25, its authors'"),
            RecipeField(
                "public-epochs", .integer(1...1_000_000), .optional,
                "passes over the public rows in a round; absent, as their authors: fedmd 1, feddf 25"),
            RecipeField(
                "public-batch", .integer(1...1_000_000), .optional,
                "public rows of one step; absent, as their authors: fedmd 256, feddf 128"),
            RecipeField(
                "public-optimizer", RecipeSection.optimizer, .optional,
                "for learning on the public rows; absent: adam with 0.001, both authors'"),
            RecipeField(
                "temperature", .number(1e-3...1e4), .optional,
                "feddf, fedmd with kl: logits are divided by it; absent: 1"),
        ])

    let method: FederatedMethod
    let clients: Int
    let rounds: Int
    let localEpochs: Int
    let alpha: Double
    let mu: Float
    /// Empty: the student's.
    let models: [ModelSpec]
    let ensemble: TeacherCombination
    let digest: ConsensusTerm.Kind
    let temperature: Float
    let transferEpochs: Int
    let privateEpochs: Int
    let publicEpochs: Int
    let publicBatch: Int
    let publicOptimizer: OptimizerSpec
    private let fraction: Double
    private let publicPart: Double
    private let recipe: RecipeNode

    public init(_ recipe: RecipeNode) {
        self.recipe = recipe
        let method = FederatedMethod(rawValue: recipe.required("method").text) ?? .local
        self.method = method
        clients = recipe.required("clients").integer
        rounds = recipe.required("rounds").integer
        fraction = recipe.required("fraction").number
        localEpochs = recipe.required("local-epochs").integer
        alpha = recipe.required("dirichlet").number
        publicPart = recipe["public"]?.number ?? 0
        mu = Float(recipe["mu"]?.number ?? 1)
        models = recipe["models"]?.list.map { ModelSpec($0) } ?? []
        ensemble = TeacherCombination(recipe["ensemble"]?.text ?? "mean-logits", weights: nil)
        temperature = Float(recipe["temperature"]?.number ?? 1)
        let fitsLogits = method == .fedMD && recipe["digest"]?.text != "kl"
        digest = fitsLogits ? .absoluteError : .divergence(temperature: temperature)
        transferEpochs = recipe["transfer-epochs"]?.integer ?? 20
        privateEpochs = recipe["private-epochs"]?.integer ?? 25
        publicEpochs = recipe["public-epochs"]?.integer ?? (method == .fedDF ? 25 : 1)
        publicBatch = recipe["public-batch"]?.integer ?? (method == .fedDF ? 128 : 256)
        publicOptimizer = recipe["public-optimizer"].map { OptimizerSpec($0) } ?? .adam(rate: 0.001)
    }

    public var bringsTeacher: Bool { false }

    /// Clients of one round.
    var participants: Int { Int((fraction * Double(clients)).rounded()) }

    /// The rows of the public set, of so many training rows.
    func publicRows(of rows: Int) -> Int {
        publicPart < 1 ? Int((publicPart * Double(rows)).rounded()) : Int(publicPart)
    }

    // MARK: What cannot work

    public func check(_ arm: Recipe.Arm, recipe armRecipe: RecipeNode) throws {
        for (key, methods) in FederatedMethod.ownKeys where !methods.contains(method) {
            guard let node = recipe[key] else { continue }
            throw RetortError.recipe(
                "scheme.\(key) means nothing to \(method.rawValue)", at: node.location,
                help: "remove it; it is for " + methods.map(\.rawValue).joined(separator: " and "))
        }
        if let node = recipe["temperature"], case .absoluteError = digest {
            throw RetortError.recipe(
                "scheme.temperature means nothing to a digest by mae", at: node.location,
                help: "remove it, or write digest: kl")
        }
        if let epochs = armRecipe["train"]?["epochs"] {
            throw RetortError.recipe(
                "the federated arm \(arm.name) has train.epochs", at: epochs.location,
                why: "its clients train local-epochs in each of so many rounds",
                help: "remove it; set scheme.rounds and scheme.local-epochs")
        }
        if let term = arm.terms.first(where: { $0.objective.needsTeacher }) {
            throw RetortError.recipe(
                "the federated arm \(arm.name) has a loss that needs a teacher", at: armRecipe["objective"]?.location,
                why: "clients have none: " + term.contract, help: "give it losses of labels, such as cross-entropy")
        }
        if arm.balance != .none {
            throw RetortError.recipe(
                "the federated arm \(arm.name) balances its losses", at: armRecipe["balance"]?.location,
                why: "each client would weigh them in its own way", help: "remove balance")
        }
        if method == .local, fraction != 1 {
            throw RetortError.recipe(
                "scheme.fraction means nothing to local: nobody waits for the others", at: recipe["fraction"]?.location,
                help: "remove it")
        }
        guard participants > 0 else {
            throw RetortError.recipe(
                "scheme.fraction picks nobody", at: recipe["fraction"]?.location ?? recipe.location,
                why: "\(fraction) of \(clients) clients is less than half a client", help: "use a larger fraction")
        }
        if publicPart >= 1, publicPart != publicPart.rounded() {
            throw RetortError.recipe(
                "scheme.public is \(publicPart)", at: recipe["public"]?.location,
                why: "from 1 on it is a number of rows, below 1 a share of them")
        }
        if method.needsPublicSet, publicPart == 0 {
            throw RetortError.recipe(
                "\(method.rawValue) needs a public set", at: recipe["public"]?.location ?? recipe.location,
                why: "the clients' knowledge is compared on rows that all may see",
                help: "add public: with a share of the training rows, such as 0.2")
        }
    }

    public func rehearse(_ task: ClassificationTask, rows: Int) throws {
        let open = publicRows(of: rows)
        if publicPart > 0, open == 0 || open >= rows {
            throw RetortError.recipe(
                "scheme.public makes \(open) public rows of \(rows) training rows", at: recipe["public"]?.location,
                help: "some rows must be public and some must be left for the clients")
        }
        guard rows - open >= clients else {
            throw RetortError.recipe(
                "there are \(clients) clients and \(rows - open) rows for them",
                at: recipe["clients"]?.location ?? recipe.location, why: "every client needs a row",
                help: "use fewer clients, more rows (train.rows) or a smaller public set")
        }
        for spec in models { _ = try spec.make(for: task, who: "client") }
    }

    // MARK: Training

    public var contract: String {
        let who = participants == clients ? "all \(clients)" : "\(participants) of \(clients)"
        let exchange = method == .local ? "" : ", \(rounds) rounds of \(who) clients"
        let start =
            "\(method.words): \(clients) clients, Dirichlet(\(Float(alpha).short)) over classes\(exchange), "
            + (method == .local
                ? "\(rounds * localEpochs) epochs on the own shard" : "\(localEpochs) local epochs each; ")
        let rate = Float(publicOptimizer.learningRate).short
        let steps = "\(publicEpochs) epochs in batches of \(publicBatch) by \(publicOptimizer.kind) at \(rate)"
        return switch method {
        case .fedAvg: start + Self.average
        case .fedProx: start + "clients minimise + \((mu / 2).short)·‖w − w_server‖²; " + Self.average
        case .fedDF:
            start + Self.average + " by architecture, then T²·KL(clients‖q) on public rows without labels, clients: "
                + "\(ensemble.contract), T=\(temperature.short), \(steps), cosine"
        case .fedMD:
            start + "before: \(transferEpochs) epochs on public rows and labels, \(privateEpochs) on the own shard; "
                + "each round: \(digestWords) to the mean of the clients' logits on public rows, \(steps), then the own shard; "
                + "measured and saved: the first client's model"
        case .local: start + "; measured and saved: the first client's model"
        }
    }
    private static let average = "server: Σ nᵢ·wᵢ / Σ nᵢ, running statistics of batch norms too"
    private var digestWords: String {
        switch digest {
        case .absoluteError: "mean absolute error of logits"
        case .divergence(let temperature): "T²·KL, T=\(temperature.short),"
        }
    }

    public func train(_ session: ArmSession) throws -> any Model {
        let rows = session.data.rows
        let shards = FederatedShards(
            labels: try session.data.labelValues(on: session.device), classes: session.task.classes, clients: clients,
            alpha: alpha, publicRows: publicRows(of: rows), seed: session.seed)
        try session.note(
            "\(rows) rows: \(shards.publicRows.count) public, \(clients) clients with "
                + shards.clients.map { String($0.count) }.joined(separator: ", "))
        let trainer: any FederatedTrainer =
            method.hasServerModel
            ? try ServerTrainer(self, shards, session) : try ClientsTrainer(self, shards, session)
        try session.fit(trainer, rounds: (rounds, localEpochs))
        try trainer.finish()
        if method != .local {
            session.metrics[.bytesUp] = Double(trainer.traffic.up)
            session.metrics[.bytesDown] = Double(trainer.traffic.down)
            try session.note(
                "sent \(NumberFormat.bytes(trainer.traffic.up)) up and \(NumberFormat.bytes(trainer.traffic.down)) down, "
                    + "\(NumberFormat.bytes(trainer.traffic.round)) in a round")
        }
        return trainer.model
    }
}

/// Trains round by round.
protocol FederatedTrainer: EpochTrainer {
    var traffic: FederatedTraffic { get }
    /// Measures what is measured at the end.
    func finish() throws
}
