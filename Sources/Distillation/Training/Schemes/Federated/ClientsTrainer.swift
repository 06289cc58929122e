import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Rounds of clients that each keep a model of their own: FedMD (Li & Wang 2019, arXiv:1910.03581), and nobody's help at all.
///
/// FedMD has three stages. Transfer learning, once: each client learns the public rows with their labels, then its own shard. Then in
/// each round, digest: the clients learn the consensus, the mean of their logits on the public rows, and revisit: their own shards
/// again. Models and optimizers stay with the clients from round to round, as in the authors' code.
final class ClientsTrainer: FederatedTrainer {
    private struct Client {
        let model: any Model
        let arena: ParameterArena
        /// On its shard.
        let shard: Trainer
        /// On the consensus; nil for a client by itself.
        let digest: Trainer?
    }
    private let parts: FederatedParts
    private let clients: [Client]
    private let consensus: ConsensusTerm
    let projectors: ProjectorSet
    private(set) var traffic = FederatedTraffic()
    private(set) var step = 0

    private var scheme: FederatedScheme { parts.scheme }

    init(_ scheme: FederatedScheme, _ shards: FederatedShards, _ session: ArmSession) throws {
        let parts = try FederatedParts(scheme, shards, session)
        let consensus = ConsensusTerm(scheme.digest, on: session.device)
        clients = try (0..<scheme.clients).map { number in
            let (model, arena) = try session.student(number: number, parts.architecture(of: number))
            return Client(
                model: model, arena: arena, shard: try parts.trainer(number, model, arena),
                digest: scheme.method == .fedMD
                    ? try parts.publicTrainer(
                        model, arena, consensus, schedule: .constant, seed: parts.seed("digest", number)) : nil)
        }
        self.parts = parts
        self.consensus = consensus
        projectors = try parts.noProjectors()
    }

    /// The first client's: shards are drawn at random, so it is as good as any.
    var model: any Model { clients[0].model }

    var facts: [(key: String, value: Double)] {
        guard scheme.method == .fedMD else { return [] }
        return [
            ("federated/bytes_round", Double(traffic.round)), ("federated/bytes_up", Double(traffic.up)),
            ("federated/bytes_down", Double(traffic.down)),
        ]
    }

    func epoch(_ round: Int) throws -> [Float] {
        if round == 0, scheme.method == .fedMD { try transfer() }
        let chosen = parts.participants(round)
        if scheme.method == .fedMD { try agree(chosen) }
        var losses: [Float] = []
        for number in chosen {
            if let digest = clients[number].digest {
                for pass in 0..<scheme.publicEpochs {
                    step += try digest.epoch(round * scheme.publicEpochs + pass).count
                }
            }
            losses += try revisit(number, from: parts.firstEpoch(of: round), epochs: scheme.localEpochs)
        }
        return losses
    }

    /// Stage 1: every client learns the public rows, then its shard.
    private func transfer() throws {
        guard let rows = parts.publicTraining else { throw RetortError.internalBug("no public rows") }
        let session = parts.session
        for (number, client) in clients.enumerated() {
            if scheme.transferEpochs > 0 {
                let trainer = try Trainer(
                    client.model, client.arena,
                    goal: .init(session.terms, teacher: nil, name: session.role, view: session.view),
                    data: rows, spec: session.training.lasting(scheme.transferEpochs),
                    seed: parts.seed("transfer", number), on: session.device)
                for epoch in 0..<scheme.transferEpochs { step += try trainer.epoch(epoch).count }
            }
            _ = try revisit(number, from: 0, epochs: scheme.privateEpochs)
        }
    }

    /// The consensus of a round: each of its clients sends its logits on the public rows and gets their mean.
    private func agree(_ chosen: [Int]) throws {
        let logits = try chosen.map { try parts.publicLogits(clients[$0].model) }
        consensus.targets = try ConsensusTerm.target(of: logits, .meanLogits, temperature: 1)
        let sent = logits.reduce(0) { $0 + $1.count }
        traffic.exchange(up: sent, down: sent)
    }

    private func revisit(_ number: Int, from first: Int, epochs: Int) throws -> [Float] {
        let trainer = clients[number].shard
        trainer.start(at: first * trainer.stepsPerEpoch)
        var losses: [Float] = []
        for epoch in first..<(first + epochs) { losses += try trainer.epoch(epoch) }
        step += losses.count
        return losses
    }

    /// Every client on the test rows.
    func finish() throws {
        let session = parts.session
        let accuracies = try clients.map {
            try Evaluation($0.model, session.test, seeing: session.view, on: session.device).accuracy
        }
        session.metrics[.clientAccuracy] = accuracies.reduce(0, +) / Double(accuracies.count)
        session.metrics[.worstClient] = accuracies.min()
        try session.note(
            "clients' accuracy: " + accuracies.map { NumberFormat.percent($0) }.joined(separator: ", "))
    }
}

extension ClientsTrainer: EpochResumable {
    /// The trainings of all clients, by name. The two of a client have the same weights.
    private var trainings: [(name: String, trainer: Trainer)] {
        clients.enumerated().flatMap { number, client in
            [("client\(number).", client.shard)] + (client.digest.map { [("client\(number).digest.", $0)] } ?? [])
        }
    }

    var state: TrainingState {
        var state = TrainingState()
        for (name, trainer) in trainings { trainer.describe(&state, of: name) }
        traffic.describe(&state)
        state.set("step", .int(step))
        return state
    }

    func resume(_ stored: StoredState) throws {
        for (name, trainer) in trainings { try trainer.resume(stored, of: name) }
        traffic = try FederatedTraffic(stored)
        step = try stored.facts.member("step").int(in: 0...1 << 53)
    }
}
