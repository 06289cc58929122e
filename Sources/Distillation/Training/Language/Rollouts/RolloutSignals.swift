import Foundation
import RetortKernels
import RetortModels
import RetortRuntime

/// What is known of the tokens of texts that a model wrote, at the places they are predicted from; 0 where nothing was written.
/// Row-major `[rows, length]`.
public struct RolloutSignals: Sendable {
    let length: Int
    /// ln q(token) of the student that wrote, in nats.
    var student: [Float]
    /// ln p(token) of the teacher.
    var teacher: [Float]
    /// q(token) over the probability with which it was drawn.
    var importance: [Float]
    /// What a policy loss rewards the token with; set by the loss that wants it.
    var advantage: [Float]
    /// `[rows]`: whether the teacher wrote a text.
    var isTeachers: [Bool]

    init(rows: Int, length: Int) {
        let zero = [Float](repeating: 0, count: rows * length)
        self.length = length
        (student, teacher, importance, advantage) = (zero, zero, zero, zero)
        isTeachers = [Bool](repeating: false, count: rows)
    }

    func rows(_ range: Range<Int>) -> RolloutSignals {
        let part = range.lowerBound * length..<range.upperBound * length
        var signals = RolloutSignals(rows: range.count, length: length)
        signals.student = Array(student[part])
        signals.teacher = Array(teacher[part])
        signals.importance = Array(importance[part])
        signals.advantage = Array(advantage[part])
        signals.isTeachers = Array(isTeachers[range])
        return signals
    }

    /// How likely student and teacher find what was written.
    /// - Parameters:
    ///   - share: the teacher's share of the distribution that tokens were drawn from.
    ///   - classes: how many of their classes, the first ones, both are asked about; nil: all.
    ///   - rows: texts of one forward pass.
    ///   - chunk: how many tokens' logits are held at a time.
    ///   - device: the student's.
    static func measure(
        _ texts: [RolloutText], student: any LanguageModel, teacher: LanguageTeacher, share: Float,
        classes: Int? = nil, rows: Int, chunk: ChunkSize, pad: Int32, on device: Device
    ) throws -> [RolloutText] {
        var measured: [RolloutText] = []
        for start in stride(from: 0, to: texts.count, by: rows) {
            let part = Array(texts[start..<min(texts.count, start + rows)])
            let batch = RolloutBatch(part, pad: pad).batch
            let own = try student.logProbabilities(batch, classes: classes, chunk: chunk, on: device)
            let theirs = try teacher.logProbabilities(batch, classes: classes, chunk: chunk)
            for (row, text) in part.enumerated() {
                let first = row * batch.length + text.prompt.count - 1
                let places = first..<first + text.answer.count
                var text = text
                let (q, p) = (Array(own[places]), Array(theirs[places]))
                text.signals = .init(
                    student: q, teacher: p,
                    importance: zip(q, p).map { q, p in
                        // 1 / ((1 − α) + α·p/q), which no probability of 0 spoils.
                        share == 0 ? 1 : 1 / (1 - share + share * exp(p - q))
                    })
                measured.append(text)
            }
        }
        return measured
    }
}

extension LanguageModel {
    /// ln q(target) at each place `[rows, length]`, 0 where there is none. No gradients.
    /// - Parameters:
    ///   - classes: q is among so many of the first; nil: among all.
    ///   - chunk: how many tokens' logits are held at a time.
    func logProbabilities(
        _ batch: LanguageBatch, classes: Int? = nil, chunk: ChunkSize, on device: Device
    ) throws -> [Float] {
        setTraining(false)
        return try Autograd.withoutGradients {
            let labels = try device.compute.view(batch.targets, [batch.targets.count], .i32)
            let head = try head().narrowed(to: classes ?? vocabulary)
            return try hidden(TokenBatch(batch)).last.chunkedLogProbabilities(labels, head: head, chunk: chunk).values()
        }
    }
}
