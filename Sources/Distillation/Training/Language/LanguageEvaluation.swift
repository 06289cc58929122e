import Foundation
import RetortKernels
import RetortModels
import RetortRuntime
import RetortSupport

/// How well a language model predicts the tokens of examples, and how it differs from a teacher. Means over all tokens that are to be
/// predicted, in nats.
struct LanguageEvaluation: Sendable {
    private(set) var tokens = 0
    /// Mean of −ln q(token).
    private(set) var crossEntropy = 0.0
    /// Share of tokens that are the likeliest.
    private(set) var accuracy = 0.0
    /// Against the teacher, or the mean of several teachers' probabilities; nil without one.
    private(set) var comparison: Comparison?

    /// Means over the tokens that the teacher can predict: all, unless it counts tokens otherwise and does not know some.
    struct Comparison: Sendable {
        /// Mean of KL(teacher ‖ student) and of KL(student ‖ teacher).
        var forward = 0.0
        var reverse = 0.0
        /// Share of tokens for which both find the same successor likeliest.
        var agreement = 0.0
        /// The same by how sure the teacher is.
        var bins: [EntropyBin] = []
    }

    var perplexity: Double { exp(crossEntropy) }

    /// - Parameters:
    ///   - data: all of its first epoch is looked at, a batch at a time.
    ///   - teachers: models; or one of which a cache has these texts: the classes that it does not keep are one outcome then.
    init(
        _ model: any LanguageModel, _ data: LanguageBatches, teachers: [LanguageTeacher] = [], on device: Device
    ) throws {
        model.setTraining(false)
        var sums = Sums()
        let epoch = data.epoch(0)
        for step in 0..<epoch.steps {
            try Autograd.withoutGradients { try sums.add(epoch.batch(step), model, teachers, on: device) }
            if StopSignal.isRequested { throw RetortError.stopped("stopped by \(StopSignal.name ?? "a signal")") }
        }
        tokens = sums.tokens
        let count = Double(max(1, tokens))
        crossEntropy = sums.crossEntropy / count
        accuracy = Double(sums.hits) / count
        comparison =
            teachers.isEmpty
            ? nil
            : Comparison(
                forward: sums.forward / sums.comparedCount, reverse: sums.reverse / sums.comparedCount,
                agreement: Double(sums.same) / sums.comparedCount, bins: sums.byEntropy.bins)
    }

    private struct Sums {
        var tokens = 0
        var crossEntropy = 0.0
        var hits = 0
        /// Tokens that the teacher can predict.
        var compared = 0
        var forward = 0.0
        var reverse = 0.0
        var same = 0
        var byEntropy = EntropySums()
        var comparedCount: Double { Double(max(1, compared)) }

        mutating func add(
            _ batch: LanguageBatch, _ model: any LanguageModel, _ teachers: [LanguageTeacher], on device: Device
        ) throws {
            let ids = try TokenBatch(batch)
            let (states, head) = (try model.hidden(ids).last, try model.head())
            // Of an encoder's places those that are to be guessed: most are not.
            let places = model.isCausal ? nil : batch.targets.indices.filter { batch.targets[$0] >= 0 }.map(Int32.init)
            let targets = places.map { $0.map { batch.targets[Int($0)] } } ?? batch.targets
            let count = targets.count
            guard count > 0 else { return }
            let hidden = try states.reshaped([batch.targets.count, head.hidden]).rows(at: places)
            if let cache = teachers.first?.cache {
                let kept = try cache.lesson(batch, capturing: [], on: device)
                return try add(hidden, head, targets, kept.predictions, kept.likeliest, on: device)
            }
            let classes = ComparedClasses(teachers, beside: head.classes)
            let taught = try LanguageTeacher.mean(teachers, of: batch, ids, classes: classes, at: places, on: device)
            // Of each place the class that follows, where teachers can predict it.
            let known = targets.enumerated().map { number, target -> Int32? in
                guard taught?.isRead?[places.map { Int($0[number]) } ?? number] ?? true else { return nil }
                return classes.map { $0.place(of: target) } ?? target
            }
            let rows = Self.rows(head)
            let space = try taught.map { try device.compute.empty([min(rows, count), $0.logits.classes]) }
            for start in stride(from: 0, to: count, by: rows) {
                let range = start..<min(count, start + rows)
                let logits = try head.logits(Tensor(view: hidden.view.slice(range), on: device))
                try add(logits, Array(targets[range]), Array(known[range]), classes, on: device) {
                    try taught?.logits.logits(range, in: space?.slice(0..<range.count))
                }
            }
        }

