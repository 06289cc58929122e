import Foundation
import RetortKernels

extension UnaryFunction {
    /// Each function once, those with a parameter at one that is not neutral.
    static let described: [UnaryFunction] = [
        .exp, .log, .squareRoot, .reciprocalSquareRoot, .square, .abs, .negate, .reciprocal, .relu, .relu6, .hardSwish,
        .sigmoid,
        .tanh, .silu, .quickGelu, .geluExact, .geluTanh, .logSigmoid, .softplus, .leakyRelu(slope: 0.1),
        .elu(alpha: 1.5),
        .smoothL1(beta: 0.7), .clampMinimum(-0.25),
    ]

    /// f(x) in float64, from its textbook formula.
    func reference(_ x: Double) -> Double {
        switch self {
        case .exp: Foundation.exp(x)
        case .log: Foundation.log(x)
        case .squareRoot: x.squareRoot()
        case .reciprocalSquareRoot: 1 / x.squareRoot()
        case .square: x * x
        case .abs: Swift.abs(x)
        case .negate: -x
        case .reciprocal: 1 / x
        case .relu: x > 0 || x.isNaN ? x : 0
        case .relu6: x.isNaN ? x : Swift.min(Swift.max(x, 0), 6)
        case .hardSwish: x * Swift.min(Swift.max(x + 3, 0), 6) / 6
        case .sigmoid: x >= 0 ? 1 / (1 + Foundation.exp(-x)) : Foundation.exp(x) / (1 + Foundation.exp(x))
        case .tanh: Foundation.tanh(x)
        case .silu: x * Self.sigmoid.reference(x)
        case .quickGelu: x * Self.sigmoid.reference(1.702 * x)
        case .geluExact: x * 0.5 * Foundation.erfc(-x / 2.0.squareRoot())
        case .geluTanh: x * Self.sigmoid.reference(Self.twiceGeluTanhArgument(x))
        case .logSigmoid: -Self.softplus.reference(-x)
        case .softplus: Swift.max(x, 0) + Foundation.log1p(Foundation.exp(-Swift.abs(x)))
        case .leakyRelu(let slope): x > 0 ? x : Double(slope) * x
        case .elu(let alpha): x > 0 ? x : Double(alpha) * Foundation.expm1(x)
        case .smoothL1(let beta):
            Swift.abs(x) < Double(beta) ? x * x / (2 * Double(beta)) : Swift.abs(x) - Double(beta) / 2
        case .clampMinimum(let low): x < Double(low) ? Double(low) : x
        }
    }

    /// f′(x), PyTorch's choice at kinks.
    func referenceSlope(_ x: Double) -> Double {
        let sigmoid = Self.sigmoid.reference
        switch self {
        case .exp: return Foundation.exp(x)
        case .log: return 1 / x
        case .squareRoot: return 0.5 / x.squareRoot()
        case .reciprocalSquareRoot: return -0.5 / (x * x.squareRoot())
        case .square: return 2 * x
        case .abs: return x > 0 ? 1 : x < 0 ? -1 : 0
        case .negate: return -1
        case .reciprocal: return -1 / (x * x)
        case .relu: return x > 0 ? 1 : 0
        case .relu6: return x > 0 && x < 6 ? 1 : 0
        case .hardSwish: return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5
        case .sigmoid: return sigmoid(x) * sigmoid(-x)
        case .tanh: return 4 * sigmoid(2 * x) * sigmoid(-2 * x)
        case .silu: return sigmoid(x) * (1 + x * sigmoid(-x))
        case .quickGelu: return sigmoid(1.702 * x) * (1 + 1.702 * x * sigmoid(-1.702 * x))
        case .geluExact:
            let density = Foundation.exp(-x * x / 2) / (2 * Double.pi).squareRoot()
            return 0.5 * Foundation.erfc(-x / 2.0.squareRoot()) + x * density
        case .geluTanh:
            let u = Self.twiceGeluTanhArgument(x)
            let slope = 2 * (2 / Double.pi).squareRoot() * (1 + 3 * 0.044715 * x * x)
            // Beyond that σ(u)σ(−u) is 0 and its factor may be huge.
            guard Swift.abs(x) < 20 else { return x > 0 ? 1 : 0 }
            return sigmoid(u) * (1 + x * slope * sigmoid(-u))
        case .logSigmoid: return sigmoid(-x)
        case .softplus: return sigmoid(x)
        case .leakyRelu(let slope): return x > 0 ? 1 : Double(slope)
        case .elu(let alpha): return x > 0 ? 1 : Double(alpha) * Foundation.exp(x)
        case .smoothL1(let beta): return Swift.abs(x) < Double(beta) ? x / Double(beta) : x > 0 ? 1 : -1
        case .clampMinimum(let low): return x < Double(low) ? 0 : 1
        }
    }

