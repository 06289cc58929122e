import RetortModels
import RetortSupport

/// Text to tokens, on one thread of the processor: a megabyte of prose, and as much of one letter, which is slow where each merge looks at
/// all pairs that are left. Shape: bytes of text. Both were read before, so that words are known.
enum TokenizerRows {
    static let bytes = 1_000_000
    private static let longestText = 1 << 28
    /// Bytes of prose that made tokenizers are checked with.
    private static let checkedBytes = 100_000

    /// - Parameters:
    ///   - tokenizer: as `Tokenizer.load` takes it; nil for the made ones.
    ///   - text: a file to read in place of made prose.
    ///   - minimumTime: seconds of rounds for each tokenizer, at least.
    ///   - quiet: waited for before each.
    ///   - report: called with each row.
    /// - Throws: exit 65 and 66 for the user's files, 69 when text is split by a pattern and PCRE2 is not installed.
    static func measure(
        tokenizer: String?, text: String?, minimumTime: Double, _ quiet: QuietWait, report: (BenchRow) -> Void
    ) throws {
        let named = try tokenizer.map { try Tokenizer.load($0) }
        let text = try text.map { try read($0) } ?? BenchText.prose(bytes)
        if let named {
            let name = named.kind.lowercased().map { $0.isLetter ? String($0) : "_" }.joined()
            for row in try rows(name, named, text, isRight: nil, minimumTime, quiet) { report(row) }
            return
        }
        let learned = MadeTokenizer.learn()
        for made in MadeTokenizer.allCases where !StopSignal.isRequested {
            let tokenizer = try made.make(learned)
            let isRight = try made.isRight(tokenizer, BenchText.prose(checkedBytes))
            for row in try rows(made.rawValue, tokenizer, text, isRight: isRight, minimumTime, quiet) { report(row) }
        }
    }

    private static func read(_ path: String) throws -> String {
        let bytes = try InputFile.read(path, limit: longestText)
        guard let text = String(validating: bytes, as: UTF8.self), !text.isEmpty else {
            throw RetortError.badData("\(path.quoted(limit: 200)) is empty or not UTF-8", at: .init(file: path))
        }
        return text
    }

    /// The row of the prose, and that of the letter.
    /// - `isRight`: whether a text survived it; nil where that was not looked at.
    static func rows(
        _ name: String, _ tokenizer: Tokenizer, _ prose: String, isRight: Bool?, _ minimumTime: Double,
        _ quiet: QuietWait
    ) throws -> [BenchRow] {
        let count = prose.utf8.count
        let letter = String(repeating: "a", count: count)
        quiet.wait()
        let others = OthersShare()
        _ = (try time(tokenizer, prose), try time(tokenizer, letter))
        var rounds: [(prose: Double, letter: Double)] = []
        var total = 0.0
        repeat {
            let round = (prose: try time(tokenizer, prose), letter: try time(tokenizer, letter))
            rounds.append(round)
            total += round.prose + round.letter
        } while !StopSignal.isRequested
            && (rounds.count < BenchTimer.fewestSamples
                || total < minimumTime * 1e6 && rounds.count < BenchTimer.mostSamples)
        let share = others.share()
        func row(_ kernel: String, _ samples: [Double], isRight: Bool?, _ more: [String: Double]) -> BenchRow {
            let time = Spread(samples)
            var more = more
            more["others_share"] = share
            // Bytes a microsecond.
            more["mb_per_second"] = Double(count) / time.median
            return BenchRow(
                kernel: kernel, shape: "\(count)", dtype: "-", device: "cpu", family: "host", time: time,
                maxRelErr: isRight.map { $0 ? 0.0 : Double.infinity }, isRight: isRight ?? true, more: more)
        }
        return [
            row("tokenize_" + name, rounds.map(\.prose), isRight: isRight, [:]),
            row(
                "tokenize_\(name)_letter", rounds.map(\.letter), isRight: nil,
                ["letter_ratio": Spread(rounds.map { $0.letter / $0.prose }).median]),
        ]
    }

    /// Microseconds of reading a text once.
    private static func time(_ tokenizer: Tokenizer, _ text: String) throws -> Double {
        let start = ContinuousClock.now
        _ = try tokenizer.encode(text, addSpecialTokens: false)
        return (ContinuousClock.now - start).seconds * 1e6
    }
}
