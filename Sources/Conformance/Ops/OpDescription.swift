import RetortKernels
import RetortRuntime

/// How much work a sample is, and so where it runs.
public enum SampleSize: Int, Sendable, Comparable, CaseIterable {
    /// A few hundred elements at odd sizes: what Oclgrind checks in a moment.
    case tiny
    /// What every kernel family runs, the GPU family on a CPU included.
    case small
    /// What a CPU device runs only with the kernels made for it.
    case large
    /// Sizes of real training: measured by `bench` and `perf`. `bench` compares what it measured with the reference, tests do not.
    case perf

    public static func < (a: Self, b: Self) -> Bool { a.rawValue < b.rawValue }
}

/// One set of shapes and parameters that an op is tried at.
public struct OpSample: Sendable {
    /// Short and unique within its op: "41x1271 T=4". Also the seed of its numbers, so a sample keeps its inputs when others come
    /// and go.
    public let text: String
    public let size: SampleSize
    let make: @Sendable (inout RandomNumbers) -> OpCase

    init(_ text: String, _ size: SampleSize = .small, _ make: @escaping @Sendable (inout RandomNumbers) -> OpCase) {
        self.text = text
        self.size = size
        self.make = make
    }
}

/// What it takes to check one op on any device: samples, inputs, a float64 reference that knows nothing of the kernels, and the
/// error each output may have. Tests, `test-ops` and `bench` follow from it.
public struct OpDescription: Sendable {
    /// What users type: "softmax".
    public let name: String
    /// The Swift type that conforms to `Op`: "Softmax".
    public let type: String
    public let samples: [OpSample]

    init(_ name: String, _ type: String, _ samples: [OpSample]) {
        self.name = name
        self.type = type
        self.samples = samples
    }

    /// The samples a user means: the one whose text it is, else those that contain it.
    public func samples(matching text: String?) -> [OpSample] {
        guard let text else { return samples }
        let same = samples.filter { $0.text == text }
        return same.isEmpty ? samples.filter { $0.text.contains(text) } : same
    }

    /// The inputs and expectations of a sample.
    func makeCase(_ sample: OpSample, seed: UInt64) -> OpCase {
        var random = RandomNumbers(seed: seed, "\(name) \(sample.text)")
        return sample.make(&random)
    }
}

extension OpDescription {
    /// Every op, group by group.
    public static let all: [OpDescription] =
        [matmul] + convolutions + elementwise + copies + [dropout] + softmaxes + crossEntropies + [
            divergence, sparseDivergence,
        ]
        + layerNorms + rmsNorms + [normedProduct] + rotaries + attentions + batchNorms + pools + resizes + reductions
        + selections + sampling + gathers + augmentations + optimizers
}

extension [Int] {
    /// "41x1271"; "scalar" without dimensions.
    var shapeText: String { isEmpty ? "scalar" : map(String.init).joined(separator: "x") }
    var elements: Int { reduce(1, *) }
}
