import ArgumentParser
import RetortModels
import RetortSupport

struct Convert: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a model's directory anew: other types, other shards, adapters merged.",
        discussion: """
            Takes any directory with config.json and safetensors, in one file or in shards. Floating-point weights are rounded to the nearest;
            tokenizer, templates and settings come along, unknown keys of config.json too.

            LoRA adapters as PEFT writes them (adapter_config.json, adapter_model.safetensors) become a model like any other: they are
            merged, in fp32, into the model that they adapt.

            EXAMPLES
              retort convert teacher --output teacher-bf16 --dtype bf16
              retort convert runs/lora/student/seed-0/adapter --output student
              retort convert adapter --base models/llama --output merged --dtype f16
            """)

    @Argument(help: "The directory of a model or of adapters.", completion: .directory)
    var model: String
    @Option(help: "The directory to make; it must not exist.", completion: .directory)
    var output: String
    @Option(help: "What weights are stored as: f32, bf16 or f16.")
    var dtype: SavedType = .f32
    @Option(
        help: "Adapters: the directory of the model that they adapt (default: the one that their config names).",
        completion: .directory)
    var base: String?
    @Option(help: "Bytes of a file at most, unless one array alone is larger.")
    var shardBytes: Int = ShardedWeights.usualBytes
    @Flag(help: "Print one JSON object.")
    var json = false

    func validate() throws {
        guard shardBytes >= 1 else { throw ValidationError("--shard-bytes is 1 or more") }
    }

    func run() throws {
        let made = try ConvertedDirectory.convert(
            model, base: base, to: dtype, folder: output, shardBytes: shardBytes, on: .select("cpu"))
        TextOutput.standardOutput.writeLine(
            json ? made.json(at: output).text() : "\(output.displayable): \(made.summary(dtype))")
    }
}

extension SavedType: ExpressibleByArgument {}
