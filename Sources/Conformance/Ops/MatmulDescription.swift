import Foundation
import RetortKernels

/// One product to try.
private struct MatmulSample {
    var m, n, k: Int
    var transposed: (a: Bool, b: Bool) = (false, false)
    /// Leading dimensions of c; a and b may have their own, which broadcast.
    var batch: [Int] = []
    var batchA: [Int]?
    var batchB: [Int]?
    /// Whole numbers whose sums fp32 holds exactly: the result must be exact too.
    var integers = false
    var alpha: Float = 1
    var accumulate = false
    var bias = false
    var residual = false
    var activation = MatmulActivation.none
    var keepsPreactivation = false
    /// Which of a, b and c are bf16: "b", "abc".
    var reduced = ""
    /// Elements that leading dimensions exceed rows by, and in front of each operand.
    var padding = 0
    var offset = 0

    /// "129x65x33 NT integers bias gelu": M×N×K, then whatever is not the default.
    var text: String {
        var words = ["\(m)x\(n)x\(k)", (transposed.a ? "T" : "N") + (transposed.b ? "T" : "N")]
        if !batch.isEmpty { words.append("batch=" + batch.shapeText) }
        if let batchA { words.append("batchA=" + batchA.shapeText) }
        if let batchB { words.append("batchB=" + batchB.shapeText) }
        if integers { words.append("integers") }
        if alpha != 1 { words.append("alpha=\(alpha)") }
        if accumulate { words.append("accumulate") }
        if bias { words.append("bias") }
        if activation != .none { words.append("\(activation)") }
        if keepsPreactivation { words.append("keep") }
        if residual { words.append("residual") }
        if !reduced.isEmpty { words.append("bf16=" + reduced) }
        if padding > 0 { words.append("padding=\(padding)") }
        if offset > 0 { words.append("offset=\(offset)") }
        return words.joined(separator: " ")
    }

    var size: SampleSize {
        let work = m * n * k * batch.elements
        return max(m, n, k) <= 33 && work <= 40_000 ? .tiny : work <= 3_000_000 ? .small : .large
    }

    func sample(_ size: SampleSize? = nil) -> OpSample { OpSample(text, size ?? self.size, makeCase) }

    private func matrixLayout(_ transposed: Bool, rank: Int) -> Layout {
        var order = Array(0..<rank)
        if transposed { order.swapAt(rank - 2, rank - 1) }
        return Layout(offset: offset, padding: padding, order: order)
    }

    private func makeCase(_ random: inout RandomNumbers) -> OpCase {
        func values(_ count: Int, _ limit: Int) -> [Float] {
            integers ? random.integers(count, -limit...limit).map(Float.init) : random.normal(count)
        }
        // |a| <= 32 and |b| <= 64: sums over k <= 8192 stay below 2^24; longer ones get smaller numbers.
        let limits = k <= 8192 ? (a: 32, b: 64) : (a: 4, b: 8)
        let shapeA = (batchA ?? batch) + [m, k]
        let shapeB = (batchB ?? batch) + [k, n]
        let shapeC = batch + [m, n]
        func type(_ operand: Character) -> DType { reduced.contains(operand) ? .bf16 : .f32 }
        let types = (a: type("a"), b: type("b"), c: type("c"))
        let a = values(shapeA.elements, limits.a).held(by: types.a)
        let b = values(shapeB.elements, limits.b).held(by: types.b)
        let beside = shapeC.elements
        let old: [Float]? = accumulate ? values(beside, 100).held(by: types.c) : nil
        let bias: [Float]? = bias ? values(n, 100) : nil
        let residual: [Float]? = residual ? values(beside, 100).held(by: types.c) : nil

        var c = OpCase()
        c.input("a", a, shapeA, matrixLayout(transposed.a, rank: shapeA.count), as: types.a)
        c.input("b", b, shapeB, matrixLayout(transposed.b, rank: shapeB.count), as: types.b)
        let outer = matrixLayout(false, rank: shapeC.count)
        c.result("c", shapeC, outer, old: old, as: types.c)
        if let bias { c.input("bias", bias, [n], Layout(offset: offset)) }
        if let residual { c.input("residual", residual, shapeC, outer, as: types.c) }
        if keepsPreactivation { c.output("preactivation", shapeC, outer, dtype: types.c) }
        c.run(Matmul(alpha: alpha, activation: activation)) { v in
            Matmul.Operands(
                a: v["a"], b: v["b"], c: .result(v["c"], old: old), bias: v.optional("bias"),
                residual: v.optional("residual"), preactivation: v.optional("preactivation"))
        }
        c.reference = {
            reference(a, shapeA, b, shapeB, bias: bias, residual: residual, old: old).mapValues {
                $0.rounded(to: types.c)
            }
        }
        return c
    }

