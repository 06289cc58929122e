import RetortRuntime

/// relu(f(x) + shortcut(x)) (He et al. 2016, arXiv:1512.03385).
protocol ResidualBlock: Module {
    /// The norm that ends f.
    var lastNorm: BatchNorm2d { get }
    /// - Parameter relu: whether the sum is activated.
    func callAsFunction(_ x: Tensor, relu: Bool) throws -> Tensor
}

/// The stages of a residual network, `layer1`, `layer2` …: signals after their last ReLU, and `layer<s>.preactivation` before it,
/// `[rows, channels, h, w]`.
struct ResidualStages {
    private let stages: [[any ResidualBlock]]

    init(_ stages: [[any ResidualBlock]]) { self.stages = stages }

    var blocks: [any Module] { stages.flatMap { $0 } }
    var paths: [String] { stages.indices.map { "layer\($0 + 1)" } }

    /// The norm whose result is the path's signal, or goes into it, before any activation; nil for other signals.
    func batchNorm(before path: String) -> BatchNorm2d? {
        zip(paths, stages).first { path == $0.0 + ".preactivation" }?.1.last?.lastNorm
    }

    func callAsFunction(_ x: Tensor, _ recorder: inout SignalRecorder) throws -> Tensor {
        var x = x
        for (path, blocks) in zip(paths, stages) {
            for block in blocks.dropLast() { x = try block(x, relu: true) }
            if recorder.wants(path + ".preactivation") {
                let before = try blocks[blocks.count - 1](x, relu: false)
                recorder.keep(path + ".preactivation", before)
                x = try before.relu()
            } else {
                x = try blocks[blocks.count - 1](x, relu: true)
            }
            recorder.keep(path, x)
        }
        return x
    }
}
