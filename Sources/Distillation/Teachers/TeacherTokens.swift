import Dispatch
import RetortModels
import RetortSupport
import Synchronization

/// How a teacher's tokens stand to the student's, which are those of the data.
struct TeacherTokens: Sendable {
    /// From the student's to its own; nil where these are the same and no loss wants to know.
    var bridge: TokenBridge?
    /// The tokens that both know, where these are the first ids of both; nil where no tokenizer says so.
    var count: Int?
    /// Of a teacher that cuts texts as the student does and counts its tokens otherwise.
    var renumbering: TokenRenumbering?
    /// What was found of such a teacher, or why another cannot be compared token by token; empty for the student's own tokens.
    var finding = ""

    /// Whether it can be compared across tokenizers alone.
    var isForeign: Bool { renumbering == nil && bridge.map { !$0.isIdentity } ?? false }

    /// What both know; nil where no tokenizer says so.
    var shared: SharedVocabulary? { renumbering?.shared ?? count.map { SharedVocabulary(first: $0) } }
}

extension TeacherTokens {
    /// Of two vocabularies the smaller must share so much of its own with the other, and of the texts' tokens so many must be the same.
    static let leastShared = 0.9
    static let leastSame = 0.99

    /// A teacher whose tokenizer is another than the data's. That texts are cut alike is found by letting both encode all of them: where a
    /// text shows otherwise, the reading ends.
    /// - Parameters:
    ///   - names: what the student's and the teacher's vocabulary are called.
    ///   - corpora: the texts.
    /// - Throws: `RetortError` 65 for a text that a tokenizer cannot read; 75 when a signal asked to stop.
    init(_ bridge: TokenBridge, count: Int?, names: (student: String, teacher: String), _ corpora: [TokenizedCorpus])
        throws
    {
        self.bridge = bridge
        guard !bridge.isIdentity else {
            self.count = count
            return
        }
        let (shared, sizes) = (bridge.shared, bridge.sizes)
        let both = "\(NumberFormat.grouped(shared.count)) tokens are in both"
        guard Double(shared.count) >= Self.leastShared * Double(min(sizes.source, sizes.target)) else {
            finding =
                "\(both), of \(NumberFormat.grouped(sizes.source)) in \(names.student) and "
                + "\(NumberFormat.grouped(sizes.target)) in \(names.teacher): too few to be one vocabulary in another order"
            return
        }
        let found = try TokenAgreement(bridge, of: corpora)
        if let (own, other) = found.difference {
            finding = "\(names.student) cuts a text of the data into \(own), \(names.teacher) into \(other)"
            return
        }
        guard found.tokens > 0, Double(found.same) >= Self.leastSame * Double(found.tokens) else {
            finding =
                "of the \(NumberFormat.grouped(found.tokens)) tokens that \(names.student) cuts the data into, "
                + "\(names.teacher) has \(NumberFormat.grouped(found.same))"
            return
        }
        renumbering = try TokenRenumbering(bridge)
        finding =
            "counts its tokens otherwise and cuts the data as the student does (\(NumberFormat.grouped(found.same)) of "
            + "\(NumberFormat.grouped(found.tokens)) tokens are the same); predictions are compared over the tokens that both know, "
            + "\(NumberFormat.grouped(shared.count)) of the student's \(NumberFormat.grouped(sizes.source)) and the teacher's "
            + "\(NumberFormat.grouped(sizes.target)), as probabilities among these"
    }
}

extension TokenAgreement {
    /// Of all texts; up to the first that the tokenizers cut in different ways.
    /// - Throws: `RetortError` 65; 75 when a signal asked to stop.
    init(_ bridge: TokenBridge, of corpora: [TokenizedCorpus]) throws {
        self.init()
        let block = 64
        for corpus in corpora {
            // Small steps at first: most tokenizers that differ do so in the first text.
            var start = 0
            while start < corpus.count, difference == nil {
                let blocks = start == 0 ? 1 : min(256, (corpus.count - start + block - 1) / block)
                let first = start
                let found = Mutex([Result<TokenAgreement, any Error>?](repeating: nil, count: blocks))
                DispatchQueue.concurrentPerform(iterations: blocks) { number in
                    let range = (first + number * block)..<min(corpus.count, first + (number + 1) * block)
                    let result = Result {
                        try range.reduce(TokenAgreement()) {
                            try $0 + TokenAgreement(bridge, of: corpus.example($1).tokens)
                        }
                    }
                    found.withLock { $0[number] = result }
                }
                self = try found.withLock { $0 }.reduce(self) { try $0 + ($1?.get() ?? TokenAgreement()) }
                start += blocks * block
                if StopSignal.isRequested {
                    throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")")
                }
            }
        }
    }
}
