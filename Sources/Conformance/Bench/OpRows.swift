import RetortKernels
import RetortRuntime

/// A row for every op that has none in a file of its own: the samples of size `perf` that its description has, checked against the
/// description's reference. An op that gets a description has its rows by that.
enum OpRows {
    /// Ops whose rows are made by hand, at shapes that are compared with other engines or too large for a reference of every element.
    static let written: Set<String> = [
        "matmul", "conv2d", "conv2d_backward_input", "conv2d_backward_weight", "softmax", "cross_entropy", "divergence",
        "flash_attention", "flash_attention_backward", "batch_norm", "batch_norm_backward", "copy", "gather", "adam",
        "gradient_norm",
    ]

    static var all: [BenchCase] {
        OpDescription.all.filter { !written.contains($0.name) }.flatMap { description in
            description.samples.filter { $0.size == .perf }.map { row(description, $0) }
        }
    }

    static func row(_ description: OpDescription, _ sample: OpSample) -> BenchCase {
        let title = OpRowTitle(description.name, sample.text)
        return BenchCase(group(of: description.name), title.kernel, title.sizes, dtype: title.dtype) { device, _ in
            // The numbers of `test-ops`, which can repeat what fails here.
            try placed(description.makeCase(sample, seed: 0), on: device.compute)
        }
    }

    private static func group(of op: String) -> BenchGroup {
        let groups: [(BenchGroup, [OpDescription])] = [
            (.softmax, OpDescription.softmaxes + OpDescription.crossEntropies), (.kd, [.sparseDivergence]),
            (.optimizer, OpDescription.optimizers),
        ]
        return groups.first { $0.1.contains { $0.name == op } }?.0 ?? .rows
    }

    private static func placed(_ opCase: OpCase, on device: ComputeDevice) throws -> BenchSet {
        let (views, wholes) = try OpCheck.place(opCase, on: device)
        let call = try opCase.prepare(views)
        let isUpdating = opCase.arrays.contains { $0.isUpdated }
        return BenchSet(
            on: device, cost: try opCase.cost(views),
            outputs: opCase.arrays.filter { $0.isOutput && !$0.isUpdated }.map { views[$0.name] },
            // Each element has an allowance of its own; one beyond it makes the error infinite.
            tolerance: .greatestFiniteMagnitude, again: { try placed(opCase, on: device) }, run: call,
            reference: { _ in
                // What was updated once a run says nothing of one run.
                if isUpdating {
                    try OpCheck.restoreUpdated(opCase, in: wholes, on: device)
                    try call()
                }
                let check = try OpCheck(opCase, in: wholes, expecting: opCase.reference(), on: device)
                return check.problems.isEmpty ? check.relative : .infinity
            })
    }
}

/// What a row is called that stands for a sample: the op and the sample's words make the kernel's name, its numbers the shape. "2048 of
/// 32000x768" of `gather` is `gather`, 2048x32000x768.
struct OpRowTitle: Equatable {
    let kernel: String
    let sizes: [Int]
    let dtype: DType

    /// Between two shapes; they say nothing without them.
    private static let joints: Set<String> = ["of", "onto", "to", "with"]

    init(_ op: String, _ sample: String) {
        var words = sample.split(separator: " ").map(String.init)
        let type = words.last.flatMap { DType(rawValue: $0) }
        if type != nil { words.removeLast() }
        var names = [op]
        var sizes: [Int] = []
        for word in words where !Self.joints.contains(word) {
            let numbers = word.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
            let known = numbers.compactMap { $0 }
            if known.count == numbers.count { sizes += known } else { names.append(word) }
        }
        kernel = names.joined(separator: "_")
        self.sizes = sizes
        dtype = type ?? .f32
    }
}
