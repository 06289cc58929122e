import Foundation
import RetortData
import RetortSupport

/// A model's answers to the prompts of a file: JSON lines in the prompts' order, which training reads (`prompt` and `completion`, or
/// `messages`), each with its `TextFinish`.
///
/// The file grows batch by batch. What was asked is kept beside it, in `<file>.state.json`; the same question goes on behind the last line,
/// another one is refused.
public struct AnswerFile {
    private let writer: TextGenerator
    private let encoder: ExampleEncoder
    private let source: TextSource
    private let options: WritingOptions
    private let identity: JSON
    /// The records that are answered, in order: those whose prompts the model can read.
    private let asked: [Int]
    /// Answers to each, one behind the other.
    private let samples: Int
    /// What was found in the prompts' file; among the records that are left out are those that the model cannot read.
    public let summary: TextSource.Summary
    /// How many answers are written.
    public var count: Int { asked.count * samples }

    /// Looks at every prompt, before the first is answered.
    /// - `onBadPrompt`: whether a prompt that the model cannot read is an error, or left out.
    /// - `template`: how conversations are written; nil: the tokenizer's own.
    /// - `separator`: between a plain prompt and its answer.
    /// - `samples`: answers to each prompt, 1 or more.
    /// - `model`: what the manifest calls the model: a digest of its files.
    /// - Throws: `RetortError` 65, with the place, for a prompt that the model cannot read, unless such are left out.
    public init(
        _ writer: TextGenerator, _ source: TextSource, template: ChatTemplate? = nil, separator: String = "",
        samples: Int = 1, options: WritingOptions, model: String, onBadPrompt: BadLinePolicy = .error
    ) throws {
        self.samples = max(1, samples)
        self.writer = writer
        self.source = source
        self.options = options.below(writer.tokenizer.idLimit)
        let encoder = try ExampleEncoder(
            writer.tokenizer, template: template, options: ExampleOptions(separator: separator, appendsEnd: false))
        self.encoder = encoder
        var asked: [Int] = []
        var summary = source.summary
        for number in 0..<source.count {
            let record = try source.record(number)
            do {
                _ = try writer.checked(try encoder.prompt(record), at: record.place?.location)
                asked.append(number)
            } catch var error as RetortError where error.exit == .badData {
                guard onBadPrompt == .skip else {
                    if error.help.isEmpty { error.help = "--on-bad-line skip leaves such records out" }
                    throw error
                }
                summary.leaveOut(error)
            }
        }
        self.asked = asked
        self.summary = summary
        let s = options.sampling
        identity = [
            "format": "retort-answers-1", "model_sha256": .string(model), "data_sha256": .string(source.summary.digest),
            "template": template.map { .string($0.name) } ?? .null, "separator": .string(separator),
            "max_new_tokens": .int(options.count), "temperature": .double(s.temperature),
            "top_k": s.topK.map { .int($0) } ?? .null, "top_p": s.topP.map { .double($0) } ?? .null,
            "min_p": s.minP.map { .double($0) } ?? .null, "repetition_penalty": .double(s.repetitionPenalty),
            "seed": .string(String(s.seed)), "ends": .array(options.ends.sorted().map { .int(Int($0)) }),
            "cache": options.cacheType == .bf16 ? "bf16" : .null, "samples": samples > 1 ? .int(samples) : .null,
        ]
    }

    /// Writes what is not there yet.
    /// - `batch`: prompts that are answered side by side.
    /// - `onProgress`: called with the answers that are there.
    /// - Returns: how many answers were there before.
    /// - Throws: `RetortError` 65, with the place, for a line that is not the answer to its prompt; 73 for a file that answers another question
    ///   or that another program is writing; 74 on a full disk; 75 when a signal asked to stop: whole batches are kept.
    public func write(to path: String, batch: Int, onProgress: (Int) -> Void = { _ in }) throws -> Int {
        let state = try claim(path)
        let there = try resume(path)
        let file = try AppendFile(path: path)
        for start in stride(from: there, to: count, by: batch) {
            let numbers = start..<min(count, start + batch)
            let records = try numbers.map { try record(answer: $0) }
            let prompts = try records.map { try encoder.prompt($0) }
            // Draws go by the record's own number: leaving others out changes no answer.
            let texts = numbers.map { asked[$0 / samples] * samples + $0 % samples }
            let answers = try writer.model.generate(prompts, options, texts: texts)
            for (record, (prompt, tokens)) in zip(records, zip(prompts, answers)) {
                try file.append(line: try line(record, prompt, tokens))
            }
            onProgress(start + numbers.count)
        }
        try file.synchronize()
        try file.close()
        // Kept as long as something was written.
        try state.close()
        return there
    }

