import ArgumentParser
import RetortKernels

/// What the weights of a language model or an encoder are stored as while it is measured, writes, or makes vectors.
struct WeightOptions: ParsableArguments {
    enum Storage: String, ExpressibleByArgument, CaseIterable {
        case f32, bf16

        var dtype: DType { self == .bf16 ? .bf16 : .f32 }
    }

    @Option(help: "Models of text: what weight matrices are stored as, f32 or bf16: half the memory; sums stay fp32.")
    var dtype: Storage = .f32

    /// The flags that were given.
    var given: [String] { dtype == .f32 ? [] : ["--dtype"] }
}
