import RetortData
import RetortModels
import RetortSupport

/// How text becomes examples: what `data` of a recipe and the options of `retort eval` say alike.
public struct TextSettings: Sendable {
    /// How files are read.
    public var source: TextOptions
    /// How records become tokens.
    public var examples: ExampleOptions
    /// The directory of the tokenizer; nil: the first model's that has one.
    public var tokenizer: String?
    /// A name of `ChatTemplate`; nil: as the tokenizer's files say.
    public var template: String?

    public init(
        source: TextOptions = TextOptions(), examples: ExampleOptions = ExampleOptions(), tokenizer: String? = nil,
        template: String? = nil
    ) {
        self.source = source
        self.examples = examples
        self.tokenizer = tokenizer
        self.template = template
    }

    /// The directory that the tokenizer is read from; nil: there is none.
    /// - Parameter others: directories that may have one, the first that does counts.
    func folder(among others: [String]) -> String? {
        tokenizer ?? others.first { LanguageModelDirectory.hasTokenizer($0) }
    }

    /// What is said where none of these directories has a tokenizer: of one that is not there it is the path that is wrong.
    static func noTokenizer(among others: [String], at location: RetortError.Location? = nil) -> RetortError {
        let help = "add data.tokenizer, the directory of a tokenizer"
        guard let missing = others.first(where: { !Folder.exists($0) }) else {
            return .recipe("nothing says how text becomes tokens", at: location, help: help)
        }
        return .missingInput(
            "there is no model directory \(missing.quoted(limit: 200))", why: "the tokenizer would be read from there",
            help: "correct the path, or \(help)")
    }

    /// - Throws: `RetortError` 64 for a template that is not known, 78 for options that do not fit together.
    func encoder(_ tokenizer: Tokenizer) throws -> ExampleEncoder {
        try ExampleEncoder(tokenizer, template: try template.map { try ChatTemplate.named($0) }, options: examples)
    }
}

/// Some of the records of a source.
struct TextRecordChoice: TextRecords {
    private let source: TextSource
    private let numbers: [Int]

    init(_ source: TextSource, _ numbers: [Int]) {
        self.source = source
        self.numbers = numbers
    }

    var count: Int { numbers.count }
    func record(_ number: Int) throws -> TextRecord { try source.record(numbers[number]) }
}
