import RetortKernels
import RetortRuntime

/// Batch norm as a convolutional network has it; shapes of ResNet-20 and ResNet-18, batch 64.
enum BatchNormCases {
    static var all: [BenchCase] {
        [[64, 16, 32, 32], [64, 64, 8, 8], [64, 64, 56, 56]].flatMap { [batchNorm($0), batchNormBackward($0)] }
    }

    /// With ReLU, as between the convolutions of a block.
    static func batchNorm(_ sizes: [Int]) -> BenchCase {
        BenchCase(.rows, "batch_norm", sizes) { device, random in
            let compute = device.compute
            let channels = sizes[1]
            let (weights, biases) = (random.floats(channels), random.floats(channels))
            let (x, y) = (try random.view(sizes, on: compute), try compute.empty(Dimensions(sizes)))
            let operands = BatchNorm.Operands(
                x: x, weight: try compute.view(weights, [channels]), bias: try compute.view(biases, [channels]), y: y,
                mean: try compute.empty([channels]), rstd: try compute.empty([channels]))
            let op = BatchNorm(relu: true)
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [y], tolerance: 1e-5,
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    var scale = ErrorScale()
                    let (input, output): ([Float], [Float]) = (try compute.read(x), try compute.read(y))
                    for c in RowCheck.rows(of: channels) {
                        let at = places(of: c, sizes)
                        let (mean, rstd) = statistics(at.map { Double(input[$0]) }, op.epsilon)
                        for i in at {
                            let v = (Double(input[i]) - mean) * rstd * Double(weights[c]) + Double(biases[c])
                            scale.add(output[i], max(0, v))
                        }
                    }
                    return scale.error
                })
        }
    }

    static func batchNormBackward(_ sizes: [Int]) -> BenchCase {
        BenchCase(.rows, "batch_norm_backward", sizes) { device, random in
            let compute = device.compute
            let channels = sizes[1]
            let weights = random.floats(channels)
            let (x, dy) = (try random.view(sizes, on: compute), try random.view(sizes, on: compute))
            // Half of what ReLU let through is 0.
            let y = try random.view(sizes, on: compute)
            let dx = try compute.empty(Dimensions(sizes))
            let (dWeight, dBias) = (try compute.empty([channels]), try compute.empty([channels]))
            let means = random.floats(channels, deviation: 0.1)
            let rstds = random.floats(channels, deviation: 0.1).map { 1 + $0 }
            let operands = BatchNormBackward.Operands(
                x: x, weight: try compute.view(weights, [channels]), mean: try compute.view(means, [channels]),
                spread: try compute.view(rstds, [channels]), y: y, dy: dy, dx: .write(dx), dWeight: .write(dWeight),
                dBias: .write(dBias))
            let op = BatchNormBackward(.batch, relu: true)
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [dx, dWeight, dBias], tolerance: 1e-5,
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    var scale = ErrorScale()
                    let input: [Float] = try compute.read(x)
                    let (mask, upstream): ([Float], [Float]) = (try compute.read(y), try compute.read(dy))
                    let output: [Float] = try compute.read(dx)
                    for c in RowCheck.rows(of: channels) {
                        let at = places(of: c, sizes)
                        let g = at.map { mask[$0] > 0 ? Double(upstream[$0]) : 0 }
                        let n = at.map { (Double(input[$0]) - Double(means[c])) * Double(rstds[c]) }
                        let sum = g.reduce(0, +) / Double(at.count)
                        let product = zip(g, n).reduce(0) { $0 + $1.0 * $1.1 } / Double(at.count)
                        for (k, i) in at.enumerated() {
                            scale.add(
                                output[i], Double(weights[c]) * Double(rstds[c]) * (g[k] - sum - n[k] * product))
                        }
                    }
                    return scale.error
                })
        }
    }

    /// Row-major indices of a channel's elements.
    private static func places(of channel: Int, _ sizes: [Int]) -> [Int] {
        let inner = sizes[2] * sizes[3]
        return (0..<sizes[0]).flatMap { n -> Range<Int> in
            let first = (n * sizes[1] + channel) * inner
            return first..<first + inner
        }
    }

    private static func statistics(_ values: [Double], _ epsilon: Float) -> (mean: Double, rstd: Double) {
        let mean = values.reduce(0, +) / Double(values.count)
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
        return (mean, 1 / (variance + Double(epsilon)).squareRoot())
    }
}