    /// alpha · a · b + bias in float64, then what follows it. The sum over k of products of random signs errs by about √k roundings
    /// of its terms, and Σ |a||b| <= ‖row of a‖ · ‖column of b‖: |error| <= 4 √k eps ‖a‖ ‖b‖, plus a rounding for each addition behind.
    private func reference(
        _ a: [Float], _ shapeA: [Int], _ b: [Float], _ shapeB: [Int], bias: [Float]?, residual: [Float]?, old: [Float]?
    ) -> [String: Expected] {
        var results: [Estimate] = []
        var pre: [Estimate] = []
        results.reserveCapacity(batch.elements * m * n)
        let doublesA = a.map(Double.init)
        let doublesB = b.map(Double.init)
        for z in 0..<batch.elements {
            let fromA = place(z, Array(shapeA.dropLast(2))) * m * k
            let fromB = place(z, Array(shapeB.dropLast(2))) * k * n
            var columnSquares = [Double](repeating: 0, count: n)
            for p in 0..<k {
                for j in 0..<n {
                    let v = doublesB[fromB + p * n + j]
                    columnSquares[j] += v * v
                }
            }
            for i in 0..<m {
                var sums = [Double](repeating: 0, count: n)
                var rowSquares = 0.0
                for p in 0..<k {
                    let v = doublesA[fromA + i * k + p]
                    rowSquares += v * v
                    let at = fromB + p * n
                    for j in 0..<n { sums[j] += v * doublesB[at + j] }
                }
                for j in 0..<n {
                    let scale = abs(Double(alpha))
                    var v = Double(alpha) * sums[j]
                    var error = 4 * Double(k).squareRoot() * eps * scale * (rowSquares * columnSquares[j]).squareRoot()
                    if let bias {
                        v += Double(bias[j])
                        error += eps * (abs(v) + abs(Double(bias[j])))
                    }
                    error += eps * abs(v)
                    pre.append(Estimate(v, error))
                    var y = activation.value(v)
                    // No activation here is steeper than 1.13; their own error is a few roundings of |v| + 1.
                    if activation != .none { error = 1.2 * error + 8 * eps * (abs(v) + 1) }
                    let at = (z * m + i) * n + j
                    if let residual {
                        y += Double(residual[at])
                        error += eps * (abs(y) + abs(Double(residual[at])))
                    }
                    var estimate = Estimate(y, error)
                    if let old { estimate = estimate.added(to: old[at]) }
                    results.append(estimate)
                }
            }
        }
        let isExact = integers && (activation == .none || activation == .relu)
        var expected = ["c": isExact ? Expected.exact(results.map(\.value)) : .near(results)]
        if keepsPreactivation { expected["preactivation"] = integers ? .exact(pre.map(\.value)) : .near(pre) }
        return expected
    }

    /// Which of an operand's matrices belongs to matrix `z` of c.
    private func place(_ z: Int, _ own: [Int]) -> Int {
        var rest = z
        var index = 0
        var step = 1
        for d in 0..<batch.count {
            let axis = batch.count - 1 - d
            let at = rest % batch[axis]
            rest /= batch[axis]
            guard d < own.count else { continue }
            let size = own[own.count - 1 - d]
            if size != 1 { index += at * step }
            step *= size
        }
        return index
    }
}

extension MatmulActivation {
    fileprivate func value(_ x: Double) -> Double {
        switch self {
        case .none: x
        case .relu: Swift.max(0, x)
        case .geluExact: UnaryFunction.geluExact.reference(x)
        case .geluTanh: UnaryFunction.geluTanh.reference(x)
        case .silu: UnaryFunction.silu.reference(x)
        case .tanh: Foundation.tanh(x)
        case .sigmoid: UnaryFunction.sigmoid.reference(x)
        }
    }
}