    private static func twiceGeluTanhArgument(_ x: Double) -> Double {
        2 * (2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)
    }

    /// Error of f in units of eps · |f(x)|: 0 where the result is a selection, half a rounding rounded up where one operation gives
    /// it, OpenCL's bounds (3 ulp for the root, 2.5 for division) where the device's own is used, the errors stated in kernels/math.clh
    /// elsewhere. A function of exp(c·x) whose argument is rounded first errs by another |c·x|.
    fileprivate func relativeError(_ x: Double) -> Double {
        switch self {
        case .abs, .negate, .relu, .relu6, .clampMinimum: 0
        case .square, .leakyRelu: 1
        case .exp, .log: 2
        case .squareRoot, .reciprocal: 3
        case .reciprocalSquareRoot, .sigmoid, .tanh, .softplus, .logSigmoid, .hardSwish, .elu, .smoothL1: 4
        case .silu: 6
        case .quickGelu: 6 + 2 * Swift.abs(x)
        case .geluExact: 8 + x * x / 2
        case .geluTanh: 8 + Swift.abs(x) * (1 + x * x / 10)
        }
    }

    /// The same for f′. Sums that pass through 0 have an absolute error besides.
    fileprivate func slopeError(_ x: Double) -> (relative: Double, absolute: Double) {
        switch self {
        case .abs, .negate, .relu, .relu6, .clampMinimum, .leakyRelu: (0, 0)
        case .square: (1, 0)
        case .exp, .log: (3, 0)
        case .hardSwish, .smoothL1: (4, 1)
        case .silu, .quickGelu, .geluExact, .geluTanh: (8, 8 + 4 * Swift.abs(x))
        default: (12, 0)
        }
    }

    /// Whether negative arguments make sense.
    fileprivate var needsPositive: Bool {
        switch self {
        case .log, .squareRoot, .reciprocalSquareRoot: true
        default: false
        }
    }

    fileprivate var isFiniteAtInfinity: Bool {
        switch self {
        case .silu, .quickGelu, .geluExact, .geluTanh, .hardSwish, .smoothL1: false
        default: true
        }
    }

    fileprivate func arguments(_ count: Int, _ random: inout RandomNumbers) -> [Float] {
        needsPositive ? random.uniform(count, 1e-3, 9) : random.normal(count, scale: 2.5)
    }

    /// Where kernels go wrong first.
    fileprivate var specialArguments: [Float] {
        let positive: [Float] = [0, 1e-30, 1e-6, 0.5, 1, 2, 88, 89.5, 100, 1e4, 3.0e38]
        let negative: [Float] = [-1e-30, -1e-6, -0.25, -0.5, -1, -2, -6.5, -12.5, -87, -88.5, -104, -1e4]
        return (needsPositive ? positive : positive.dropLast() + negative) + [.nan]
            + (isFiniteAtInfinity ? [.infinity] + (needsPositive ? [] : [-.infinity]) : [])
    }
}

