import ArgumentParser
import RetortModels
import RetortSupport

struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a student before its training: fresh, or cut out of a teacher.",
        discussion: """
            Writes a Hugging Face directory with config.json, model.safetensors and the tokenizer, for Llama, Mistral, Qwen2, Qwen3, GPT-2, BERT
            and DistilBERT. From a teacher a student gets chosen layers, or of each matrix the first rows and columns, or both; heads stay whole
            and as wide as they are, and queries keep their keys. From a config.json it gets fresh weights: the same seed, the same bits.

            EXAMPLES
              retort init student --from teacher --every 2
              retort init student --from teacher --layers 0,2,5
              retort init student --from teacher --hidden 256 --intermediate 704 --heads 4 --key-value-heads 2
              retort init student --config config.json --tokenizer teacher --seed 1
            """)

    @Argument(help: "The directory to make; it must not exist.", completion: .directory)
    var student: String
    @Option(help: "The teacher's directory, whose weights are taken.", completion: .directory)
    var from: String?
    @Option(help: "A config.json; the weights are fresh.", completion: .file(extensions: ["json"]))
    var config: String?
    @Option(help: "Layers to keep, counted from 0, with commas: 0,2,4.")
    var layers: LayerNumbers?
    @Option(help: "Keep each n-th layer, the first among them.")
    var every: Int?
    @Option(help: "Width of the residual stream.")
    var hidden: Int?
    @Option(help: "Width between the two layers of the feed-forward block.")
    var intermediate: Int?
    @Option(help: "Attention heads.")
    var heads: Int?
    @Option(help: "Heads of keys and values.")
    var keyValueHeads: Int?
    @Option(
        help: "The directory of its tokenizer (default: the teacher's, or the config's).", completion: .directory)
    var tokenizer: String?
    @Option(help: "Draws fresh weights (default: 0).")
    var seed: UInt64?
    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        func require(_ holds: Bool, _ what: String) throws { if !holds { throw ValidationError(what) } }
        try require((from == nil) != (config == nil), "give --from with a teacher, or --config with a config.json")
        let cuts = layers != nil || every != nil || widths != StudentWidths()
        try require(config == nil || !cuts, "layers and widths are cut out of a teacher: give --from, not --config")
        try require(layers == nil || every == nil, "give --layers or --every, not both")
        try require(from == nil || seed == nil, "--seed draws fresh weights; with --from nothing is drawn")
    }

    private var widths: StudentWidths {
        StudentWidths(hidden: hidden, intermediate: intermediate, heads: heads, keyValueHeads: keyValueHeads)
    }

    func run() throws {
        let choice = layers.map { LayerChoice.these($0.numbers) } ?? every.map(LayerChoice.every) ?? .all
        let made =
            if let from {
                try StudentDirectory.cut(
                    from: from, layers: choice, widths: widths, tokenizer: tokenizer, to: student)
            } else {
                try StudentDirectory.fresh(config: config!, tokenizer: tokenizer, seed: seed ?? 0, to: student)
            }
        let out = TextOutput.standardOutput
        out.writeLine(json ? made.json(at: student).text() : "\(student): \(made.summary)")
    }
}

/// "0,2,4".
struct LayerNumbers: ExpressibleByArgument {
    let numbers: [Int]

    init?(argument: String) {
        let parts = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
        guard !parts.contains(nil) else { return nil }
        numbers = parts.compactMap { $0 }
    }
}
