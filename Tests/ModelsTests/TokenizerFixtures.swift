import Foundation
import RetortModels
import RetortSupport
import TestSupport
import Testing

/// Where tokenizers and their reference results are.
enum TokenizerFixtures {
    static let folder = Project.root + "/Tests/Fixtures/tokenizers"
    /// RETORT_DATA: the published vocabularies, too large for this repository.
    static let data = ProcessInfo.processInfo.environment["RETORT_DATA"]

    /// Small tokenizers made with Hugging Face's library (scripts/tokenizers/fixtures.py).
    static let names = [
        "added-tokens", "bert-cased", "bert-uncased", "clip", "continuing-prefix", "llama2-legacy", "llama2-metaspace",
        "llama3",
        "metaspace-always", "metaspace-first", "metaspace-never", "nfd", "nfkc", "nfkd", "roberta", "splits-contiguous",
        "splits-inverted", "splits-removed", "unigram-albert", "unigram-bytes", "unigram-t5", "unigram-xlm-roberta",
    ]

    static func json(_ path: String) throws -> JSONCursor { try JSONCursor.read(path) }

    static func ids(_ cursor: JSONCursor) throws -> [Int32] { try cursor.elements().map { Int32(try $0.int()) } }

    static func texts() throws -> [String] { try json(folder + "/texts.json").elements().map { try $0.string() } }
}

/// Records a difference with enough to find it; at most one a call, so that a broken tokenizer does not print for ever.
func expectSame(_ got: [Int32], _ wanted: [Int32], _ what: String, sourceLocation: SourceLocation = #_sourceLocation)
    -> Bool
{
    guard got != wanted else { return true }
    let place = zip(got, wanted).prefix { $0 == $1 }.count
    Issue.record(
        "\(what): \(got.count) ids, not \(wanted.count); from \(place) on \(got.dropFirst(place).prefix(6)), not \(wanted.dropFirst(place).prefix(6))",
        sourceLocation: sourceLocation)
    return false
}

func expectSame(_ got: String, _ wanted: String, _ what: String, sourceLocation: SourceLocation = #_sourceLocation)
    -> Bool
{
    guard !got.hasSameBytes(as: wanted) else { return true }
    Issue.record("\(what): \(got.quoted(limit: 200)), not \(wanted.quoted(limit: 200))", sourceLocation: sourceLocation)
    return false
}
