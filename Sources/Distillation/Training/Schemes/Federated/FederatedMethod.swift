import RetortSupport

/// What clients and server do in a round.
enum FederatedMethod: String, CaseIterable, Sendable {
    case fedAvg = "fedavg"
    case fedProx = "fedprox"
    case fedDF = "feddf"
    case fedMD = "fedmd"
    case local

    /// Whether weights go to the server and back; else each client keeps a model of its own.
    var hasServerModel: Bool { self != .fedMD && self != .local }
    var needsPublicSet: Bool { self == .fedMD || self == .fedDF }

    /// Keys of the scheme that only some methods look at.
    static let ownKeys: [(key: String, methods: [FederatedMethod])] = [
        ("mu", [.fedProx]), ("models", [.fedDF, .fedMD, .local]), ("ensemble", [.fedDF]), ("digest", [.fedMD]),
        ("transfer-epochs", [.fedMD]), ("private-epochs", [.fedMD]), ("public-epochs", [.fedDF, .fedMD]),
        ("public-batch", [.fedDF, .fedMD]), ("public-optimizer", [.fedDF, .fedMD]), ("temperature", [.fedDF, .fedMD]),
    ]

    var words: String {
        switch self {
        case .fedAvg: "FedAvg"
        case .fedProx: "FedProx"
        case .fedDF: "FedDF"
        case .fedMD: "FedMD"
        case .local: "clients by themselves"
        }
    }
}

/// Bytes that cross the wire, fp32 numbers of 4 each; what both sides know from the start (the public set, the architecture) is not sent.
struct FederatedTraffic {
    private(set) var up = 0
    private(set) var down = 0
    /// Of the last round, both ways.
    private(set) var round = 0

    /// One round.
    /// - Parameters:
    ///   - up: numbers that all clients together send to the server.
    ///   - down: numbers that the server sends to all clients together.
    mutating func exchange(up: Int, down: Int) {
        self.up += 4 * up
        self.down += 4 * down
        round = 4 * (up + down)
    }
}

extension FederatedTraffic {
    func describe(_ state: inout TrainingState) {
        state.set("traffic", .array([up, down, round].map(JSON.int)))
    }

    /// What was sent before the training was stopped.
    /// - Throws: `RetortError` 65 for the state of another training.
    init(_ stored: StoredState) throws {
        let sent = try stored.facts.member("traffic").elements().map { try $0.int(in: 0...1 << 60) }
        guard sent.count == 3 else { throw stored.isOther("traffic has \(sent.count) numbers there and 3 here") }
        (up, down, round) = (sent[0], sent[1], sent[2])
    }
}