private let transpositions = [(a: false, b: false), (false, true), (true, false), (true, true)]

/// Whole numbers at every edge of a tile, one too few and one too many included. A Latin square: each pair of (m, n), (m, k) and
/// (n, k) occurs once.
private let edges: [OpSample] = {
    let sizes = [1, 7, 13, 31, 32, 33, 65, 127, 128, 129]
    return transpositions.flatMap { transposed in
        sizes.indices.flatMap { i in
            sizes.indices.map { j in
                MatmulSample(
                    m: sizes[i], n: sizes[j], k: sizes[(i + 3 * j + 1) % sizes.count], transposed: transposed,
                    integers: true
                ).sample()
            }
        }
    }
}()

/// Everything a product can carry, at one odd shape, exactly and in float.
private let epilogues: [OpSample] = {
    var samples: [MatmulSample] = []
    for activation in MatmulActivation.allCases {
        for keep in [false, true] {
            samples.append(
                MatmulSample(m: 13, n: 33, k: 7, bias: true, activation: activation, keepsPreactivation: keep))
        }
    }
    for transposed in transpositions {
        for integers in [true, false] {
            samples += [
                MatmulSample(m: 41, n: 23, k: 37, transposed: transposed, integers: integers, padding: 3, offset: 1),
                MatmulSample(
                    m: 7, n: 129, k: 65, transposed: transposed, integers: integers, accumulate: true, padding: 5,
                    offset: 3),
                MatmulSample(
                    m: 36, n: 68, k: 24, transposed: transposed, integers: integers, bias: true, residual: true,
                    padding: 4),
                MatmulSample(m: 5, n: 9, k: 3, transposed: transposed, batch: [3, 2], integers: integers),
                // Many, and enough work: each whole to one of several threads.
                MatmulSample(m: 17, n: 23, k: 19, transposed: transposed, batch: [8, 9], integers: integers),
                MatmulSample(
                    m: 9, n: 17, k: 33, transposed: transposed, batch: [2, 3], batchA: [1, 3], batchB: [2, 1],
                    integers: integers),
                MatmulSample(
                    m: 33, n: 5, k: 17, transposed: transposed, batch: [4], batchB: [], integers: integers, padding: 1),
            ]
        }
        samples.append(
            MatmulSample(
                m: 13, n: 65, k: 31, transposed: transposed, batch: [3], integers: true, alpha: 2, accumulate: true,
                bias: true,
                residual: true, activation: .relu, keepsPreactivation: true, padding: 3, offset: 5))
        samples.append(
            MatmulSample(
                m: 65, n: 31, k: 13, transposed: transposed, alpha: -0.37, accumulate: true, bias: true, residual: true,
                activation: .geluTanh, keepsPreactivation: true))
    }
    return samples.map { $0.sample() }
}()