    /// What an answer is to, by its place in the file.
    private func record(answer: Int) throws -> TextRecord { try source.record(asked[answer / samples]) }

    private func line(_ record: TextRecord, _ prompt: [Int32], _ tokens: [Int32]) throws -> String {
        let ending: (key: String, value: JSON) = ("finish", .string(TextFinish(tokens, options).rawValue))
        let kept = record.kept.members.map { (key: $0.key, value: $0.value) }
        let answer = try writer.text(tokens, behind: prompt)
        return JSON.object(Self.talk(record, answer) + [ending] + kept).text()
    }

    /// A prompt and what is said to it.
    private static func talk(_ record: TextRecord, _ answer: String) -> [(key: String, value: JSON)] {
        func turn(_ role: String, _ content: String) -> JSON { ["role": .string(role), "content": .string(content)] }
        func talk(_ turns: [TextMessage]) -> [(key: String, value: JSON)] {
            let asked = turns.reversed().drop { $0.role == .assistant }.reversed()
            return [
                ("messages", .array(asked.map { turn($0.role.rawValue, $0.content) } + [turn("assistant", answer)]))
            ]
        }
        switch record.content {
        case .text(let text), .prompt(let text), .completion(let text, _):
            return [("prompt", .string(text)), ("completion", .string(answer))]
        case .conversation(let turns): return talk(turns)
        case .preference(let turns, _, _): return talk(turns)
        }
    }

    /// - Throws: `RetortError` 65 for a line that is not what is written to a record.
    private static func check(_ line: JSONCursor, answers record: TextRecord) throws {
        let answer =
            if let messages = try line.optional("messages") {
                try messages.elements().last?.member("content").string() ?? ""
            } else {
                try line.member("completion").string()
            }
        for (key, value) in talk(record, answer) where try line.member(key).value != value {
            throw try line.member(key).failure("it is not what the data ask there")
        }
    }

    /// Keeps the file of answers for this process, and says beside it what it answers.
    /// - Returns: the file that says so, which is the lock: the answers themselves may be mended by another in their place.
    /// - Throws: `RetortError` 73 for a file that answers another question, or that another program is writing.
    private func claim(_ path: String) throws -> AppendFile {
        let state = path + ".state.json"
        let shown = path.quoted(limit: 200)
        let untouched = "choose another --output; nothing in this file was touched"
        let isThere = FileManager.default.fileExists(atPath: path)
        if isThere, !FileManager.default.fileExists(atPath: state) {
            throw RetortError.cannotCreate(
                "\(shown) is there already", why: "nothing says what it answers", help: untouched)
        }
        let file = try AppendFile(path: state)
        guard file.claim() else {
            throw RetortError.cannotCreate(
                "\(shown) is in use", why: "another retort is writing answers to it", help: untouched)
        }
        if try InputFile(path: state).size == 0 {
            guard !isThere else {
                throw RetortError.cannotCreate(
                    "\(shown) is there already", why: "nothing says what it answers", help: untouched)
            }
            try file.append(line: identity.text(.pretty))
            try file.synchronize()
            return file
        }
        let old = try JSON.read(state)
        for (key, value) in identity.members where (old[key] ?? .null) != value {
            guard isThere else {
                throw RetortError.cannotCreate(
                    "\(state.quoted(limit: 200)) is of answers to another question", why: "its \(key) differs",
                    help: "the answers are gone: remove this file too, or choose another --output")
            }
            throw RetortError.cannotCreate(
                "\(shown) holds the answers to another question", why: "its \(key) differs", help: untouched)
        }
        return file
    }

    /// The answers that are there already; leaves the file without a line that was cut off.
    private func resume(_ path: String) throws -> Int {
        let lines = try AppendFile.wholeValues(of: path)
        for (number, line) in lines.enumerated() {
            guard number < count else {
                throw line.failure(
                    samples == 1
                        ? "there are no more than \(count) prompts"
                        : "there are no more than \(count) answers to \(asked.count) prompts", help: AppendFile.mending)
            }
            do { try Self.check(line, answers: record(answer: number)) } catch var error as RetortError {
                if error.location?.file == path { error.help = AppendFile.mending }
                throw error
            }
        }
        return lines.count
    }
}

extension JSON {
    fileprivate var members: [(key: String, value: JSON)] {
        guard case .object(let object) = self else { return [] }
        return object.members.map { ($0.key, $0.value) }
    }
}
