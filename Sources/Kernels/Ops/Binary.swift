public enum BinaryOperation: String, Sendable, CaseIterable, CustomStringConvertible {
    case add, subtract, multiply, divide

    var kernel: String {
        switch self {
        case .add: "binary_add"
        case .subtract: "binary_sub"
        case .multiply: "binary_mul"
        case .divide: "binary_div"
        }
    }
    public var description: String { rawValue }
}

/// y = a ∘ b with NumPy's broadcasting. y is contiguous; a and b may have any strides. All f32 or all bf16, computed in fp32.
public struct Binary: Op {
    public let operation: BinaryOperation
    public init(_ operation: BinaryOperation) { self.operation = operation }

    public struct Operands {
        public let a: View
        public let b: View
        public let y: Output
        public init(a: View, b: View, y: Output) {
            self.a = a
            self.b = b
            self.y = y
        }
    }
    public var name: String { operation.rawValue }
    public func validate(_ o: Operands) throws {
        try requireActivations(("a", o.a), ("b", o.b), ("y", o.y.view))
        try require(o.y.view.isContiguous, "y \(o.y.view.shape), strides \(o.y.view.strides) must be contiguous")
        _ = try Broadcast([o.a, o.b], to: o.y.view.shape, self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(
            flops: Double(o.y.view.count),
            bytes: Double(o.y.view.dtype.size * (o.a.count + o.b.count + o.y.view.count)))
    }
}

/// db = −dy · a / b²: what division sends to its divisor, before the sum over broadcast dimensions. dy and db contiguous,
/// f32; a and b f32 or bf16.
public struct DivideBackward: Op {
    public init() {}
    public struct Operands {
        public let dy: View
        public let a: View
        public let b: View
        public let db: Output
        public init(dy: View, a: View, b: View, db: Output) {
            self.dy = dy
            self.a = a
            self.b = b
            self.db = db
        }
    }
    public var name: String { "divide_backward" }
    public func validate(_ o: Operands) throws {
        try requireActivations(("a", o.a), ("b", o.b))
        try requireF32(("dy", o.dy), ("db", o.db.view))
        try require(
            o.dy.isContiguous && o.db.view.isContiguous && o.dy.shape == o.db.view.shape,
            "dy and db must be alike, contiguous")
        _ = try Broadcast([o.a, o.b], to: o.dy.shape, self)
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(
            flops: 4 * Double(o.dy.count),
            bytes: Double(o.a.dtype.size * (o.a.count + o.b.count) + 8 * o.dy.count))
    }
}

/// Operands repeated to one shape, with neighbouring dimensions merged where every operand's strides allow it; four remain at most.
struct Broadcast {
    let count: Int
    let sizes: Dimensions
    let strides: [Dimensions]

    init(_ views: [View], to shape: Dimensions, _ op: some Op) throws {
        let repeated = try views.map { view in
            guard let view = view.broadcast(to: shape) else {
                throw operandError(op.name, "shape \(view.shape) does not broadcast to \(shape)")
            }
            return view.strides
        }
        count = shape.product
        (sizes, strides) = mergeDimensions(shape, repeated)
        guard sizes.count <= 4 else {
            throw operandError(op.name, "shapes \(views.map(\.shape)) need \(sizes.count) dimensions; 4 are supported")
        }
    }

    /// Sizes and strides padded in front to four dimensions, as kernels take them.
    var paddedSizes: [Int] { sizes.padded(with: 1, to: 4) }
    func padded(_ operand: Int) -> [Int] { strides[operand].padded(with: 0, to: 4) }
}

/// Drops dimensions of size 1 and merges neighbours that every operand steps through evenly.
func mergeDimensions(_ shape: Dimensions, _ strides: [Dimensions]) -> (sizes: Dimensions, strides: [Dimensions]) {
    var sizes: Dimensions = []
    var merged = [Dimensions](repeating: [], count: strides.count)
    for i in shape.indices where shape[i] != 1 {
        let continues = !sizes.isEmpty && strides.indices.allSatisfy { merged[$0].last! == strides[$0][i] * shape[i] }
        if continues {
            sizes[sizes.count - 1] *= shape[i]
            for v in strides.indices { merged[v][merged[v].count - 1] = strides[v][i] }
        } else {
            sizes.append(shape[i])
            for v in strides.indices { merged[v].append(strides[v][i]) }
        }
    }
    return (sizes, merged)
}

extension Dimensions {
    /// With so much of `value` in front that there are `count`.
    func padded(with value: Int, to count: Int) -> [Int] {
        [Int](repeating: value, count: count - self.count) + self
    }
}
