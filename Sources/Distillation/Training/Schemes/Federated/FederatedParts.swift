import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// What trainers of all methods share.
struct FederatedParts {
    let scheme: FederatedScheme
    let session: ArmSession
    /// The clients' shards and the public rows as evaluation sees them.
    let shards: [DeviceRows]
    let publicRows: DeviceRows?
    /// For training on labels.
    let publicTraining: DeviceRows?

    init(_ scheme: FederatedScheme, _ shards: FederatedShards, _ session: ArmSession) throws {
        self.scheme = scheme
        self.session = session
        self.shards = try shards.clients.map { try session.data.selecting($0, on: session.device) }
        let hasPublic = scheme.method.needsPublicSet
        publicRows =
            hasPublic
            ? try session.data.selecting(shards.publicRows, augmented: false, on: session.device) : nil
        publicTraining = hasPublic ? try session.data.selecting(shards.publicRows, on: session.device) : nil
    }

    /// Passes over a shard in the whole run, those before the first round too.
    var epochs: Int { firstEpoch(of: scheme.rounds) }
    /// The first of a round's passes over a shard, counted over the run: orders and learning rates go on from round to round.
    func firstEpoch(of round: Int) -> Int {
        (scheme.method == .fedMD ? scheme.privateEpochs : 0) + round * scheme.localEpochs
    }

    /// The clients of a round, in ascending order: a function of seed and round.
    func participants(_ round: Int) -> [Int] {
        let count = scheme.participants
        guard count < scheme.clients else { return Array(0..<scheme.clients) }
        return Philox(seed: session.seed, stream: Philox.stream("participants/\(round)")).permutation(scheme.clients)
            .prefix(count).sorted().map(Int.init)
    }

    /// What a client draws from: the first as the student of any other arm.
    func seed(_ purpose: String, _ number: Int) -> UInt64 {
        if purpose == "client", number == 0 { return session.seed }
        return UInt64(Philox(seed: session.seed, stream: Philox.stream(purpose)).word(UInt64(number)))
    }

    /// The architecture of a client; nil: the student's.
    func architecture(of client: Int) -> ModelSpec? {
        scheme.models.isEmpty ? nil : scheme.models[client % scheme.models.count]
    }

    /// Trains a client on its shard.
    func trainer(
        _ client: Int, _ model: any Model, _ arena: ParameterArena, own: [any ObjectiveTerm] = []
    ) throws -> Trainer {
        try Trainer(
            model, arena, goal: .init(session.terms, teacher: nil, name: session.role, view: session.view, own: own),
            data: shards[client], spec: session.training.lasting(epochs), seed: seed("client", client),
            on: session.device)
    }

    /// Trains a model on the targets of the public rows.
    func publicTrainer(
        _ model: any Model, _ arena: ParameterArena, _ term: ConsensusTerm, schedule: ScheduleSpec, seed: UInt64
    ) throws -> Trainer {
        guard let publicRows else { throw RetortError.internalBug("no public rows") }
        let spec = TrainSpec(
            epochs: scheme.publicEpochs, batch: scheme.publicBatch, optimizer: scheme.publicOptimizer,
            schedule: schedule)
        return try Trainer(
            model, arena, goal: .init([], teacher: nil, name: session.role, view: session.view, own: [term]),
            data: publicRows, spec: spec,
            seed: seed, on: session.device)
    }

    /// A model's answers on the public rows, logits `[public rows, classes]`.
    func publicLogits(_ model: any Model) throws -> Tensor {
        guard let publicRows else { throw RetortError.internalBug("no public rows") }
        let device = session.device
        let logits = try device.compute.empty([publicRows.rows, model.classes])
        model.setTraining(false)
        for start in stride(from: 0, to: publicRows.rows, by: 1024) {
            let range = start..<min(publicRows.rows, start + 1024)
            let answer = try Autograd.withoutGradients {
                try model(session.view(publicRows.examples(range, on: device)))
            }
            try run(Copy(), .init(x: answer.view, y: .write(logits.slice(range))), on: device.compute)
        }
        return Tensor(view: logits, on: device)
    }

    /// No loss of a federated arm trains anything beside the model.
    func noProjectors() throws -> ProjectorSet {
        try ProjectorSet(
            [], session.training.optimizer, clip: session.training.clip, seed: session.seed, on: session.device)
    }
}

extension TrainSpec {
    /// The same for another number of epochs.
    func lasting(_ epochs: Int) -> TrainSpec {
        TrainSpec(
            epochs: epochs, batch: batch, microBatch: microBatch, optimizer: optimizer, schedule: schedule, clip: clip)
    }
}