private func unarySample(
    _ f: UnaryFunction, _ shape: [Int], _ layout: Layout = .dense, size: SampleSize, accumulate: Bool = false,
    special: Bool = false, as dtype: DType = .f32
) -> OpSample {
    let name = Unary(f).name
    let shape = special ? [f.specialArguments.count] : shape
    let text =
        (special
            ? "\(name) special"
            : "\(name) \(shape.shapeText)" + (layout.padding > 0 ? " pitched" : "")
                + (accumulate ? " accumulate" : "")) + dtype.sampleText
    return OpSample(text, size) { random in
        let x = (special ? f.specialArguments : f.arguments(shape.elements, &random)).held(by: dtype)
        let old: [Float]? = accumulate ? random.normal(shape.elements).held(by: dtype) : nil
        var c = OpCase()
        c.input("x", x, shape, layout, as: dtype)
        c.result("y", shape, Layout(padding: layout.padding * 2), old: old, as: dtype)
        c.run(Unary(f)) { .init(x: $0["x"], y: .result($0["y"], old: old)) }
        c.reference = {
            [
                "y": .near(
                    x.map { x in
                        let y = f.reference(Double(x))
                        // Factors of x may be flushed to 0 where they are subnormal.
                        return Estimate(
                            y, f.relativeError(Double(x)) * eps * abs(y) + (x.isFinite ? abs(Double(x)) * 0x1p-125 : 0))
                    }.added(to: old)
                ).rounded(to: dtype)
            ]
        }
        return c
    }
}

private func unaryBackwardSample(
    _ f: UnaryFunction, _ shape: [Int], _ layout: Layout = .dense, size: SampleSize, accumulate: Bool = false,
    special: Bool = false, as dtype: DType = .f32
) -> OpSample {
    let name = Unary(f).name
    let arguments = f.specialArguments.filter { $0.isFinite && abs($0) < 1e5 && abs($0) != 1e-30 }
    let shape = special ? [arguments.count] : shape
    let text =
        (special
            ? "\(name) special"
            : "\(name) \(shape.shapeText)" + (layout.padding > 0 ? " pitched" : "")
                + (accumulate ? " accumulate" : "")) + dtype.sampleText
    return OpSample(text, size) { random in
        let x = (special ? arguments : f.arguments(shape.elements, &random)).held(by: dtype)
        let dy = random.distinct(shape.elements)
        let old: [Float]? = accumulate ? random.normal(shape.elements) : nil
        var c = OpCase()
        c.input("x", x, shape, layout, as: dtype)
        c.input("dy", dy, shape)
        c.result("dx", shape, Layout(padding: layout.padding * 2), old: old)
        c.run(UnaryBackward(f)) { .init(x: $0["x"], dy: $0["dy"], dx: .result($0["dx"], old: old)) }
        c.reference = {
            [
                "dx": .near(
                    zip(x, dy).map { x, dy in
                        // A slope beyond fp32 is infinite before dy can make it smaller.
                        let slope = Double(Float(f.referenceSlope(Double(x))))
                        let error = f.slopeError(Double(x))
                        let value = slope * Double(dy)
                        return Estimate(
                            value, eps * ((error.relative + 1) * abs(value) + error.absolute * abs(Double(dy))))
                    }.added(to: old))
            ]
        }
        return c
    }
}

