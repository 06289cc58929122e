import Foundation
import RetortKernels
import RetortRuntime

/// The fused distillation loss, value and gradient in one launch: T² · KL(teacher ‖ student), mean over rows, T = 4.
enum DivergenceCases {
    static let shapes = [[2048, 32000], [512, 151_936], [8192, 100]]
    static let temperature: Float = 4

    static var all: [BenchCase] { shapes.map { rows($0) } }

    static func rows(_ sizes: [Int]) -> BenchCase {
        let (rows, columns) = (sizes[0], sizes[1])
        return BenchCase(.kd, "kd_forward_kl", sizes) { device, random in
            let compute = device.compute
            let op = Divergence(
                .forwardKL, temperature: temperature, softWeight: temperature * temperature,
                reportedFactor: temperature * temperature, scale: 1 / Float(rows))
            let part = { try compute.empty([rows]) }
            let operands = Divergence.Operands(
                student: try random.view(sizes, deviation: 3, on: compute),
                teacher: try random.view(sizes, deviation: 3, on: compute), labels: nil, rowWeights: nil,
                loss: try part(),
                divergence: try part(), crossEntropy: try part(), gradient: try compute.empty([rows, columns]))
            return BenchSet(
                on: compute, cost: op.cost(operands),
                outputs: [operands.loss, operands.divergence, operands.gradient!],
                tolerance: 1e-5, run: { try run(op, operands, on: compute) },
                reference: { _ in try error(op, operands, on: compute) })
        }
    }

    /// Loss and gradient of three rows against float64; the larger of the two relative errors.
    private static func error(_ op: Divergence, _ o: Divergence.Operands, on device: ComputeDevice) throws -> Double {
        var (losses, gradients) = (ErrorScale(), ErrorScale())
        let loss: [Float] = try device.read(o.loss)
        let t = Double(op.temperature)
        let factor = Double(op.softWeight) * Double(op.scale)
        for r in RowCheck.rows(of: o.student.shape[0]) {
            let logQ = RowCheck.logSoftmax(try RowCheck.row(o.student, r, device).map { $0 / t })
            let logP = RowCheck.logSoftmax(try RowCheck.row(o.teacher, r, device).map { $0 / t })
            losses.add(loss[r], factor * zip(logP, logQ).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) })
            gradients.add(
                try device.read(o.gradient!.slice(r..<(r + 1))),
                zip(logP, logQ).map { factor / t * (exp($1) - exp($0)) })
        }
        return max(losses.error, gradients.error)
    }
}

/// Rows of matrices in double, for references.
enum RowCheck {
    static func rows(of count: Int) -> [Int] { Set([0, count / 2, count - 1]).sorted() }

    static func row(_ view: View, _ r: Int, _ device: ComputeDevice) throws -> [Double] {
        (try device.read(view.slice(r..<(r + 1))) as [Float]).map(Double.init)
    }

    static func logSoftmax(_ x: [Double]) -> [Double] {
        let top = x.max() ?? 0
        let logSum = top + log(x.reduce(0) { $0 + exp($1 - top) })
        return x.map { $0 - logSum }
    }
}