        /// Rows of a chunk of logits, which has at most 64 MiB.
        private static func rows(_ head: OutputHead) -> Int { max(1, (16 << 20) / max(1, head.classes)) }

        /// What a model says by itself.
        /// - Returns: the rows that are learned, and of all rows the likeliest class.
        private mutating func add(_ logits: Tensor, _ targets: [Int32], on device: Device) throws -> (
            places: [Int], best: [Int32]
        ) {
            let labels = try device.compute.view(targets, [targets.count], .i32)
            let places = targets.indices.filter { targets[$0] != LanguageBatch.ignored }
            let losses = try logits.crossEntropyPerRow(labels).values()
            let best = try device.compute.read(logits.argmax(-1), as: Int32.self)
            tokens += places.count
            for place in places {
                crossEntropy += Double(losses[place])
                if best[place] == targets[place] { hits += 1 }
            }
            return (places, best)
        }

        /// Beside what was kept of a teacher.
        /// - Parameter likeliest: of each row the class that the teacher finds likeliest.
        private mutating func add(
            _ hidden: Tensor, _ head: OutputHead, _ targets: [Int32], _ kept: SparseTeacher, _ likeliest: [Int32],
            on device: Device
        ) throws {
            for start in stride(from: 0, to: targets.count, by: Self.rows(head)) {
                let range = start..<min(targets.count, start + Self.rows(head))
                let logits = try head.logits(Tensor(view: hidden.view.slice(range), on: device))
                let own = Array(targets[range])
                let (places, best) = try add(logits, own, on: device)
                let weights = try device.compute.view(
                    own.map { $0 == LanguageBatch.ignored ? 0 : 1 } as [Float], [own.count])
                // Heads are often longer than the vocabulary that a cache is of.
                let compared = kept.classes < head.classes ? try logits.narrowed(axis: 1, 0..<kept.classes) : logits
                func divergence(_ kind: DivergenceKind) throws -> [Float] {
                    try compared.divergence(
                        SparseDivergence(kind), teacher: kept.slice(range), rowWeights: weights
                    ).perRow.values()
                }
                let (there, back) = (try divergence(.forwardKL), try divergence(.reverseKL))
                self.compared += places.count
                for place in places {
                    forward += Double(there[place])
                    reverse += Double(back[place])
                    if best[place] == likeliest[range.lowerBound + place] { same += 1 }
                }
            }
        }

        /// - Parameter known: the classes of the targets that teachers can predict.
        private mutating func add(
            _ logits: Tensor, _ targets: [Int32], _ known: [Int32?], _ classes: ComparedClasses?, on device: Device,
            teacher: () throws -> View?
        ) throws {
            let (places, best) = try add(logits, targets, on: device)
            guard let taught = try teacher() else { return }
            let theirs = try device.compute.read(Tensor(view: taught, on: device).argmax(-1), as: Int32.self)
            let logits = try classes.map { try $0.columns(of: logits) } ?? logits
            let there = try logits.divergence(Divergence(.forwardKL), teacher: taught).perRow.values()
            let back = try logits.divergence(Divergence(.reverseKL), teacher: taught).perRow.values()
            // −Σ P ln P: what the teacher's prediction costs itself.
            let entropy = try Tensor(view: taught, on: device).divergence(
                Divergence(.forwardCrossEntropy), teacher: taught
            ).perRow.values()
            for place in places where known[place] != nil {
                let agrees = best[place] == (classes.map { $0.ids[Int(theirs[place])] } ?? theirs[place])
                compared += 1
                forward += Double(there[place])
                reverse += Double(back[place])
                if agrees { same += 1 }
                byEntropy.add(
                    entropy: Double(entropy[place]), divergence: Double(there[place]), agrees: agrees)
            }
        }
    }
}

extension LanguageEvaluation {
    /// What tables show.
    var metrics: [Metric: Double] {
        var metrics: [Metric: Double] = [.accuracy: accuracy, .crossEntropy: crossEntropy, .perplexity: perplexity]
        if let comparison {
            metrics[.agreement] = comparison.agreement
            metrics[.klToTeacher] = comparison.forward
            metrics[.reverseKL] = comparison.reverse
        }
        return metrics
    }
}

/// Median time of a forward pass of the first example, in microseconds, everything enqueued and waited for.
func forwardLatency(_ model: any LanguageModel, _ data: LanguageBatches, on device: Device) throws -> Double {
    model.setTraining(false)
    let tokens = try TokenBatch(data.batch(of: [0]))
    return try medianMicroseconds(on: device) { _ = try Autograd.withoutGradients { try model.forward(tokens) } }
}