private let unary: [OpDescription] = {
    let f = UnaryFunction.described
    return [
        OpDescription(
            "unary", "Unary",
            f.flatMap { f in
                [
                    unarySample(f, [7], size: .tiny), unarySample(f, [], size: .tiny, special: true),
                    unarySample(f, [5, 37], .padded(3), size: .tiny, accumulate: true),
                    unarySample(f, [41, 1271], size: .small),
                    unarySample(f, [5, 37], .padded(3), size: .tiny, as: .bf16),
                ]
            } + [
                unarySample(.exp, [1], size: .tiny), unarySample(.exp, [0], size: .tiny),
                unarySample(.relu, [0, 5], size: .tiny),
                unarySample(.silu, [3, 1], .padded(1), size: .tiny), unarySample(.silu, [2, 3, 17], size: .tiny),
            ]
                + [UnaryFunction.relu, .geluTanh, .silu].flatMap {
                    [
                        unarySample($0, [7], size: .tiny, as: .bf16), unarySample($0, [0], size: .tiny, as: .bf16),
                        unarySample($0, [], size: .tiny, special: true, as: .bf16),
                        unarySample($0, [4, 36], .padded(4), size: .tiny, accumulate: true, as: .bf16),
                        unarySample($0, [41, 1271], size: .small, as: .bf16),
                    ]
                }
                + [UnaryFunction.exp, .relu, .geluExact, .geluTanh, .silu].map {
                    unarySample($0, [4096, 1024], size: .perf)
                } + [unarySample(.geluTanh, [4096, 1024], size: .perf, as: .bf16)]),
        OpDescription(
            "unary_backward", "UnaryBackward",
            f.flatMap { f in
                [
                    unaryBackwardSample(f, [7], size: .tiny), unaryBackwardSample(f, [], size: .tiny, special: true),
                    unaryBackwardSample(f, [5, 37], .padded(3), size: .tiny, accumulate: true),
                    unaryBackwardSample(f, [41, 1271], size: .small),
                    unaryBackwardSample(f, [5, 37], .padded(3), size: .tiny, as: .bf16),
                ]
            } + [unaryBackwardSample(.tanh, [0], size: .tiny)]
                + [UnaryFunction.relu, .geluTanh, .silu].flatMap {
                    [
                        unaryBackwardSample($0, [7], size: .tiny, as: .bf16),
                        unaryBackwardSample($0, [4, 36], .padded(4), size: .tiny, accumulate: true, as: .bf16),
                        unaryBackwardSample($0, [41, 1271], size: .small, as: .bf16),
                    ]
                }
                + [UnaryFunction.relu, .geluExact, .silu].map { unaryBackwardSample($0, [4096, 1024], size: .perf) }),
    ]
}()

private func scaleSample(
    _ shape: [Int], padding: Int = 0, rowRank: Int = 1, _ factor: Float, size: SampleSize, accumulate: Bool = false,
    as dtype: DType = .f32
) -> OpSample {
    OpSample(
        "\(shape.shapeText) factor=\(factor)" + (padding > 0 ? " pitched" : "")
            + (rowRank > 1 ? " behind \(rowRank) dimensions" : "") + (accumulate ? " accumulate" : "")
            + dtype.sampleText,
        size
    ) { random in
        let x = random.normal(shape.elements).held(by: dtype)
        let old: [Float]? = accumulate ? random.normal(shape.elements).held(by: dtype) : nil
        var c = OpCase()
        c.input("x", x, shape, Layout(padding: padding, rowRank: rowRank), as: dtype)
        c.result("y", shape, old: old, as: dtype)
        c.run(Scale(factor)) { .init(x: $0["x"], y: .result($0["y"], old: old)) }
        c.reference = {
            guard let old else { return ["y": .exact(x.map { $0 * factor }).rounded(to: dtype)] }
            return [
                "y": .near(
                    x.map { Estimate(Double($0) * Double(factor), eps * Double(abs($0 * factor))) }.added(to: old)
                ).rounded(to: dtype)
            ]
        }
        return c
    }
}

private let scale = OpDescription(
    "scale", "Scale",
    [
        scaleSample([1], -1, size: .tiny), scaleSample([7], 0.3, size: .tiny), scaleSample([0], 2, size: .tiny),
        scaleSample([5, 10], padding: 6, 1.7, size: .tiny), scaleSample([13, 17], -0.1, size: .tiny, accumulate: true),
        // One pitched, one dense: rows of 5 on both sides; then rows of 20, which the dense one only has merged.
        scaleSample([3, 4, 5], padding: 6, 1.7, size: .tiny),
        scaleSample([3, 4, 5], padding: 6, rowRank: 2, 1.7, size: .tiny),
        scaleSample([3, 4, 5], padding: 3, rowRank: 2, 1.7, size: .tiny, accumulate: true),
        scaleSample([41, 1271], 0.37, size: .small),
        scaleSample([41, 1271], padding: 1, 0.37, size: .small, accumulate: true),
        scaleSample([7], 0.3, size: .tiny, as: .bf16), scaleSample([5, 10], padding: 6, 1.7, size: .tiny, as: .bf16),
        scaleSample([13, 17], -0.1, size: .tiny, accumulate: true, as: .bf16),
        scaleSample([41, 1271], 0.37, size: .small, as: .bf16),
        scaleSample([4096, 1024], 0.5, size: .perf),
    ])

