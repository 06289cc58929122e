/// y = value everywhere. y may be rows with a pitch.
public struct Fill: Op {
    public let value: Float
    public init(_ value: Float) { self.value = value }

    public struct Operands {
        public let y: View
        public init(y: View) { self.y = y }
    }
    public var name: String { "fill" }
    public func validate(_ o: Operands) throws {
        try requireF32(("y", o.y))
        _ = try rows(o.y, "y")
    }
    public func cost(_ o: Operands) -> Cost { Cost(bytes: 4 * Double(o.y.count)) }
}

/// y = x for any strides on both sides: packing, transposition, slices. Equal element counts; different shapes only when both are
/// contiguous. Up to six dimensions remain after merging. Both f32, or both bf16 (written, not added to).
public struct Copy: Op {
    public init() {}
    public typealias Operands = Unary.Operands

    public var name: String { "copy" }
    public func validate(_ o: Operands) throws {
        if o.x.dtype != .bf16 || o.y.view.dtype != .bf16 { try requireF32(("x", o.x), ("y", o.y.view)) }
        try require(o.x.dtype == .f32 || o.y.mode == .write, "bf16 is not added to")
        try require(o.x.count == o.y.view.count, "x \(o.x.shape) and y \(o.y.view.shape) differ")
        try require(
            o.x.shape == o.y.view.shape || (o.x.isContiguous && o.y.view.isContiguous),
            "x \(o.x.shape) and y \(o.y.view.shape) differ in shape and are not contiguous")
        if o.x.rank > 6 { _ = try CopyPlan(o, self) }
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(bytes: (o.y.mode == .accumulate ? 3 : 2) * Double(o.x.dtype.size * o.x.count))
    }
}

/// A copy as merged dimensions, recognised as a matrix transpose where it is one.
struct CopyPlan {
    let count: Int
    /// Padded in front to six dimensions.
    let sizes: [Int]
    let x: [Int]
    let y: [Int]
    /// Batches of matrices whose rows are contiguous in x and whose columns are contiguous in y.
    let transpose: Transpose?

    struct Transpose {
        let batches, rows, columns, xPitch, xBatch, yPitch, yBatch: Int
        var tiles: Int { batches * ((rows + 31) / 32) * ((columns + 31) / 32) }
    }

    init(_ o: Copy.Operands, _ op: some Op) throws {
        count = o.x.count
        let flat = o.x.shape != o.y.view.shape
        let (sizes, merged) = mergeDimensions(
            flat ? [count] : o.x.shape, flat ? [[1], [1]] : [o.x.strides, o.y.view.strides])
        guard sizes.count <= 6 else { throw operandError(op.name, "more than six dimensions remain of \(o.x.shape)") }
        self.sizes = sizes.padded(with: 1, to: 6)
        x = merged[0].padded(with: 0, to: 6)
        y = merged[1].padded(with: 0, to: 6)
        transpose = o.x.dtype == .f32 ? Self.transpose(sizes, merged[0], merged[1]) : nil
    }

    private static func transpose(_ sizes: Dimensions, _ x: Dimensions, _ y: Dimensions) -> Transpose? {
        guard sizes.count == 2 || sizes.count == 3 else { return nil }
        let (r, c) = (sizes.count - 2, sizes.count - 1)
        guard sizes[r] >= 8, sizes[c] >= 8 else { return nil }
        let (batches, xb, yb) = sizes.count == 3 ? (sizes[0], x[0], y[0]) : (1, 0, 0)
        if x[c] == 1, y[r] == 1 {
            return Transpose(
                batches: batches, rows: sizes[r], columns: sizes[c], xPitch: x[r], xBatch: xb, yPitch: y[c], yBatch: yb)
        }
        if x[r] == 1, y[c] == 1 {
            return Transpose(
                batches: batches, rows: sizes[c], columns: sizes[r], xPitch: x[c], xBatch: xb, yPitch: y[r], yBatch: yb)
        }
        return nil
    }
}

/// y = x in another number format: f16, bf16 and the 8-bit formats to f32 exactly, f32 to f16 and bf16 rounded to nearest even.
/// Contiguous.
public struct Convert: Op {
    public init() {}
    public struct Operands {
        public let x: View
        public let y: View
        public init(x: View, y: View) {
            self.x = x
            self.y = y
        }
    }
    public var name: String { "convert" }
    public func validate(_ o: Operands) throws {
        try require(
            o.x.isContiguous && o.y.isContiguous && o.x.count == o.y.count, "x and y must be contiguous, of one length")
        try require(Self.kernel(o.x.dtype, o.y.dtype) != nil, "no conversion from \(o.x.dtype) to \(o.y.dtype)")
    }
    public func cost(_ o: Operands) -> Cost {
        Cost(bytes: Double(o.x.count) * Double(o.x.dtype.size + o.y.dtype.size))
    }

    static func kernel(_ from: DType, _ to: DType) -> String? {
        switch (from, to) {
        case (.f16, .f32): "f32_from_f16"
        case (.bf16, .f32): "f32_from_bf16"
        case (.f8e4m3, .f32): "f32_from_f8_e4m3"
        case (.f8e5m2, .f32): "f32_from_f8_e5m2"
        case (.f32, .f16): "f16_from_f32"
        case (.f32, .bf16): "bf16_from_f32"
        default: nil
        }
    }
}
