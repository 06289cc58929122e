import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// Rounds in which weights are exchanged: FedAvg, FedProx and FedDF (Lin et al. 2020, arXiv:2006.07242).
///
/// Clients keep nothing between rounds: each starts from the server's weights of its architecture with a fresh optimizer, as in
/// McMahan et al. 2017. One model of each architecture stands in for all its clients, one after the other, and their weighted mean is
/// added up in the order of their numbers. FedDF's server then teaches the mean of each architecture what all clients of the round,
/// whatever their architecture, answer on the public rows.
final class ServerTrainer: FederatedTrainer {
    /// The server's model of one architecture, and the model that works in its clients' place.
    private final class Group {
        let model: any Model
        let arena: ParameterArena
        var server: ModelState
        var mean: ModelState

        init(_ student: (model: any Model, arena: ParameterArena)) throws {
            (model, arena) = student
            server = try ModelState(model, arena)
            mean = try ModelState(model, arena)
        }
    }
    private let parts: FederatedParts
    private let groups: [Group]
    let projectors: ProjectorSet
    private(set) var traffic = FederatedTraffic()
    private(set) var step = 0
    /// ‖w − w_server‖ after local training, mean over the clients of the last round.
    private(set) var drift = 0.0

    private var scheme: FederatedScheme { parts.scheme }
    private var device: Device { parts.session.device }

    init(_ scheme: FederatedScheme, _ shards: FederatedShards, _ session: ArmSession) throws {
        let parts = try FederatedParts(scheme, shards, session)
        self.parts = parts
        groups = try (0..<max(1, scheme.models.count)).map { number in
            try Group(session.student(number: 0, parts.architecture(of: number)))
        }
        projectors = try parts.noProjectors()
    }

    /// The server's, of the first architecture.
    var model: any Model { groups[0].model }

    var facts: [(key: String, value: Double)] {
        [
            ("federated/bytes_round", Double(traffic.round)), ("federated/bytes_up", Double(traffic.up)),
            ("federated/bytes_down", Double(traffic.down)), ("federated/drift", drift),
        ]
    }

    func epoch(_ round: Int) throws -> [Float] {
        let clients = parts.participants(round)
        var losses: [Float] = []
        var logits: [Tensor] = []
        var distances = 0.0
        var sent = 0
        for (number, group) in groups.enumerated() {
            let members = clients.filter { $0 % groups.count == number }
            let rows = members.reduce(0) { $0 + parts.shards[$1].rows }
            for (index, client) in members.enumerated() {
                try group.server.load(into: group.model, group.arena)
                losses += try train(client, round, group)
                distances += try distance(group)
                let share = FedAvg.share(parts.shards[client].rows, of: rows)
                try group.mean.add(group.model, group.arena, share: share, isFirst: index == 0)
                if scheme.method == .fedDF { logits.append(try parts.publicLogits(group.model)) }
                sent += ModelState.count(group.model)
            }
            if !members.isEmpty { swap(&group.server, &group.mean) }
        }
        drift = distances / Double(clients.count)
        traffic.exchange(up: sent, down: sent)
        if scheme.method == .fedDF { try fuse(logits, round) }
        try groups[0].server.load(into: groups[0].model, groups[0].arena)
        return losses
    }

    /// A client's local epochs from the weights that the group's model holds.
    private func train(_ client: Int, _ round: Int, _ group: Group) throws -> [Float] {
        let near =
            scheme.method == .fedProx
            ? [ProximalTerm(group.arena, server: group.server.values, mu: scheme.mu, on: device)] : []
        let trainer = try parts.trainer(client, group.model, group.arena, own: near)
        let first = parts.firstEpoch(of: round)
        trainer.start(at: first * trainer.stepsPerEpoch)
        var losses: [Float] = []
        for epoch in first..<(first + scheme.localEpochs) { losses += try trainer.epoch(epoch) }
        step += losses.count
        return losses
    }

    private func distance(_ group: Group) throws -> Double {
        let own = Tensor(view: group.arena.values, on: device)
        return Double(try own.meanSquaredError(Tensor(view: group.server.values, on: device), reduction: .sum).item())
            .squareRoot()
    }

    /// FedDF's fusion: each architecture's mean learns the ensemble of the clients on the public rows, without labels.
    private func fuse(_ logits: [Tensor], _ round: Int) throws {
        let term = ConsensusTerm(scheme.digest, on: device)
        term.targets = try ConsensusTerm.target(of: logits, scheme.ensemble, temperature: scheme.temperature)
        for (number, group) in groups.enumerated() {
            try group.server.load(into: group.model, group.arena)
            let trainer = try parts.publicTrainer(
                group.model, group.arena, term, schedule: .cosine,
                seed: parts.seed("server", round * groups.count + number))
            for epoch in 0..<scheme.publicEpochs { _ = try trainer.epoch(epoch) }
            step += trainer.step
            try group.server.store(group.model, group.arena)
        }
    }

    func finish() throws {}
}

/// Between two rounds there are the server's models: all clients begin with them, and with optimizers of their own.
extension ServerTrainer: EpochResumable {
    var state: TrainingState {
        var state = TrainingState()
        for (number, group) in groups.enumerated() { group.server.describe(&state, as: "server\(number)") }
        traffic.describe(&state)
        state.set("step", .int(step))
        state.set("drift", .double(drift))
        return state
    }

    func resume(_ stored: StoredState) throws {
        for (number, group) in groups.enumerated() {
            try group.server.resume(stored, as: "server\(number)", on: device.compute)
        }
        try groups[0].server.load(into: groups[0].model, groups[0].arena)
        traffic = try FederatedTraffic(stored)
        step = try stored.facts.member("step").int(in: 0...1 << 53)
        drift = try stored.facts.member("drift").double()
    }
}