// MARK: Binary

/// A pair of shapes that broadcast, each in a memory order of its own.
private struct BinarySample {
    let a: [Int]
    let b: [Int]
    var orderA: [Int]?
    var orderB: [Int]?
    var accumulate = false
    /// What a, b and what is made of them are stored as.
    var dtype = DType.f32
    var size = SampleSize.tiny

    var text: String {
        "\(a.shapeText) with \(b.shapeText)" + (orderA == nil && orderB == nil ? "" : " transposed")
            + (accumulate ? " accumulate" : "") + dtype.sampleText
    }
    var shape: [Int] {
        let rank = max(a.count, b.count)
        let (long, short) = (padded(a, rank), padded(b, rank))
        return zip(long, short).map { $0 == 1 ? $1 : $0 }
    }
    private func padded(_ s: [Int], _ rank: Int) -> [Int] { [Int](repeating: 1, count: rank - s.count) + s }

    /// `values` repeated to the broadcast shape.
    func spread(_ values: [Float], _ own: [Int]) -> [Float] {
        let shape = shape
        let own = padded(own, shape.count)
        let strides = View.contiguousStrides(Dimensions(own))
        return (0..<shape.elements).map { index in
            var rest = index
            var at = 0
            for d in shape.indices.reversed() {
                if own[d] != 1 { at += rest % shape[d] * strides[d] }
                rest /= shape[d]
            }
            return values[at]
        }
    }
}

private let binarySamples: [BinarySample] = [
    BinarySample(a: [1], b: [1]), BinarySample(a: [7], b: [7]), BinarySample(a: [5, 10], b: [5, 10]),
    BinarySample(a: [5, 10], b: [10]), BinarySample(a: [5, 10], b: [5, 1]), BinarySample(a: [], b: [13]),
    BinarySample(a: [7, 1, 3], b: [1, 4, 3]), BinarySample(a: [2, 1, 5, 1], b: [3, 1, 7]),
    BinarySample(a: [11, 1], b: [1, 17]),
    BinarySample(a: [9, 14], b: [9, 14], orderA: [1, 0]),
    BinarySample(a: [3, 5, 7], b: [5, 7], orderA: [2, 0, 1], orderB: [1, 0]),
    BinarySample(a: [5, 10], b: [1, 10], accumulate: true), BinarySample(a: [0, 5], b: [5]),
    BinarySample(a: [3, 0], b: [1]),
    BinarySample(a: [41, 1271], b: [41, 1271], size: .small),
    BinarySample(a: [41, 1271], b: [1271], accumulate: true, size: .small),
    BinarySample(a: [41, 1271], b: [41, 1], size: .small),
    BinarySample(a: [4096, 1024], b: [4096, 1024], size: .perf),
    BinarySample(a: [4096, 1024], b: [1024], size: .perf),
    BinarySample(a: [1], b: [1], dtype: .bf16), BinarySample(a: [5, 10], b: [5, 10], dtype: .bf16),
    BinarySample(a: [6, 12], b: [12], dtype: .bf16), BinarySample(a: [5, 10], b: [5, 1], dtype: .bf16),
    BinarySample(a: [7, 1, 3], b: [1, 4, 3], dtype: .bf16), BinarySample(a: [0, 5], b: [5], dtype: .bf16),
    BinarySample(a: [3, 5, 7], b: [5, 7], orderA: [2, 0, 1], orderB: [1, 0], dtype: .bf16),
    BinarySample(a: [5, 10], b: [1, 10], accumulate: true, dtype: .bf16),
    BinarySample(a: [41, 1271], b: [41, 1271], dtype: .bf16, size: .small),
    BinarySample(a: [41, 1271], b: [1271], accumulate: true, dtype: .bf16, size: .small),
    BinarySample(a: [4096, 1024], b: [4096, 1024], dtype: .bf16, size: .perf),
]