/// Few rows and columns over a long k, which is cut in pieces; large matrices; matrices with nothing in them.
private let shapes: [OpSample] = {
    var samples: [MatmulSample] = []
    for transposed in transpositions {
        for integers in [true, false] {
            samples.append(MatmulSample(m: 16, n: 16, k: 4096, transposed: transposed, integers: integers))
            samples.append(MatmulSample(m: 1, n: 300, k: 5000, transposed: transposed, integers: integers))
        }
        samples.append(MatmulSample(m: 3, n: 5, k: 1031, transposed: transposed, integers: true))
        samples.append(
            MatmulSample(
                m: 16, n: 17, k: 4099, transposed: transposed, integers: true, accumulate: true, bias: true,
                residual: true,
                activation: .relu, keepsPreactivation: true, padding: 1))
        samples.append(MatmulSample(m: 41, n: 1271, k: 65, transposed: transposed))
        samples.append(MatmulSample(m: 301, n: 257, k: 513, transposed: transposed, integers: true))
        // Large tiles of a device of two units.
        samples.append(MatmulSample(m: 253, n: 257, k: 19, transposed: transposed, integers: true))
        // More than one packed block of depth; of rows and of columns on two threads.
        samples.append(MatmulSample(m: 205, n: 715, k: 769, transposed: transposed, integers: true))
        // What follows a product follows its last block of depth.
        samples.append(
            MatmulSample(
                m: 25, n: 43, k: 1543, transposed: transposed, integers: true, bias: true, residual: true,
                activation: .relu, keepsPreactivation: true, padding: 1))
        samples.append(
            MatmulSample(
                m: 203, n: 1409, k: 768, transposed: transposed, bias: true, residual: true, activation: .relu,
                keepsPreactivation: true, padding: 3))
    }
    samples.append(MatmulSample(m: 5, n: 7, k: 2053, batch: [2], accumulate: true, bias: true, activation: .silu))
    // Long enough for pieces to pay on a machine of two cores as well.
    for transposed in transpositions {
        samples.append(MatmulSample(m: 3, n: 13, k: 40_001, transposed: transposed, integers: true))
    }
    samples.append(
        MatmulSample(
            m: 4, n: 15, k: 30_011, accumulate: true, bias: true, residual: true, activation: .silu,
            keepsPreactivation: true))
    samples.append(MatmulSample(m: 1, n: 1, k: 1))
    samples.append(MatmulSample(m: 0, n: 5, k: 3))
    samples.append(MatmulSample(m: 5, n: 0, k: 3))
    samples.append(MatmulSample(m: 4, n: 5, k: 0, bias: true))
    samples.append(MatmulSample(m: 4, n: 5, k: 0, accumulate: true))
    samples.append(
        MatmulSample(m: 4, n: 5, k: 0, accumulate: true, bias: true, activation: .silu, keepsPreactivation: true))
    samples.append(MatmulSample(m: 4, n: 5, k: 3, batch: [0]))
    return samples.map { $0.sample() }
}()

/// So few rows that B is read as it lies: every edge of a vector and of four columns, with all that a product can carry.
private let fewRows: [OpSample] = {
    var samples: [MatmulSample] = []
    for transposed in transpositions {
        for (m, n, k) in [(1, 65, 33), (2, 3, 47), (3, 130, 16), (4, 66, 5), (1, 1, 1031), (2, 1, 15), (1, 16, 4)] {
            for integers in [true, false] {
                samples += [
                    MatmulSample(m: m, n: n, k: k, transposed: transposed, integers: integers, padding: 3, offset: 1),
                    MatmulSample(
                        m: m, n: n, k: k, transposed: transposed, integers: integers, alpha: 2, accumulate: true,
                        bias: true, residual: true, padding: 5, offset: 3),
                ]
            }
        }
        samples.append(
            MatmulSample(m: 2, n: 37, k: 21, transposed: transposed, bias: true, residual: true, activation: .geluTanh))
        samples.append(MatmulSample(m: 1, n: 37, k: 21, transposed: transposed, batch: [5], batchB: [], padding: 1))
    }
    return samples.map { $0.sample() }
}()

