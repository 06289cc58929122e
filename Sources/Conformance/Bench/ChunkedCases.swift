import Foundation
import RetortKernels
import RetortRuntime

/// T² · KL(teacher ‖ student) of language models from hidden states to gradients, both heads included, mean over tokens: by chunks, or
/// from all logits at once (scripts/pytorch/kd_head.py). Shapes: tokens × student's width × vocabulary × teacher's width.
enum ChunkedCases {
    static let shapes = [[2048, 576, 49152, 1152], [1024, 896, 151_936, 1792]]
    static let temperature: Float = 2

    /// The larger shape takes minutes: it is measured in comparisons only.
    static var all: [BenchCase] { [loss(shapes[0], isChunked: true)] }

    static func loss(_ sizes: [Int], isChunked: Bool) -> BenchCase {
        BenchCase(.chunked, isChunked ? "kd_chunked" : "kd_dense", sizes, isProduct: true, rotates: false) {
            device, random in
            let rig = try Rig(sizes, isChunked: isChunked, device, &random)
            let (tokens, width, classes, teacherWidth) = (
                Double(sizes[0]), Double(sizes[1]), Double(sizes[2]), Double(sizes[3])
            )
            // Heads are read for each product they take part in, the gradient of one written; logits stay in the chunk.
            let heads = classes * (3 * width + teacherWidth)
            return BenchSet(
                on: device.compute,
                cost: Cost(
                    flops: 2 * tokens * classes * (3 * width + teacherWidth),
                    bytes: 4 * (heads + tokens * (3 * width + teacherWidth))),
                outputs: [], tolerance: 1e-4, extraBytes: { rig.extraBytes }, run: { try rig.step() },
                reference: { _ in try rig.error() })
        }
    }

    private final class Rig {
        private let isChunked: Bool
        private let device: Device
        private let op: Divergence
        private let student: Tensor
        private let head: Linear
        private let arena: ParameterArena
        private let teacher: Tensor
        private let teacherHead: OutputHead
        private var last: (perRow: Tensor, hidden: Parameter)?
        /// Device memory at the worst moment of a step beyond what was there before it.
        private(set) var extraBytes = 0

        init(_ sizes: [Int], isChunked: Bool, _ device: Device, _ random: inout BenchRandom) throws {
            let (tokens, width, classes, teacherWidth) = (sizes[0], sizes[1], sizes[2], sizes[3])
            let compute = device.compute
            self.isChunked = isChunked
            self.device = device
            op = Divergence(
                .forwardKL, temperature: temperature, softWeight: temperature * temperature, scale: 1 / Float(tokens))
            // Logits of both have a deviation of about 3.
            func weights(_ width: Int, _ random: inout BenchRandom) throws -> View {
                try random.view([classes, width], deviation: 1 / Float(width).squareRoot(), on: compute)
            }
            student = Tensor(view: try random.view([tokens, width], deviation: 3, on: compute), on: device)
            head = Linear("head", inputs: width, outputs: classes, bias: false)
            arena = try ParameterArena(head.parameters, on: compute, seed: nil)
            try run(
                Copy(), .init(x: try weights(width, &random), y: .write(head.weight.value)), on: compute)
            teacher = Tensor(view: try random.view([tokens, teacherWidth], deviation: 3, on: compute), on: device)
            teacherHead = try OutputHead(weight: Tensor(view: weights(teacherWidth, &random), on: device))
        }

        func step() throws {
            last = nil
            let compute = device.compute
            let before = compute.memory.live
            compute.resetPeakMemory()
            arena.clearGradients()
            let (x, leaf) = try student.leaf()
            let output = try OutputHead(weight: head.weight.tensor)
            let perRow: Tensor
            if isChunked {
                let loss = try x.chunkedDivergence(
                    op, head: output, teacher: HeadLogits(teacher, teacherHead), headGradient: .added)
                perRow = loss.rows.perRow
                try loss.total.backward()
            } else {
                let logits = try output.logits(x)
                let loss = try logits.divergence(op, teacher: teacherHead.logits(teacher).view)
                perRow = loss.perRow
                try loss.total.backward()
            }
            extraBytes = compute.memory.peak - before
            last = (perRow, leaf)
        }

        /// The last token's loss and gradient against float64; the larger of the two relative errors.
        func error() throws -> Double {
            guard let last else { return .infinity }
            let compute = device.compute
            let row = student.shape[0] - 1
            let (weight, theirs) = (try head.weight.values(), try teacherHead.weight.values())
            let x = try RowCheck.row(student.view, row, compute)
            let t = Double(op.temperature)
            let logQ = RowCheck.logSoftmax(product(weight, x).map { $0 / t })
            let logP = RowCheck.logSoftmax(product(theirs, try RowCheck.row(teacher.view, row, compute)).map { $0 / t })
            let factor = Double(op.softWeight) * Double(op.scale)
            var (losses, gradients) = (ErrorScale(), ErrorScale())
            losses.add(
                try last.perRow.values()[row],
                factor * zip(logP, logQ).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) })
            var gradient = [Double](repeating: 0, count: x.count)
            for c in logQ.indices {
                let g = factor / t * (exp(logQ[c]) - exp(logP[c]))
                for i in x.indices { gradient[i] += g * Double(weight[c * x.count + i]) }
            }
            gradients.add(try compute.read(last.hidden.gradient.slice(row..<(row + 1))), gradient)
            return max(losses.error, gradients.error)
        }

        private func product(_ weight: [Float], _ x: [Double]) -> [Double] {
            (0..<(weight.count / x.count)).map { c in
                var sum = 0.0
                for i in x.indices { sum += Double(weight[c * x.count + i]) * x[i] }
                return sum
            }
        }
    }
}
