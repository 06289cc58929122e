import Foundation
import RetortKernels
import RetortRuntime

/// AdamW over a flat array, and the global norm that comes before it.
enum OptimizerCases {
    static let parameters = 1 << 21

    static var all: [BenchCase] { [adamW(parameters), norm(parameters)] }

    private static func adamW(_ count: Int) -> BenchCase {
        BenchCase(.optimizer, "adamw", [1, count]) { device, random in
            let compute = device.compute
            let (p, g) = (random.floats(count), random.floats(count, deviation: 0.1))
            let values = try compute.view(p, [count], for: .parameters)
            let gradients = try compute.view(g, [count], for: .gradients)
            let (first, second) = (try compute.empty([count]), try compute.empty([count]))
            for moment in [first, second] { try run(Fill(0), .init(y: moment), on: compute) }
            let options = AdamUpdate.Options(weightDecay: 0.01, decoupled: true)
            // The step number stays, so that every run does the same arithmetic.
            let op = AdamUpdate(options, learningRate: learningRate, step: step)
            let operands = AdamUpdate.Operands(
                values: values, gradients: gradients, first: first, second: second, secondMaximum: nil,
                factor: try compute.view([Float(1)], [1]), skip: try compute.view([Int32(0)], [1], .i32))
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [], tolerance: 1e-4,
                run: { try run(op, operands, on: compute) },
                reference: { runs in
                    var scale = ErrorScale()
                    let after: [Float] = try compute.read(values)
                    for i in stride(from: 0, to: count, by: count / 61) {
                        scale.add(after[i], replay(Double(p[i]), Double(g[i]), options, steps: runs))
                    }
                    return scale.error
                })
        }
    }

    private static let learningRate: Float = 1e-4
    private static let step = 10

    /// One parameter through `steps` updates in double.
    private static func replay(_ p: Double, _ g: Double, _ o: AdamUpdate.Options, steps: Int) -> Double {
        let lr = Double(learningRate)
        let correction1 = 1 - pow(o.beta1, Double(step))
        let correction2 = (1 - pow(o.beta2, Double(step))).squareRoot()
        var (p, m, v) = (p, 0.0, 0.0)
        for _ in 0..<steps {
            p -= lr * Double(o.weightDecay) * p
            m += (1 - o.beta1) * (g - m)
            v = o.beta2 * v + (1 - o.beta2) * g * g
            p -= lr / correction1 * m / (v.squareRoot() / correction2 + Double(o.epsilon))
        }
        return p
    }

    private static func norm(_ count: Int) -> BenchCase {
        BenchCase(.optimizer, "gradient_norm", [1, count]) { device, random in
            let compute = device.compute
            let g = random.floats(count)
            let norm = try compute.empty([1])
            let operands = GradientNorm.Operands(
                gradients: try compute.view(g, [count]), norm: norm, factor: try compute.empty([1]),
                skip: try compute.empty([1], .i32), nonFinite: try compute.view([Int32(0)], [1], .i32))
            let op = GradientNorm(maximum: 1)
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [norm], tolerance: 1e-6,
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    var scale = ErrorScale()
                    scale.add(try compute.read(norm), [g.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()])
                    return scale.error
                })
        }
    }
}
