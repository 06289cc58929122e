import Foundation
import RetortKernels
import RetortRuntime

/// Kernels that walk over rows once or twice: bound by memory on every machine we know.
enum RowCases {
    static let logits = [2048, 32000]

    static var softmax: [BenchCase] {
        [
            map(.softmax, "softmax", logits, Softmax(), deviation: 3) { RowCheck.logSoftmax($0).map(exp) },
            map(.softmax, "log_softmax", logits, Softmax(log: true), deviation: 3) { RowCheck.logSoftmax($0) },
            crossEntropy(logits),
            map(.softmax, "softmax", [8192, 100], Softmax(), deviation: 3) { RowCheck.logSoftmax($0).map(exp) },
        ]
    }

    /// Beyond those that `OpRows` has.
    static var rows: [BenchCase] {
        [copy([8192, 4096]), transpose([4096, 4096]), gather([8192, 1024], table: 32000)] + BatchNormCases.all
    }

    // MARK: One row in, one row out

    private static func map<O: Op>(
        _ group: BenchGroup, _ kernel: String, _ sizes: [Int], _ op: O, deviation: Float = 1,
        reference: @escaping @Sendable ([Double]) -> [Double]
    ) -> BenchCase where O.Operands == Unary.Operands {
        BenchCase(group, kernel, sizes) { device, random in
            let compute = device.compute
            let x = try random.view(sizes, deviation: deviation, on: compute)
            let y = try compute.empty(Dimensions(sizes))
            let operands = Unary.Operands(x: x, y: .write(y))
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [y], tolerance: 1e-5,
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    var scale = ErrorScale()
                    for r in RowCheck.rows(of: sizes[0]) {
                        scale.add(try compute.read(y.slice(r..<(r + 1))), reference(try RowCheck.row(x, r, compute)))
                    }
                    return scale.error
                })
        }
    }

    static func copy(_ sizes: [Int]) -> BenchCase { map(.rows, "copy", sizes, Copy()) { $0 } }

    private static func transpose(_ sizes: [Int]) -> BenchCase {
        BenchCase(.rows, "transpose", sizes) { device, random in
            let compute = device.compute
            let x = try random.view(sizes, on: compute)
            let y = try compute.empty([sizes[1], sizes[0]])
            let operands = Copy.Operands(x: x.transposed, y: .write(y))
            return BenchSet(
                on: compute, cost: Copy().cost(operands), outputs: [y], tolerance: 0,
                run: { try run(Copy(), operands, on: compute) },
                reference: { _ in
                    var scale = ErrorScale()
                    let values: [Float] = try compute.read(x)
                    for r in RowCheck.rows(of: sizes[1]) {
                        scale.add(
                            try compute.read(y.slice(r..<(r + 1))),
                            (0..<sizes[0]).map { Double(values[$0 * sizes[1] + r]) })
                    }
                    return scale.error
                })
        }
    }

    // MARK: Losses

    private static func crossEntropy(_ sizes: [Int]) -> BenchCase {
        BenchCase(.softmax, "cross_entropy", sizes) { device, random in
            let compute = device.compute
            let (rows, classes) = (sizes[0], sizes[1])
            let logits = try random.view(sizes, deviation: 3, on: compute)
            let labels = (0..<rows).map { _ in Int32(random.integer(below: classes)) }
            let (loss, gradient) = (try compute.empty([rows]), try compute.empty(Dimensions(sizes)))
            let op = CrossEntropy(scale: 1 / Float(rows))
            let operands = CrossEntropy.Operands(
                logits: logits, labels: try compute.view(labels, [rows], .i32), loss: loss, gradient: gradient)
            return BenchSet(
                on: compute, cost: op.cost(operands), outputs: [loss, gradient], tolerance: 1e-5,
                run: { try run(op, operands, on: compute) },
                reference: { _ in
                    var (losses, gradients) = (ErrorScale(), ErrorScale())
                    let values: [Float] = try compute.read(loss)
                    for r in RowCheck.rows(of: rows) {
                        let logQ = RowCheck.logSoftmax(try RowCheck.row(logits, r, compute))
                        losses.add(values[r], -logQ[Int(labels[r])] / Double(rows))
                        var expected = logQ.map { exp($0) / Double(rows) }
                        expected[Int(labels[r])] -= 1 / Double(rows)
                        gradients.add(try compute.read(gradient.slice(r..<(r + 1))), expected)
                    }
                    return max(losses.error, gradients.error)
                })
        }
    }

    // MARK: Gathering

    private static func gather(_ sizes: [Int], table rows: Int) -> BenchCase {
        BenchCase(.rows, "gather", sizes) { device, random in
            let compute = device.compute
            let table = try random.view([rows, sizes[1]], on: compute)
            let ids = (0..<sizes[0]).map { _ in Int32(random.integer(below: rows)) }
            let y = try compute.empty(Dimensions(sizes))
            let operands = Gather.Operands(table: table, ids: try compute.view(ids, [ids.count], .i32), y: y)
            return BenchSet(
                on: compute, cost: Gather().cost(operands), outputs: [y], tolerance: 0,
                run: { try run(Gather(), operands, on: compute) },
                reference: { _ in
                    var scale = ErrorScale()
                    for r in RowCheck.rows(of: sizes[0]) {
                        scale.add(try compute.read(y.slice(r..<(r + 1))), try RowCheck.row(table, Int(ids[r]), compute))
                    }
                    return scale.error
                })
        }
    }
}