/// Operands in bf16, as models of reduced precision have them: weights alone, activations and weights, and results too.
private let reducedPrecision: [OpSample] = {
    var samples: [MatmulSample] = []
    for reduced in ["b", "ab", "abc", "ac"] {
        let all = reduced == "b" ? transpositions : [(a: false, b: true), (true, false)]
        for transposed in all {
            for integers in [true, false] {
                samples += [
                    MatmulSample(
                        m: 41, n: 23, k: 37, transposed: transposed, integers: integers, reduced: reduced, padding: 3,
                        offset: 1),
                    MatmulSample(
                        m: 36, n: 68, k: 24, transposed: transposed, integers: integers, bias: true, residual: true,
                        reduced: reduced, padding: 4),
                    MatmulSample(
                        m: 2, n: 37, k: 65, transposed: transposed, integers: integers, reduced: reduced, padding: 3,
                        offset: 1),
                    MatmulSample(
                        m: 16, n: 17, k: 4099, transposed: transposed, integers: integers, accumulate: true,
                        bias: true, residual: true, activation: .relu, keepsPreactivation: true, reduced: reduced,
                        padding: 1),
                ]
            }
            samples += [
                MatmulSample(
                    m: 13, n: 65, k: 31, transposed: transposed, batch: [3], integers: true, alpha: 2,
                    accumulate: true, bias: true, residual: true, activation: .relu, keepsPreactivation: true,
                    reduced: reduced, padding: 3, offset: 5),
                MatmulSample(
                    m: 65, n: 31, k: 13, transposed: transposed, alpha: -0.37, bias: true, activation: .geluTanh,
                    keepsPreactivation: true, reduced: reduced),
                MatmulSample(
                    m: 9, n: 17, k: 33, transposed: transposed, batch: [2, 3], batchA: [1, 3], batchB: [2, 1],
                    integers: true, reduced: reduced),
                // More columns than are widened at a time.
                MatmulSample(m: 7, n: 301, k: 16411, transposed: transposed, integers: true, reduced: reduced),
            ]
        }
        samples.append(MatmulSample(m: 4, n: 5, k: 0, transposed: (false, true), bias: true, reduced: reduced))
        samples.append(MatmulSample(m: 0, n: 5, k: 3, transposed: (false, true), reduced: reduced))
    }
    for transposed in transpositions {
        // A mean over the tokens of each text.
        samples.append(
            MatmulSample(m: 1, n: 37, k: 21, transposed: transposed, batch: [5], reduced: "b", padding: 1))
    }
    for (m, n, k) in [(1, 65, 33), (3, 130, 16), (4, 66, 5), (1, 1, 1031), (2, 1, 15), (1, 16, 4), (1, 300, 5000)] {
        for transposed in transpositions {
            samples.append(
                MatmulSample(
                    m: m, n: n, k: k, transposed: transposed, integers: true, accumulate: true, bias: true,
                    residual: true, reduced: "b", padding: 5, offset: 3))
        }
    }
    return samples.map { $0.sample() }
}()

/// bf16 in whole pieces of 16 bytes, as matrix units take it, with sizes that end within a piece: small tiles, large ones, a long k that is
/// cut; all that a product can carry.
private let matrixUnits: [OpSample] = {
    var samples: [MatmulSample] = []
    for reduced in ["b", "ab", "abc"] {
        for transposed in transpositions {
            func add(
                _ m: Int, _ n: Int, _ k: Int, integers: Bool, batch: [Int] = [], everything: Bool = false,
                padding: Int = 3
            ) {
                samples.append(
                    MatmulSample(
                        m: m, n: n, k: k, transposed: transposed, batch: batch, integers: integers,
                        alpha: everything ? 2 : 1, accumulate: everything, bias: everything, residual: everything,
                        activation: everything ? .relu : .none, keepsPreactivation: everything, reduced: reduced,
                        padding: padding, offset: 8))
            }
            add(61, 93, 85, integers: true)
            add(29, 13, 21, integers: false)
            add(16, 32, 64, integers: true, padding: 0)
            add(253, 261, 37, integers: true, everything: reduced == "ab")
            add(13, 21, 4093, integers: true, everything: true)
            add(21, 37, 45, integers: false, batch: [3])
        }
    }
    return samples.map { $0.sample() }
}()

private let performance: [OpSample] = [
    MatmulSample(m: 512, n: 512, k: 512), MatmulSample(m: 1024, n: 1024, k: 1024),
    MatmulSample(m: 512, n: 1536, k: 576), MatmulSample(m: 512, n: 1536, k: 576, transposed: (false, true)),
    MatmulSample(m: 128, n: 1024, k: 784, transposed: (false, true), bias: true, activation: .relu),
    MatmulSample(m: 64, n: 64, k: 64, transposed: (false, true), batch: [48]),
    MatmulSample(m: 1, n: 8192, k: 384, transposed: (false, true)),
    MatmulSample(m: 1, n: 8192, k: 384, transposed: (false, true), reduced: "b"),
    MatmulSample(m: 512, n: 1536, k: 576, transposed: (false, true), reduced: "b"),
    MatmulSample(m: 512, n: 1536, k: 576, transposed: (false, true), reduced: "abc"),
].map { $0.sample(.perf) }

extension OpDescription {
    static let matmul = OpDescription(
        "matmul", "Matmul",
        edges + epilogues + shapes + fewRows + reducedPrecision + matrixUnits
            + performance)
}