/// One kernel does all four: the fastest of them and the slowest are worth a clock.
private func samples(of operation: BinaryOperation) -> [BinarySample] {
    let isMeasured = operation == .add || operation == .divide
    return binarySamples.filter { isMeasured || $0.size != .perf }
}

private let binary: [OpDescription] = [
    OpDescription(
        "binary", "Binary",
        BinaryOperation.allCases.flatMap { operation in
            samples(of: operation).map { s in
                OpSample("\(operation) \(s.text)", s.size) { random in
                    let a = random.normal(s.a.elements).held(by: s.dtype)
                    // Divisors stay away from 0.
                    let b = random.uniform(s.b.elements, 0.5, 3).held(by: s.dtype)
                    let old: [Float]? = s.accumulate ? random.normal(s.shape.elements).held(by: s.dtype) : nil
                    var c = OpCase()
                    c.input("a", a, s.a, Layout(order: s.orderA), as: s.dtype)
                    c.input("b", b, s.b, Layout(order: s.orderB), as: s.dtype)
                    c.result("y", s.shape, old: old, as: s.dtype)
                    c.run(Binary(operation)) { .init(a: $0["a"], b: $0["b"], y: .result($0["y"], old: old)) }
                    c.reference = {
                        let pairs = zip(s.spread(a, s.a), s.spread(b, s.b))
                        let exact = pairs.map { operation.reference(Double($0), Double($1)) }
                        // One correctly rounded operation, except division: 2.5 ulp in OpenCL.
                        if old == nil, operation != .divide {
                            return ["y": .exact(exact.map { Float($0) }).rounded(to: s.dtype)]
                        }
                        return [
                            "y": .near(
                                exact.map { Estimate($0, (operation == .divide ? 2.5 : 1) * eps * abs($0)) }.added(
                                    to: old)
                            ).rounded(to: s.dtype)
                        ]
                    }
                    return c
                }
            }
        }),
    OpDescription(
        "divide_backward", "DivideBackward",
        binarySamples.map { s in
            OpSample(s.text, s.size) { random in
                let a = random.normal(s.a.elements).held(by: s.dtype)
                let b = random.uniform(s.b.elements, 0.5, 3).held(by: s.dtype)
                let dy = random.normal(s.shape.elements)
                let old: [Float]? = s.accumulate ? random.normal(s.shape.elements) : nil
                var c = OpCase()
                c.input("a", a, s.a, Layout(order: s.orderA), as: s.dtype)
                c.input("b", b, s.b, Layout(order: s.orderB), as: s.dtype)
                c.input("dy", dy, s.shape)
                c.result("db", s.shape, old: old)
                c.run(DivideBackward()) { .init(dy: $0["dy"], a: $0["a"], b: $0["b"], db: .result($0["db"], old: old)) }
                c.reference = {
                    let (a, b) = (s.spread(a, s.a), s.spread(b, s.b))
                    return [
                        "db": .near(
                            dy.indices.map { i in
                                let value = -Double(dy[i]) * Double(a[i]) / (Double(b[i]) * Double(b[i]))
                                return Estimate(value, 6 * eps * abs(value))
                            }.added(to: old))
                    ]
                }
                return c
            }
        }),
]

extension BinaryOperation {
    func reference(_ a: Double, _ b: Double) -> Double {
        switch self {
        case .add: a + b
        case .subtract: a - b
        case .multiply: a * b
        case .divide: a / b
        }
    }
}

// MARK: Gated

private struct GatedSample {
    let kind: GatedActivation
    let shape: [Int]
    var padding = 0
    var accumulate = false
    /// What gate, up and y are stored as.
    var dtype = DType.f32
    var size = SampleSize.tiny

