import ArgumentParser
import RetortKernels

/// What the weights of a language model are stored as while it is measured or writes.
struct WeightOptions: ParsableArguments {
    enum Storage: String, ExpressibleByArgument, CaseIterable {
        case f32, bf16

        var dtype: DType { self == .bf16 ? .bf16 : .f32 }
    }

    @Option(help: "Language models: what weight matrices are stored as, f32 or bf16: half the memory; sums stay fp32.")
    var dtype: Storage = .f32

    /// The flags that were given.
    var given: [String] { dtype == .f32 ? [] : ["--dtype"] }
}