    var text: String {
        "\(kind) \(shape.shapeText)" + (padding > 0 ? " pitched" : "") + (accumulate ? " accumulate" : "")
            + dtype.sampleText
    }
    static let all: [GatedSample] = GatedActivation.allCases.flatMap { kind in
        [
            GatedSample(kind: kind, shape: [1]), GatedSample(kind: kind, shape: [7]),
            GatedSample(kind: kind, shape: [0, 3]),
            GatedSample(kind: kind, shape: [5, 37], padding: 3),
            GatedSample(kind: kind, shape: [5, 37], padding: 3, accumulate: true),
            GatedSample(kind: kind, shape: [41, 1271], size: .small),
            GatedSample(kind: kind, shape: [2048, 1536], size: .perf),
            GatedSample(kind: kind, shape: [7], dtype: .bf16), GatedSample(kind: kind, shape: [0, 3], dtype: .bf16),
            GatedSample(kind: kind, shape: [5, 37], padding: 3, dtype: .bf16),
            GatedSample(kind: kind, shape: [4, 36], padding: 4, accumulate: true, dtype: .bf16),
            GatedSample(kind: kind, shape: [41, 1271], dtype: .bf16, size: .small),
            GatedSample(kind: kind, shape: [2048, 1536], dtype: .bf16, size: .perf),
        ]
    }
    var function: UnaryFunction { kind == .swiglu ? .silu : .geluTanh }
}

private let gated: [OpDescription] = [
    OpDescription(
        "gated", "Gated",
        GatedSample.all.map { s in
            OpSample(s.text, s.size) { random in
                let gate = random.normal(s.shape.elements, scale: 2).held(by: s.dtype)
                let up = random.normal(s.shape.elements).held(by: s.dtype)
                let old: [Float]? = s.accumulate ? random.normal(s.shape.elements).held(by: s.dtype) : nil
                var c = OpCase()
                c.input("gate", gate, s.shape, .padded(s.padding), as: s.dtype)
                c.input("up", up, s.shape, .padded(s.padding * 2), as: s.dtype)
                c.result("y", s.shape, old: old, as: s.dtype)
                c.run(Gated(s.kind)) { .init(gate: $0["gate"], up: $0["up"], y: .result($0["y"], old: old)) }
                c.reference = {
                    [
                        "y": .near(
                            zip(gate, up).map { gate, up in
                                let value = s.function.reference(Double(gate)) * Double(up)
                                return Estimate(value, (s.function.relativeError(Double(gate)) + 1) * eps * abs(value))
                            }.added(to: old)
                        ).rounded(to: s.dtype)
                    ]
                }
                return c
            }
        }),
    OpDescription(
        "gated_backward", "GatedBackward",
        GatedSample.all.map { s in
            OpSample(s.text, s.size) { random in
                let gate = random.normal(s.shape.elements, scale: 2).held(by: s.dtype)
                let up = random.normal(s.shape.elements).held(by: s.dtype)
                let dy = random.normal(s.shape.elements)
                let old: [Float]? = s.accumulate ? random.normal(s.shape.elements) : nil
                var c = OpCase()
                c.input("gate", gate, s.shape, .padded(s.padding), as: s.dtype)
                c.input("up", up, s.shape, as: s.dtype)
                c.input("dy", dy, s.shape, .padded(s.padding * 2))
                c.result("dGate", s.shape, .padded(s.padding), old: old)
                c.result("dUp", s.shape, old: old)
                c.run(GatedBackward(s.kind)) {
                    .init(
                        gate: $0["gate"], up: $0["up"], dy: $0["dy"], dGate: .result($0["dGate"], old: old),
                        dUp: .result($0["dUp"], old: old))
                }
                c.reference = {
                    let f = s.function
                    return [
                        "dGate": .near(
                            gate.indices.map { i in
                                let factor = Double(dy[i]) * Double(up[i])
                                let value = factor * f.referenceSlope(Double(gate[i]))
                                let error = f.slopeError(Double(gate[i]))
                                return Estimate(
                                    value, eps * ((error.relative + 2) * abs(value) + error.absolute * abs(factor)))
                            }.added(to: old)),
                        "dUp": .near(
                            gate.indices.map { i in
                                let value = Double(dy[i]) * f.reference(Double(gate[i]))
                                return Estimate(value, (f.relativeError(Double(gate[i])) + 1) * eps * abs(value))
                            }.added(to: old)),
                    ]
                }
                return c
            }
        }),
]

extension OpDescription {
    static let elementwise: [OpDescription] = unary + [scale] + binary + gated
}
